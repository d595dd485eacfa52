import dataclasses

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from some_report import NASTY, some_metrics, some_outcome

from twostage.report.card import CardFacts, model_card

KINDS = [
    {"count": 1},
    {"count": 11},
    {"direct": True},
    {"groups": False, "unit": ""},
    {"scale": "log"},
    {"period": 270},
    {"intervals": False},
]


def some_card(outcome, **more):
    facts = CardFacts(
        name="a",
        unit=outcome.unit,
        edges=[float(edge) for edge in outcome.edges],
        source="photographs that a table lists",
        are_files=True,
        size=64,
        fit="stretch",
        color="optical_density",
        networks="Two stages",
        confidence=0.9 if not outcome.no_intervals else None,
        false_alarm=0.01,
        minimum=None,
        period=outcome.scale.period,
        limit="none",
        n_train=40,
        remarks=[NASTY],
        digest="0123456789abcdef",
        version="1.0",
        metrics=some_metrics(outcome),
        parts=pd.DataFrame({"part": ["train", NASTY], "photographs": [3, 2], "lowest": [80.0, None]}),
    )
    return model_card(dataclasses.replace(facts, **more))


def cells(text):
    return [line.count(" | ") for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_card_is_whole_for_any_outcome(kind):
    outcome = some_outcome(**kind)
    text = some_card(outcome)
    card = ModelCard(text)
    assert card.data.library_name == "twostage"
    assert card.data.eval_results
    assert "nan" not in text.lower()
    assert "None" not in text
    for block in text.split("\n\n"):
        assert len(set(cells(block))) <= 1, block  # every row of a table has as many cells


def test_without_figures_there_is_still_a_card():
    text = some_card(some_outcome(), metrics=None, parts=pd.DataFrame(), n_train=None, confidence=None)
    assert "not known here" in text
    assert not ModelCard(text).data.eval_results


def test_what_a_user_wrote_is_text_and_no_markdown():
    bad = "x | y](z) <b>*`\n# title\n---"
    outcome = some_outcome()
    text = some_card(outcome, name=bad, unit=bad, remarks=[bad], metrics=some_metrics(outcome) | {"unit": bad})
    card = ModelCard(text)
    assert card.data.model_name
    assert "<b>" not in card.text
    assert "\n# title" not in card.text
    assert text.count("\n---\n") == 1
    for block in card.text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1, block
