"""What an exported graph concludes is what `predict` concludes, whatever the stages say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_model import pictures, said, trusted

from twostage import Bins, load_config
from twostage.export.checks import CHECKED, REASONS, RULES, least_between
from twostage.export.distribution import ENDS
from twostage.export.graph import OUTPUTS, Conclusion
from twostage.export.places import COMBINED
from twostage.export.proof import open_file
from twostage.export.recording import OPSET, record, weights_of
from twostage.options.choices import CHECKS, COMBINATIONS, INTERVALS
from twostage.options.family import resolve
from twostage.stages.build import build_limits
from twostage.stages.reading import Reading
from twostage.trust.prediction import predict
from twostage.trust.recalibration import Recalibration
from twostage.trust.status import Status
from twostage.trust.trust import Trust

COUNT = 200
BINS = {
    "linear": Bins.uniform(80, 350, 9),
    "uneven": Bins([0, 1, 50, 60, 200]),
    "log": Bins([0.5, 2, 2.5, 40, 900], "log"),
    "one": Bins([80, 350]),
    "two": Bins([-5, 0, 3]),
    "far": Bins.uniform(1e6, 1e6 + 20, 4),
    "circle": Bins.uniform(-180, 180, 9, period=360),
    "uneven circle": Bins([0, 1, 8, 9, 20, 24], period=24),
    "one circle": Bins([0, 360], period=360),
}
STATUSES = np.array([status.value for status in Status])


def both(bins, trust, reading, pixels, *overrides, recalibration=None):
    """The prediction, and what the graph says."""
    config = load_config(["run=x", *overrides])
    recalibration = recalibration or Recalibration()
    limits = build_limits(config, bins)
    model = SimpleNamespace(bins=bins, trust=trust, config=config, recalibration=recalibration, limits=limits)
    expected = predict(
        bins,
        pixels,
        reading,
        config.combine.method,
        trust,
        limits=limits,
        recalibration=recalibration,
    )
    with torch.no_grad():
        found = Conclusion(model)(torch.from_numpy(pixels), *map(torch.from_numpy, reading))
    return expected, {name: values.numpy() for name, values in found.items()}


def same(bins, expected, found, place=1e-6):
    np.testing.assert_array_equal(STATUSES[found["status"]], expected.status)
    np.testing.assert_array_equal(found["reason"] == 0, expected.reason == "")
    range_, finite = np.ptp(bins.places), np.isfinite(expected.concentration)
    with np.errstate(invalid="ignore", divide="ignore"):
        read = found["concentration"].astype(float)
        turn = np.nan_to_num(bins.scale.near(read, expected.concentration) - read)  # but for a seam, zero
        for name in ("concentration", "lower", "upper"):
            mine, theirs = found[name].astype(float), getattr(expected, name)
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs), err_msg=name)
            # float32 has seven digits of the number
            np.testing.assert_allclose(mine + turn, theirs, rtol=2e-7, atol=place * range_, err_msg=name)
    np.testing.assert_allclose(found["bin_probabilities"], expected.bin_probabilities, atol=1e-6)
    return finite


@pytest.mark.parametrize("name", BINS)
@pytest.mark.parametrize("method", INTERVALS)
def test_intervals_of_every_kind_are_the_same(name, method):
    rng, bins = np.random.default_rng(5), BINS[name]
    trust = trusted(rng, bins, method, disagreement=0.1 * np.ptp(bins.places), max_width=0.4 * np.ptp(bins.edges))
    pixels = pictures(rng, COUNT)
    expected, found = both(bins, trust, said(rng, bins, COUNT), pixels)
    assert same(bins, expected, found).sum() > COUNT / 2
    np.testing.assert_allclose(found["distance"], trust.distance(pixels), rtol=1e-6)
    assert len(set(expected.status)) >= 4
    assert np.isfinite(expected.lower).any() == (method != "none")


@pytest.mark.parametrize("name", BINS)
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_combinations_of_every_kind_are_the_same(name, combination):
    rng, bins = np.random.default_rng(6), BINS[name]
    reading, trust = said(rng, bins, COUNT), trusted(rng, bins, "distributional")
    same(bins, *both(bins, trust, reading, pictures(rng, COUNT), f"combine.method={combination}"))


@pytest.mark.parametrize("unlike", ["flag", "refuse"])
@pytest.mark.parametrize("recalibration", [None, Recalibration(2.0), Recalibration(-3.0, 0.9)])
@pytest.mark.parametrize("overrides", [[], ["data.minimum=120"], ["combine.limit=clip"], ["combine.limit=logistic"]])
def test_what_changes_a_reading_changes_it_alike(unlike, recalibration, overrides):
    rng, bins = np.random.default_rng(7), BINS["linear"]
    trust = trusted(rng, bins, "distributional", unlike=unlike, specimens=60)
    expected, found = both(
        bins, trust, said(rng, bins, COUNT), pictures(rng, COUNT), *overrides, recalibration=recalibration
    )
    same(bins, expected, found)
    assert ("data.minimum=120" in overrides) == any("below data.minimum" in reason for reason in expected.reason)
    inside = (np.nanmin(found["lower"]) >= 80) and (np.nanmax(found["upper"]) <= 350)
    assert inside == any("combine.limit" in option for option in overrides)


def test_a_model_that_has_learned_nothing_about_trust_is_concluded_from_too():
    rng, bins = np.random.default_rng(8), BINS["uneven"]
    expected, found = both(bins, Trust(), said(rng, bins, COUNT), pictures(rng, COUNT))
    same(bins, expected, found)
    assert np.isnan(found["lower"]).all()
    assert np.isnan(found["distance"]).all()


def test_one_stage_says_no_place_and_no_scale():
    rng, bins = np.random.default_rng(9), BINS["linear"]
    reading = said(rng, bins, COUNT)
    reading = Reading(reading.probabilities, reading.offsets, np.full_like(reading.offsets, np.nan))
    trust = trusted(rng, bins, "distributional", disagreement=None)
    same(bins, *both(bins, trust, reading, pictures(rng, COUNT)))


def test_too_few_specimens_for_the_confidence_give_no_interval():
    rng, bins = np.random.default_rng(10), BINS["linear"]
    trust = trusted(rng, bins, "distributional", confidence=0.99, specimens=20)
    expected, found = both(bins, trust, said(rng, bins, COUNT), pictures(rng, COUNT))
    same(bins, expected, found)
    assert np.isnan(found["upper"]).all()


def test_every_sentence_is_said_and_is_that_of_the_check():
    rng, bins = np.random.default_rng(11), BINS["linear"]
    said_by = {}
    for more in ({"disagreement": 20.0, "max_width": 30.0}, {"unlike": "refuse"}):
        trust = trusted(rng, bins, "distributional", **more)
        expected, found = both(
            bins, trust, said(rng, bins, 400), pictures(rng, 400), "data.minimum=100", "combine.limit=clip"
        )
        for number, reason in zip(found["reason"], expected.reason, strict=True):
            said_by.setdefault(REASONS[number], set()).add(reason.split(":")[0].split(" ")[0])
    assert set(said_by) == set(REASONS)
    for sentence, theirs in said_by.items():
        begin = {"": "", "read below": "read", "read beyond": "read", "outside": "outside"}.get(
            sentence, sentence.split(":")[0].split(" ")[0]
        )
        assert theirs == {begin}, sentence


def test_the_graph_has_every_member_of_the_families():
    assert set(COMBINED) == set(COMBINATIONS)
    assert set(ENDS) == set(INTERVALS)
    assert list(CHECKED) == ["limits", *CHECKS]
    for name, rules in CHECKED.items():
        if name in CHECKS:
            assert {status for _, status, _ in rules} == {resolve(CHECKS[name]).status}
    assert len(RULES) == sum(map(len, CHECKED.values()))


def test_the_least_before_is_that_of_numpy():
    values = np.random.default_rng(0).standard_normal((50, 13))
    expected = np.minimum.accumulate(np.column_stack([np.full(50, np.inf), values[:, :-1]]), 1)
    np.testing.assert_array_equal(least_between(torch.from_numpy(values)).numpy(), expected)


@pytest.mark.slow
def test_a_runtime_goes_around_too():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: twostage[export]")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: twostage[export]")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: twostage[export]")
    rng, bins, moved = np.random.default_rng(3), BINS["circle"], Recalibration(25.0)
    trust = trusted(rng, bins, "distributional", disagreement=20.0, max_width=100.0)
    reading, pixels, config = said(rng, bins, COUNT), pictures(rng, COUNT), load_config(["run=x"])
    names = ("photographs", "probabilities", "offsets", "log_scales", "first")
    given = dict(zip(names, map(torch.from_numpy, (pixels, *reading)), strict=True))
    conclusion = Conclusion(SimpleNamespace(bins=bins, trust=trust, config=config, recalibration=moved)).eval()
    graph = record(conclusion, given, OUTPUTS[:-1])
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    session = open_file(whole.SerializeToString())
    feed = {name: values.numpy() for name, values in given.items()} | weights_of(conclusion)
    said_by_file = session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})
    expected, _ = both(bins, trust, reading, pixels, recalibration=moved)
    assert same(bins, expected, dict(zip(OUTPUTS, said_by_file, strict=False))).sum() > COUNT / 2
