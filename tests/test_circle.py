"""What holds on a line and on a circle alike: where it begins and how it is turned changes nothing but names."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from twostage import load_config
from twostage.bins import Bins
from twostage.errors import ConfigError
from twostage.evaluation.baselines import color_ridge, on_scale
from twostage.evaluation.coverage import coverage
from twostage.evaluation.error_budget import border_cost, errors_by
from twostage.evaluation.metrics import regression_metrics
from twostage.stages.combination import combine
from twostage.stages.reading import Reading
from twostage.trust.checks import Seen, could_be_elsewhere
from twostage.trust.distribution import Distribution
from twostage.trust.prediction import predict
from twostage.trust.recalibration import Recalibration, choose
from twostage.trust.trust import Judged, Trust

K = 8
PERIODS = [None, 360.0, 24.0]
ON_CIRCLES = [360.0, 24.0]


def some(period, count=120, seed=0, sd=0.02):
    """Bins, readings of N photographs around their true concentrations, and these, which lie everywhere."""
    rng, span = np.random.default_rng(seed), period or 360.0
    bins = Bins.uniform(0, span, K, period=period)
    target = rng.uniform(0, span, count)
    read = target + span * sd * rng.standard_t(4, count)
    near = np.exp(-((bins.offsets(read) / 2) ** 2) * rng.uniform(1, 20, count)[:, None])
    offsets = bins.offsets(read) + rng.normal(0, 0.05, (count, K))
    first = bins.scale.home(read + np.where(rng.random(count) < 0.02, 10, 1) * span * sd * rng.normal(size=count))
    log_scales = np.full((count, K), -2.0) + rng.normal(0, 0.3, (count, 1))
    reading = Reading(near / near.sum(1, keepdims=True), offsets, log_scales, first)
    return bins, Judged(reading, rng.normal(size=count), target, np.arange(count) // 2)


def turned(bins, judged, by, roll):
    """The same with all places moved by so much, and the seam by so many bins of equal width."""
    moved = Bins(bins.edges + by - roll * 2 * bins.half_width[0], period=bins.period)
    said, home = judged.reading, moved.scale.home
    arrays = (np.roll(one, roll, 1) for one in (said.probabilities, said.offsets, said.log_scales))
    return moved, replace(judged, reading=Reading(*arrays, home(said.first + by)), target=home(judged.target + by))


def read(bins, judged, trust, combination="mixture"):
    return predict(bins, np.zeros((len(judged), 1, 1, 3)), judged.reading, combination, trust)


@pytest.mark.parametrize("period", PERIODS)
class TestTurning:
    """Turning all targets and readings turns the numbers, and leaves what is said of them as it was."""

    @pytest.fixture(params=[(-7.7, 3), (1000.5, 5)])
    def turn(self, request, period):
        """By how much, and by how many bins the seam, of which a line has none."""
        by, roll = request.param
        return by, 0 if period is None else roll

    def same(self, bins, found, expected):
        """One place, whatever its name."""
        np.testing.assert_allclose(bins.scale.apart(found, expected), 0, atol=1e-5 * np.ptp(bins.places))

    def test_predictions(self, turn, period):
        (by, roll), (bins, known), (_, new) = turn, some(period), some(period, seed=1)
        moved, other = turned(bins, new, by, roll)
        method, combination = ("conformal", "argmax") if roll == 3 else ("distributional", "mixture")
        settings = Trust(method=method, max_width=0.15 * np.ptp(bins.places), false_alarm=0.1)
        trust = settings.fitted(bins, known, combination)
        before = read(bins, new, trust, combination)
        trust = settings.fitted(*turned(bins, known, by, roll), combination)
        after = read(moved, other, trust, combination)
        for name in ("concentration", "lower", "upper"):
            self.same(moved, getattr(after, name), getattr(before, name) + by)
        np.testing.assert_allclose(after.upper - after.lower, before.upper - before.lower, rtol=1e-4)
        np.testing.assert_allclose(after.bin_probabilities, np.roll(before.bin_probabilities, roll, 1), atol=1e-5)
        np.testing.assert_array_equal(after.status, before.status)
        assert "low_confidence" in before.status
        crps = before.distribution.crps(new.target)
        np.testing.assert_allclose(after.distribution.crps(other.target), crps, rtol=1e-3)

    def test_figures_of_merit(self, turn, period):
        by, roll = turn
        bins, judged = some(period)
        moved, other = turned(bins, judged, *turn)
        found = []
        for grid, known in ((bins, judged), (moved, other)):
            said, target, scale = combine(grid, known.reading), known.target, grid.scale
            error = scale.error(said, target)
            figures = regression_metrics(target, error, scale, angle=True)
            width, part = 0.02 * np.ptp(grid.places), grid.index(target)
            ends = (said - width, said + width)
            held = coverage(target, *ends, part, grid.edges, known.groups, scale)
            borders = border_cost(target, {"mixture": error}, grid.edges, scale)
            means = errors_by(known.groups, scale.near(target, said), error, scale)
            shares = [row["share"] for row in held["by_range"]]
            found.append((figures, held["share"], np.roll(shares, -roll * (grid is moved)), borders, means))
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
        assert found[0][1] == found[1][1]
        np.testing.assert_allclose(found[0][2], found[1][2])
        pd.testing.assert_frame_equal(found[0][3], found[1][3])
        self.same(moved, found[1][4]["target"].to_numpy(), found[0][4]["target"].to_numpy() + by)

    def test_baselines(self, turn, period):
        bins, judged = some(period, sd=0.0)
        scale, (moved, other) = bins.scale, turned(bins, judged, *turn)
        columns = np.hstack([scale.code(judged.target), np.ones((len(judged), 1))])
        found = []
        for grid, known in ((bins, judged), (moved, other)):
            model = on_scale(color_ridge(), grid.scale).fit(columns, known.target)
            found.append(model.predict(columns))
            assert np.abs(grid.scale.error(found[-1], known.target)).mean() < 0.02 * np.ptp(grid.places)
        self.same(moved, found[1], found[0] + turn[0])

    def test_every_combination(self, turn, period):
        by, (bins, judged) = turn[0], some(period)
        moved, other = turned(bins, judged, *turn)
        for method in ("mixture", "argmax", "top2", "oracle"):
            before = combine(bins, judged.reading, method, judged.target)
            after = combine(moved, other.reading, method, other.target)
            self.same(moved, after, before + by)
            np.testing.assert_array_equal(moved.scale.home(after), after)

    def test_what_a_recalibration_learns(self, turn, period):
        one, found = some(period), []
        for bins, judged in (one, turned(*one, *turn)):
            off = replace(judged, reading=Recalibration(0.1 * np.ptp(bins.places)).apply(bins, judged.reading))
            places = off.places(bins, "mixture")
            choice = choose(bins, *places, 0.01 * np.ptp(bins.places))
            off_by = bins.scale.apart(choice.recalibration.moved(bins, places[0]), places[1])
            assert abs(off_by.mean()) < 0.01 * np.ptp(bins.places)
            found.append(choice.recalibration)
        assert found[0].slope == pytest.approx(found[1].slope, abs=1e-9)
        assert found[0].offset == pytest.approx(found[1].offset, rel=1e-6)


@pytest.mark.parametrize("period", ON_CIRCLES)
class TestCircle:
    @pytest.mark.parametrize(("method", "sd"), [("conformal", 0.3), ("distributional", 0.02)])
    def test_intervals_hold_across_the_seam(self, period, method, sd):
        shares = []
        _, new = some(period, 4000, seed=1, sd=sd)
        for seed in (2, 3, 4):
            bins, known = some(period, seed=seed, sd=sd)
            said = read(bins, new, Trust(method=method).fitted(bins, known))
            width = said.upper - said.lower
            assert (width > 0).all()
            assert (width <= period * (1 + 1e-12)).all()
            inside = np.abs(bins.scale.apart(new.target, (said.lower + said.upper) / 2)) <= width / 2
            shares.append(inside.mean())
            at_seam = np.abs(bins.scale.apart(new.target, np.zeros(4000))) < period / 36
            assert inside[at_seam].mean() == pytest.approx(inside.mean(), abs=0.07)
            if sd == 0.02:
                assert ((said.lower <= said.concentration) & (said.concentration <= said.upper)).mean() > 0.99
                assert (said.upper > period).any()
                assert (said.lower < 0).any()
        assert np.mean(shares) == pytest.approx(0.9, abs=0.03)

    def test_masses_go_around(self, period):
        bins, _ = some(period, 1)
        scales = period * np.geomspace(1e-3, 3, 7)[:, None]
        distribution = Distribution(bins, np.ones((7, 1)), np.zeros((7, 1)), scales)
        mass = distribution.mass()
        np.testing.assert_allclose(mass.sum(1), 1)
        np.testing.assert_allclose(mass, mass[:, ::-1], atol=1e-12)
        np.testing.assert_allclose(mass[0], np.eye(K)[[0, K - 1]].sum(0) / 2, atol=1e-6)
        drawn = distribution.sample(4000)
        assert ((drawn >= 0) & (drawn < period)).all()
        shares = np.array([np.bincount(bins.index(row), minlength=K) / 4000 for row in drawn])
        np.testing.assert_allclose(shares[:5], mass[:5], atol=0.03)

    def test_of_no_photographs_there_is_nothing(self, period):
        bins, judged = some(period, 40)
        said = read(bins, judged[:0], Trust(method="distributional").fitted(bins, judged))
        assert said.bin_probabilities.shape == (0, K)
        assert said.to_frame().empty

    def test_a_least_concentration_is_for_a_line(self, period):
        with pytest.raises(ConfigError, match=r"data.minimum=0 is for a line"):
            load_config(["run=x", f"bins.period={period}", "bins.range=null", "augment=none", "data.minimum=0"])

    def test_nothing_is_out_of_range_and_neighbours_are_beside_each_other_across_the_seam(self, period):
        bins, judged = some(period)
        assert "out_of_range" not in read(bins, judged, Trust()).status
        mass = np.zeros((3, K))
        mass[0, [0, -1]], mass[1, [0, -2]], mass[2, [0, 4]] = 0.5, 0.5, 0.5
        mass[1, -1] = 0.4  # between the two, and likely
        offsets = bins.offsets(bins.center[[0, 0, 0]])
        said = Reading(mass / mass.sum(1, keepdims=True), offsets, np.zeros((3, K)))
        seen = _seen(bins, said, bins.center[[0, 0, 0]])
        assert list(could_be_elsewhere(seen)) == [2]

    def test_a_refused_photograph_has_no_number(self, period):
        bins, judged = some(period, 40)
        trust = Trust(method="distributional").fitted(bins, judged)
        said = predict(bins, np.zeros((40, 1, 1, 3)), judged.reading, "mixture", trust, failed={3: "torn"})
        for values in (said.concentration, said.lower, said.upper, said.distribution.crps(judged.target)):
            assert np.flatnonzero(np.isnan(values)).tolist() == [3]
        assert np.isnan(said.distribution.mass()[3]).all()
        assert np.isnan(said.sample(5)[3]).all()


def _seen(bins, said, concentration):
    none = np.full(len(said), np.nan)
    pixels = np.zeros((len(said), 1, 1, 3))
    return Seen(pixels, said, concentration, bins, Trust(), none, said.probabilities, none, none, concentration)
