import json
from dataclasses import replace

import pytest
import torch

from twostage import __version__
from twostage.export.card import card
from twostage.export.checks import REASONS
from twostage.model_folder import load_model
from twostage.trust.status import Status

KEYS = (
    "format name unit scale low high edges period size fit color statuses reasons confidence minimum limit "
    "distance_threshold version digest sha256 remarks method combination backbone pooling members views trained"
)


@pytest.fixture
def model(here, once):
    from helpers import TINY

    assert once("train", *TINY, "run=some/place")[0] == 0
    return load_model("outputs/some/place", torch.device("cpu"))


def test_a_card_tells_a_page_all_it_needs_in_plain_json(model):
    found = card(model)
    assert " ".join(found) == KEYS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["name"], found["version"], found["digest"]) == ("place", __version__, model.description["digest"])
    assert found["edges"] == model.bins.edges.tolist()
    assert (found["low"], found["high"]) == (found["edges"][0], found["edges"][-1])
    assert (found["size"], found["backbone"], found["trained"]["n_train"]) == (
        32,
        "compact",
        model.description["n_train"],
    )
    assert found["statuses"] == [status.value for status in Status]
    assert found["confidence"] == model.trust.confidence


def test_what_a_model_has_not_learned_is_none(model):
    trust = replace(model.trust, intervals=None, typicality=replace(model.trust.typicality, threshold=float("inf")))
    found = card(replace(model, trust=trust))
    assert found["confidence"] is None
    assert found["distance_threshold"] is None
    json.dumps(found, allow_nan=False)
    assert card(replace(model, trust=replace(trust, typicality=None)))["distance_threshold"] is None


def test_reasons_are_sentences_without_numbers_and_the_first_says_nothing():
    assert REASONS[0] == ""
    assert len(set(REASONS)) == len(REASONS)
    assert not any(letter.isdigit() for reason in REASONS for letter in reason.replace("stage 1", ""))
