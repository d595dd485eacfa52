import numpy as np
import pytest
from scipy import stats

from twostage.bins import Bins
from twostage.trust.distribution import Distribution, tail

BINS = Bins([0.0, 40, 70, 100])


def some(count=20, seed=0, bins=BINS):
    rng = np.random.default_rng(seed)
    places = bins.places
    weights = rng.dirichlet([0.3, 0.3, 0.3], count)
    means = rng.uniform(places[0], places[-1], (count, 3))
    return Distribution(bins, weights, means, np.ptp(places) * rng.uniform(0.01, 0.1, (count, 3)))


def parts(distribution, row):
    return zip(*(values[row] for values in distribution.arrays), strict=True)


def test_tails_are_those_of_students_t():
    z = np.r_[0, np.geomspace(1e-3, 1e8, 40)]
    np.testing.assert_allclose(tail(z), stats.t.sf(z, 4), rtol=1e-9)


def test_the_distribution_function_is_that_of_the_mixture():
    distribution, at = some(), np.linspace(-10, 110, 20)
    expected = [sum(w * stats.t.cdf(at[i], 4, m, s) for w, m, s in parts(distribution, i)) for i in range(20)]
    np.testing.assert_allclose(distribution.cdf(at), expected, atol=1e-12)
    np.testing.assert_allclose(distribution.cdf(at) + distribution.survival(at), 1)
    np.testing.assert_allclose(distribution.cdf(50.0)[3], distribution.cdf(np.full((20, 2), 50.0))[3, 1])


@pytest.mark.parametrize("level", [1e-12, 1e-3, 0.05, 0.5, 0.9, 1 - 1e-9])
@pytest.mark.parametrize("bins", [BINS, Bins([1.0, 10, 50, 100], "log")])
def test_quantiles_undo_the_distribution_function(level, bins):
    distribution = some(bins=bins)
    found = distribution.quantile(level)
    np.testing.assert_allclose(np.minimum(distribution.cdf(found), distribution.survival(found)), min(level, 1 - level))
    both = distribution.quantile(np.tile([level, 0.5], (20, 1)))
    np.testing.assert_allclose(both[:, 0], found)


def test_the_masses_of_the_bins():
    distribution = some()
    mass = distribution.mass()
    np.testing.assert_allclose(mass.sum(1), 1)
    np.testing.assert_allclose(mass[:, 1], distribution.cdf(70.0) - distribution.cdf(40.0))
    np.testing.assert_allclose(mass[:, 2], distribution.survival(70.0))


def test_samples_are_drawn_from_it():
    distribution = some(4)
    drawn = distribution.sample(20_000, seed=1)
    for level in (0.1, 0.5, 0.9):
        share = (drawn <= distribution.quantile(level)[:, None]).mean(1)
        np.testing.assert_allclose(share, level, atol=0.01)
    np.testing.assert_array_equal(drawn, distribution.sample(20_000, seed=1))


@pytest.mark.slow
def test_the_score_is_the_integral_of_the_squared_difference_and_smallest_for_the_truth():
    distribution, truth = some(3), np.array([30.0, 50.0, 80.0])
    grid = np.linspace(-400, 500, 400_001)
    for i, found in enumerate(distribution.crps(truth)):
        one = distribution[np.full(1, i)]
        below = one.cdf(grid[None, :])[0]
        assert found == pytest.approx(np.trapezoid((below - (grid >= truth[i])) ** 2, grid), rel=0.02)
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(4, 4000) * 3
    scores = []
    for scale in (1.0, 3.0, 9.0):
        arrays = np.ones((4000, 1)), np.zeros((4000, 1)), np.full((4000, 1), scale)
        scores.append(Distribution(Bins([-50.0, 50]), *arrays).crps(drawn).mean())
    assert scores[1] == min(scores)


def test_refused_rows_stay_nothing():
    distribution = some(3)
    for values in distribution.arrays:
        values[1] = np.nan
    for found in (distribution.cdf(50.0), distribution.quantile(0.3), distribution.mass()[:, 0]):
        assert np.isnan(found).tolist() == [False, True, False]
    assert np.isnan(distribution.sample(2)[1]).all()
