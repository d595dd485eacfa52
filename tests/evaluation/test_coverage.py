import numpy as np
import pytest
from scipy.stats import binomtest

from twostage.evaluation.coverage import binomial_band, coverage

EDGES = np.array([0.0, 50, 100])


def test_the_band_is_that_of_clopper_and_pearson():
    for hits, count in ((0, 7), (9, 10), (45, 50), (12, 12)):
        expected = binomtest(hits, count).proportion_ci(0.95, "exact")
        assert binomial_band(hits / count, count) == pytest.approx([expected.low, expected.high])


def test_hits_are_counted_overall_by_range_and_near_the_edges():
    target = np.array([5.0, 20.0, 60.0, 95.0])
    found = coverage(target, target - 1, np.array([6.0, 19.0, 60.0, 94.0]), np.array([0, 0, 1, 1]), EDGES)
    assert (found["share"], found["n"], found["n_groups"]) == (0.5, 4, None)
    assert [row["share"] for row in found["by_range"]] == [0.5, 0.5]
    assert found["near_edges"]["n"] == 2
    assert found["groups_missed"] == []


def test_bands_count_specimens_and_those_missed_are_named():
    target = np.repeat([10.0, 20, 70], 10)
    groups = np.repeat(["a", "b", "c"], 10)
    upper = target + np.where(groups == "b", -0.5, 1)
    found = coverage(target, target - 1, upper, np.repeat([0, 0, 1], 10), EDGES, groups)
    assert found["n_groups"] == 3
    assert found["band"] == binomial_band(2 / 3, 3)
    assert found["groups_missed"] == ["b"]


def test_without_intervals_there_is_no_coverage():
    none = np.full(2, np.nan)
    assert coverage(np.ones(2), none, none, np.zeros(2, int), EDGES) == {"share": None}
    assert coverage(np.ones(0), none[:0], none[:0], np.zeros(0, int), EDGES) == {"share": None}
