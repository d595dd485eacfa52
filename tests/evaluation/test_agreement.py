import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import root_mean_squared_error

from twostage.bins import Bins
from twostage.evaluation.agreement import bland_altman, percent_agreement, proportional_bias, replicate_agreement
from twostage.evaluation.error_budget import (
    DISTANCES,
    border_cost,
    edge_distance,
    errors_by,
    normal_rmse_interval,
    reliability,
    wrong_bin_cost,
)

EXACT = {"rel": 1e-9, "abs": 1e-9}
UNEVEN = Bins([80, 100, 150, 260, 350])


def some_predictions(count=200, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.uniform(70, 360, count)
    return target, target + rng.normal(0.7, 3.0, count)


def some_probabilities(count=300, bins=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(bins) / 2, count), rng.integers(0, bins, count)


def test_the_published_example_of_bland_and_altman():
    """Peak expiratory flow of 17 subjects with two meters; figures of Bland and Altman 1986 (Lancet i:307), l/min."""
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = bland_altman(np.array(large) - np.array(mini))
    assert found.count == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # they round 1.96 to 2 in the limits, 1.96^2 / 2 to 2 and N - 1 to N in their standard error, 16.3
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.1)
    assert found.bias + 2 * found.sd == pytest.approx(75.5, abs=0.1)
    assert found.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)
    half = (found.lower_interval[1] - found.lower_interval[0]) / 2
    assert half / stats.t.ppf(0.975, 16) == pytest.approx(16.3, abs=0.2)


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_agreement_equals_an_independent_computation(confidence):
    target, predicted = some_predictions()
    found = bland_altman(predicted - target, confidence)
    differences = [p - t for t, p in zip(target.tolist(), predicted.tolist(), strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    assert found.bias == pytest.approx(mean, **EXACT)
    assert found.sd == pytest.approx(variance**0.5, **EXACT)
    assert (found.lower, found.upper) == pytest.approx(stats.norm.interval(confidence, mean, variance**0.5), **EXACT)
    of_mean = stats.t.interval(confidence, n - 1, mean, stats.sem(differences))
    assert found.bias_interval == pytest.approx(of_mean, **EXACT)
    z = stats.norm.isf((1 - confidence) / 2)
    of_limit = (variance / n + z**2 * variance / (2 * (n - 1))) ** 0.5
    assert found.upper_interval == pytest.approx(stats.t.interval(confidence, n - 1, found.upper, of_limit), **EXACT)
    assert found.lower_interval == pytest.approx(stats.t.interval(confidence, n - 1, found.lower, of_limit), **EXACT)


def test_the_intervals_hold_the_true_limits_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2000):
        low, high = bland_altman(rng.normal(1.0, 2.0, 30)).upper_interval
        hits.append(low <= 1.0 + 2.0 * stats.norm.ppf(0.975) <= high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_one_photograph_has_a_bias_only():
    found = bland_altman(np.array([2.0]))
    assert (found.count, found.bias) == (1, 2.0)
    assert {found.sd, found.lower, found.upper, found.upper_interval} == {None}


def test_the_cost_of_wrong_bins():
    target, oracle = some_predictions()
    worse = oracle + np.where(np.arange(len(target)) % 10 == 0, 12.0, 0.0)
    table = wrong_bin_cost({"argmax": worse - target, "oracle": oracle - target})
    for name, values in (("argmax", worse), ("oracle", oracle)):
        assert table.loc[name, "rmse"] == pytest.approx(root_mean_squared_error(target, values), **EXACT)
    assert table.loc["oracle", ["cost", "share"]].tolist() == [0, 0]
    squares = np.sum((worse - target) ** 2), np.sum((oracle - target) ** 2)
    assert table.loc["argmax", "share"] == pytest.approx((squares[0] - squares[1]) / squares[0], **EXACT)
    assert np.isnan(wrong_bin_cost({"oracle": 0 * target}).loc["oracle", "share"])


def test_the_distance_to_the_nearest_inner_edge():
    target = np.array([60.0, 80, 99, 100, 125, 151, 205, 259, 305, 400])
    # of 60: bin 0, 40 from the edge at 100, width 20; the outermost edges do not count
    expected = [40 / 20, 20 / 20, 1 / 20, 0, 25 / 50, 1 / 110, 55 / 110, 1 / 110, 45 / 90, 140 / 90]
    assert edge_distance(target, UNEVEN.edges) == pytest.approx(expected, **EXACT)
    assert np.isinf(edge_distance(target, np.array([80.0, 350.0]))).all()


def test_the_cost_at_the_borders():
    target, predicted = some_predictions(2000)
    inner = np.abs(target[:, None] - UNEVEN.edges[1:-1]).min(1)
    predicted = predicted + np.where(inner < 2, 30.0, 0.0)
    table = border_cost(target, {"mixture": predicted - target}, UNEVEN.edges)
    assert table["count"].sum() == len(target)
    assert table["mixture"].iloc[0] > 2 * table["mixture"].iloc[1:].max()
    pooled = np.sqrt((table["count"] * table["mixture"] ** 2).sum() / len(target))
    assert pooled == pytest.approx(root_mean_squared_error(target, predicted), **EXACT)
    single = border_cost(target[:1], {"mixture": (predicted - target)[:1]}, UNEVEN.edges)
    assert single["count"].tolist() == [1]
    assert single["low"].item() in DISTANCES


def test_the_interval_of_an_rmse_covers_as_it_says():
    rng = np.random.default_rng(0)
    found = np.sqrt((rng.normal(0, 3.0, (4000, 12)) ** 2).mean(1))
    low, high = normal_rmse_interval(found, 12)
    assert np.mean((low <= 3.0) & (3.0 <= high)) == pytest.approx(0.95, abs=0.015)


def test_errors_by_group():
    target, predicted = some_predictions(60)
    labels = np.repeat(["b", "a", "c"], [1, 30, 29])
    table = errors_by(labels, target, predicted - target)
    assert table.index.tolist() == ["a", "b", "c"]
    for label, row in table.iterrows():
        error = (predicted - target)[labels == label]
        assert row["count"] == len(error)
        assert row["bias"] == pytest.approx(error.mean(), **EXACT)
        assert row["rmse"] == pytest.approx(root_mean_squared_error(error, 0 * error), **EXACT)
    assert table.loc["a", "sd"] == pytest.approx(stats.tstd((predicted - target)[labels == "a"]), **EXACT)
    assert np.isnan(table.loc["b", "sd"])


def test_reliability_equals_scikit_learn_and_a_loop():
    probabilities, true_bin = some_probabilities()
    found = reliability(probabilities, true_bin)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == true_bin
    accuracy, mean = calibration_curve(hit, confidence, n_bins=10)
    filled = found.count > 0
    assert found.accuracy[filled] == pytest.approx(accuracy, **EXACT)
    assert found.confidence[filled] == pytest.approx(mean, **EXACT)
    assert np.isnan(found.accuracy[~filled]).all()
    expected = 0.0
    for low in range(10):
        inside = [i for i, c in enumerate(confidence) if low / 10 < c <= (low + 1) / 10]
        expected += abs(sum(hit[i] for i in inside) - sum(confidence[i] for i in inside)) / len(hit)
    assert found.expected_error == pytest.approx(expected, **EXACT)


def test_reliability_of_one_certain_photograph():
    found = reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert found.expected_error == 0
    assert found.count.tolist() == [0] * 9 + [1]


# Bland and Altman 2007, table 1: cardiac output by two methods, radionuclide minus impedance, of 12 subjects
CARDIAC = """
1 7.83 6.57 1 7.42 5.62 1 7.89 6.90 1 7.12 6.57 1 7.88 6.35 2 6.16 4.06 2 7.26 4.29 2 6.71 4.26 2 6.54 4.09
3 4.75 4.71 3 5.24 5.50 3 4.86 5.08 3 4.78 5.02 3 6.05 6.01 3 5.42 5.67 4 4.21 4.14 4 3.61 4.20 4 3.72 4.61
4 3.87 4.68 4 3.92 5.04 5 3.13 3.03 5 2.98 2.86 5 2.85 2.77 5 3.17 2.46 5 3.09 2.32 5 3.12 2.43 6 5.92 5.90
6 6.42 5.81 6 5.92 5.70 6 6.27 5.76 7 7.13 5.09 7 6.62 4.63 7 6.58 4.61 7 6.93 5.09 8 4.54 4.72 8 4.81 4.61
8 5.11 4.36 8 5.29 4.20 8 5.39 4.36 8 5.57 4.20 9 4.48 3.17 9 4.92 3.12 9 3.97 2.96 10 4.22 4.35 10 4.65 4.62
10 4.74 3.16 10 4.44 3.53 10 4.50 3.53 11 6.78 7.20 11 6.07 6.09 11 6.52 7.00 11 6.42 7.10 11 6.41 7.40
11 5.76 6.80 12 5.06 4.50 12 4.72 4.20 12 4.90 3.80 12 4.80 3.80 12 4.90 4.20 12 5.10 4.50"""


def test_replicates_as_in_bland_and_altman_2007():
    subject, first, second = np.array(CARDIAC.split(), float).reshape(-1, 3).T
    found = replicate_agreement(first - second, subject)
    assert (found.count, found.specimens) == (60, 12)
    # mean and variance of the subjects' mean differences, mean square within, 1 - 1 / harmonic mean of the counts
    assert found.bias == pytest.approx(0.7092361, abs=1e-6)
    assert found.within_sd**2 == pytest.approx(0.170714026, abs=1e-6)
    assert found.sd**2 == pytest.approx(0.91269114 + 0.7902778 * 0.170714026, abs=1e-6)


def test_single_photographs_are_their_own_replicates():
    difference = np.random.default_rng(0).normal(1, 2, 20)
    assert replicate_agreement(difference, np.arange(20)) == bland_altman(difference)


@pytest.mark.parametrize("within", [0.3, 2.0])
def test_limits_of_replicates_hold_as_often_as_they_say(within):
    rng = np.random.default_rng(0)
    hits, biases = [], []
    true = 0.3 + stats.norm.ppf(0.975) * np.hypot(1.0, within)
    for _ in range(800):
        groups = np.repeat(np.arange(15), rng.integers(1, 6, 15))
        found = replicate_agreement(rng.normal(0.3, 1, 15)[groups] + rng.normal(0, within, len(groups)), groups)
        hits.append(found.upper_interval[0] <= true <= found.upper_interval[1])
        biases.append(found.bias_interval[0] <= 0.3 <= found.bias_interval[1])
    assert np.mean(hits) == pytest.approx(0.95, abs=0.03)
    assert np.mean(biases) == pytest.approx(0.95, abs=0.03)


def test_one_specimen_has_a_bias_only():
    found = replicate_agreement(np.array([1.0, 2.0]), np.array(["a", "a"]))
    assert (found.bias, found.specimens, found.upper) == (1.5, 1, None)
    assert "one specimen" in found.reason


def test_percent_differences_have_no_meaning_at_zero():
    target = np.array([1.0, 2.0, 4.0])
    found = percent_agreement(1.1 * target, target, np.arange(3))
    assert found.bias == pytest.approx(100 * 0.1 / 1.05)
    assert found.sd == pytest.approx(0, abs=1e-9)
    found = percent_agreement(np.array([-1.0, 2.0]), np.array([0.0, 2.0]), np.arange(2))
    assert found.bias is None
    assert "not above zero for 1 of 2" in found.reason


def test_proportional_bias_is_seen_where_it_is():
    target, predicted = some_predictions(100)
    assert proportional_bias(predicted, target).p > 0.01
    found = proportional_bias(1.1 * predicted, target)
    assert found.p < 1e-6
    assert found.interval[0] < 0.1 / 1.05 < found.interval[1]
    assert proportional_bias(target, target).interval == (0, 0)
    assert "three" in proportional_bias(target[:2], target[:2]).reason
    assert "same concentration" in proportional_bias(np.ones(5), np.ones(5)).reason
