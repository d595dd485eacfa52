import json

import numpy as np
import pytest
from helpers import SHARED

from twostage.evaluation.method_comparison import MOST_POINTS, deming, passing_bablok

REFERENCE = SHARED / "agreement" / "method_comparison.json"
SETS = json.loads(REFERENCE.read_text(encoding="utf-8"))["sets"] if REFERENCE.is_file() else {}
NAMES = ("Intercept", "InterceptL", "InterceptU", "Slope", "SlopeL", "SlopeU")
CASES = [
    pytest.param(data, method, id=f"{name}-{method['name']}")
    for name, data in SETS.items()
    for method in data["methods"]
    if method["name"].split(".")[0] in ("Deming", "WDeming", "PaBa")
]
# relative; their weights stop moving at 1e-6, and some numbers of PaBa have three decimals
TOLERANCE = {"Deming": 1e-6, "WDeming": 5e-6, "PaBa": 5e-5}


def some_points(count=40, seed=0, slope=1.1):
    rng = np.random.default_rng(seed)
    true = rng.uniform(80, 350, count)
    return true + rng.normal(0, 2, count), 3 + slope * true + rng.normal(0, 2, count)


def numbers(line):
    return [line.intercept, *line.intercept_interval, line.slope, *line.slope_interval]


@pytest.mark.skipif(not SETS, reason="the reference results of the R package mcr are not beside this checkout")
@pytest.mark.parametrize(("data", "method"), CASES)
def test_lines_equal_those_of_the_r_package_mcr(data, method):
    x, y = np.array(data["x"], float), np.array(data["y"], float)
    kind, expected = method["name"].split(".")[0], method["reference"]
    if kind == "PaBa":
        line = passing_bablok(x, y)
    else:
        line = deming(x, y, float(method["parameters"]["ErrorRatio"]), weighted=kind == "WDeming")
    assert numbers(line) == pytest.approx([float(expected[name]) for name in NAMES], rel=TOLERANCE[kind])
    if kind == "PaBa":
        return
    bias = line.bias_at(float(level) for level in method["parameters"]["Bias"].split(","))
    assert [b.value for b in bias] == pytest.approx(expected["Bias"][: len(bias)], rel=TOLERANCE[kind])
    ends = [end for b in bias for end in b.interval]
    both = zip(expected["BiasL"], expected["BiasU"], strict=True)
    assert ends == pytest.approx([float(end) for pair in both for end in pair], rel=TOLERANCE[kind])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_deming_line_is_the_same_read_from_the_other_side(weighted):
    x, y = some_points()
    there, back = deming(x, y, 2.0, weighted), deming(y, x, 0.5, weighted)
    assert back.slope == pytest.approx(1 / there.slope, rel=1e-8)
    assert back.intercept == pytest.approx(-there.intercept / there.slope, rel=1e-6)


def test_a_deming_line_of_exact_truth_is_the_regression():
    x, y = some_points()
    slope, intercept = np.polyfit(x, y, 1)
    found = deming(x, y, ratio=1e-12)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-4)


def test_passing_bablok_equals_a_loop_and_forgives_outliers():
    x, y = some_points(25)
    pairs = [(i, j) for i in range(25) for j in range(i)]
    angles = np.array([np.arctan2(y[i] - y[j], x[i] - x[j]) for i, j in pairs])
    folded = (angles + np.pi / 4) % np.pi - np.pi / 4
    assert passing_bablok(x, y).slope == pytest.approx(np.tan(np.sort(folded)[149:151]).mean(), rel=1e-9)
    y[:3] += 1000
    assert passing_bablok(x, y).slope == pytest.approx(1.1, abs=0.05)


def test_passing_bablok_treats_both_sides_alike():
    x, y = some_points()
    there, back = passing_bablok(x, y), passing_bablok(y, x)
    assert back.slope == pytest.approx(1 / there.slope, rel=1e-3)


@pytest.mark.parametrize("fit", [deming, lambda x, y: deming(x, y, weighted=True), passing_bablok])
def test_points_on_a_line_give_that_line(fit):
    x = np.linspace(10, 100, 12)
    for y in (x, 2 * x + 5, 200 - x):
        line = fit(x, y)
        slope, intercept = np.polyfit(x, y, 1)
        assert numbers(line) == pytest.approx([intercept] * 3 + [slope] * 3, abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say():
    found = [deming(*some_points(30, seed, 1.0)) for seed in range(400)]
    assert np.mean([f.slope_interval[0] <= 1 <= f.slope_interval[1] for f in found]) == pytest.approx(0.95, abs=0.03)
    bias = [f.bias_at([200.0])[0].interval for f in found]
    assert np.mean([low <= 3 <= high for low, high in bias]) == pytest.approx(0.95, abs=0.03)


ONE_TO_FIVE = np.arange(1.0, 6.0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (deming(ONE_TO_FIVE[:2], ONE_TO_FIVE[:2]), "three specimens"),
        (deming(np.ones(5), ONE_TO_FIVE), "same true concentration"),
        (passing_bablok(np.ones(5), ONE_TO_FIVE), "same true concentration"),
        (deming(ONE_TO_FIVE - 1, ONE_TO_FIVE, weighted=True), "above zero"),
        (deming(np.array([1.0, 1.0, 2.0]), ONE_TO_FIVE[:3]), "one specimen decides"),
        (passing_bablok(ONE_TO_FIVE[:3], ONE_TO_FIVE[:3]), "too few"),
        (passing_bablok(np.arange(MOST_POINTS + 1.0), np.arange(MOST_POINTS + 1.0)), "memory"),
    ],
)
def test_a_line_that_cannot_be_drawn_says_why(line, reason):
    assert reason in line.reason
    assert (line.slope, line.intercept_interval) == (None, None)
    assert line.bias_at([1.0])[0].reason == line.reason


def test_passing_bablok_gives_no_interval_of_the_bias():
    [bias] = passing_bablok(*some_points()).bias_at([100.0])
    assert bias.value == pytest.approx(13, abs=2)
    assert bias.interval is None
    assert "no interval" in bias.method
