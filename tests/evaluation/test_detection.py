import numpy as np
import pytest
from scipy import stats

from twostage.evaluation.detection import (
    MOST_LEVELS,
    levels_of,
    limit_of_blank,
    limit_of_detection,
    limit_of_quantitation,
    linearity,
    recovery,
)
from twostage.evaluation.figure import Figure


def test_few_concentrations_are_levels_and_many_are_classes():
    rng = np.random.default_rng(0)
    few = rng.choice([0.0, 5.0, 20.0], 50)
    assert np.array([0.0, 5.0, 20.0])[levels_of(few)].tolist() == few.tolist()
    many = rng.uniform(80, 350, 1000)
    level = levels_of(many)
    assert np.bincount(level).tolist() == [100] * 10
    assert np.all(np.diff(level[np.argsort(many)]) >= 0)


def test_equal_concentrations_are_never_parted():
    target = np.repeat(np.arange(MOST_LEVELS + 5.0), np.arange(1, MOST_LEVELS + 6))
    level = levels_of(target)
    assert all(len(set(level[target == value])) == 1 for value in target)
    assert sorted(set(level)) == list(range(max(level) + 1))


def test_recovery_of_each_level():
    target = np.array([0.0, 10, 10, 10, 50])
    zero, ten, fifty = recovery(target, np.array([1.0, 9, 10, 12.5, 55]))
    assert zero.recovery.value is None
    assert "not above zero" in zero.recovery.reason
    assert (zero.predicted, fifty.predicted) == (1, 55)
    assert ten.recovery.value == pytest.approx(105)
    expected = stats.t.interval(0.95, 2, 105, stats.sem([90, 100, 125]))
    assert ten.recovery.interval == pytest.approx(expected)
    assert (fifty.recovery.value, fifty.recovery.interval) == (pytest.approx(110), None)


@pytest.mark.parametrize("order", [2, 3])
def test_a_curve_is_seen_and_its_size_told(order):
    rng = np.random.default_rng(0)
    target = np.repeat(np.linspace(0, 100, 6), 3)
    x = target / 50 - 1
    bend = 5 * np.polynomial.legendre.Legendre.basis(order)(x)
    found = linearity(target, target + bend + rng.normal(0, 0.2, 18))
    assert found.linear is False
    assert (found.p_square if order == 2 else found.p_cube) < 1e-6
    assert found.largest == pytest.approx(np.abs(bend - np.polyval(np.polyfit(x, bend, 1), x)).max(), abs=0.5)
    assert len(found.deviations) == 6


def test_a_straight_line_is_called_curved_as_often_as_the_test_says():
    rng = np.random.default_rng(0)
    target = np.repeat(np.linspace(80, 350, 6), 3)
    found = [linearity(target, target + rng.normal(0, 1, 18)) for _ in range(500)]
    assert np.mean([f.p_square < 0.05 for f in found]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([f.p_cube < 0.05 for f in found]) == pytest.approx(0.05, abs=0.03)
    assert linearity(target, 3 - 2 * target).linear is True


def test_p_of_the_square_is_that_of_a_regression():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 12)
    y = x + rng.normal(0, 0.1, 12)
    columns = np.vander(x, 3)
    weights, rest, *_ = np.linalg.lstsq(columns, y, rcond=None)
    error = np.sqrt(np.linalg.inv(columns.T @ columns)[0, 0] * rest[0] / 9)
    assert linearity(x, y).p_square == pytest.approx(2 * stats.t.sf(abs(weights[0]) / error, 9))


def test_too_few_levels_for_a_curve():
    assert linearity(np.array([1.0, 1, 2, 2]), np.array([1.0, 2, 3, 4])).linear is None
    assert linearity(np.array([1.0, 2, 3, 3]), np.array([1.0, 2, 3, 4])).p_cube is None


def test_the_limit_of_blank_by_both_ways():
    blanks = np.linspace(-2, 2, 60)
    normal = stats.norm.ppf((np.arange(60) + 0.5) / 60)
    found = limit_of_blank(normal, specimens=4)
    assert found.value == pytest.approx(1.645 / (1 - 1 / (4 * 56)) * normal.std(ddof=1), abs=1e-3)
    skewed = np.exp(2 * blanks)
    found = limit_of_blank(skewed[::-1])
    assert found.method.startswith("ranks")
    # rank 57.5 of 60
    assert found.value == pytest.approx((skewed[56] + skewed[57]) / 2)


@pytest.mark.parametrize(
    ("blanks", "reason"),
    [([], "no photographs of blanks"), ([0.1] * 5, "at least 20"), ([0.0] * 30, "same number")],
)
def test_no_limit_of_blank_says_why_and_so_does_detection(blanks, reason):
    found = limit_of_blank(np.array(blanks))
    assert found.value is None
    assert reason in found.reason
    values = np.array([1.0, 1.0])
    assert reason in limit_of_detection(found, values, values, np.array([0, 0])).reason


def test_the_limit_of_detection_is_what_it_says():
    rng = np.random.default_rng(0)
    blank = limit_of_blank(rng.normal(0, 1, 2000))
    specimen = np.repeat(np.arange(20), 100)
    target = np.full(2000, 4.0)
    found = limit_of_detection(blank, target, 4 + rng.normal(0, 1, 2000), specimen)
    assert found.value == pytest.approx(2 * 1.645, abs=0.15)
    # at that concentration 95 of 100 readings lie above the limit of blank
    assert np.mean(found.value + rng.normal(0, 1, 4000) > blank.value) == pytest.approx(0.95, abs=0.015)


def test_detection_needs_repeats_of_low_specimens():
    blank, two = Figure(1.0), np.array([0, 1])
    assert "five limits" in limit_of_detection(blank, np.array([9.0, 9.0]), np.ones(2), two).reason
    assert "twice" in limit_of_detection(blank, np.array([2.0, 2.0]), np.ones(2), two).reason


def test_quantitation_begins_where_all_higher_levels_are_good():
    target = np.repeat([1.0, 2.0, 5.0, 10.0], 2)
    share = np.repeat([0.1, 0.3, 0.1, 0.05], 2) * np.tile([1, -1], 4)
    predicted = target * (1 + share)
    assert limit_of_quantitation(Figure(None), target, predicted).value == 5
    assert limit_of_quantitation(Figure(6.0), target, predicted).value == 6
    small = limit_of_quantitation(Figure(None), target, predicted, goal=40.0)
    assert small.value is None
    assert "at or below 1," in small.reason
    assert "even at the highest" in limit_of_quantitation(Figure(None), target, predicted, goal=1.0).reason
    assert "above zero" in limit_of_quantitation(Figure(None), np.zeros(2), np.ones(2)).reason
