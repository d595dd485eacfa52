import json

import numpy as np
import pytest

from twostage.bins import Bins
from twostage.errors import ConfigError
from twostage.options.choices import INTERVALS
from twostage.options.family import resolve
from twostage.stages.limits import Limits
from twostage.stages.reading import Reading
from twostage.trust.checks import Seen, not_finite, out_of_range
from twostage.trust.dispersion import Dispersion, alike
from twostage.trust.distribution import Distribution
from twostage.trust.intervals import load_intervals, specimens_needed
from twostage.trust.prediction import Prediction, predict
from twostage.trust.status import Status
from twostage.trust.trust import Judged, Trust

BINS = Bins([0, 50, 100])


def reading(concentration):
    """What a classifier and a regressor say that agree on these concentrations."""
    offsets = BINS.offsets(concentration)
    return Reading(np.eye(2)[BINS.index(concentration)], offsets, np.zeros_like(offsets))


def seen(concentration):
    values = np.asarray(concentration, float)
    said, none = reading(np.nan_to_num(values)), np.full(len(values), np.nan)
    pixels = np.zeros((len(values), 4, 4, 3), np.uint8)
    return Seen(pixels, said, values, BINS, Trust(), none, said.probabilities, none, none, values)


def test_the_gravest_status_is_said():
    assert [status.value for status in Status] == ["ok", "out_of_range", "low_confidence", "unlike", "refused"]
    assert Status.REFUSED.gravity > Status.UNLIKE.gravity > Status.OUT_OF_RANGE.gravity > Status.OK.gravity
    said = predict(BINS, np.zeros((3, 0)), reading(np.array([500.0, 500.0, 20.0])), "mixture", failed={1: "torn"})
    assert said.status.tolist() == ["out_of_range", "refused", "ok"]
    assert said.reason.tolist() == ["outside 0..100, the bins of the model", "torn", ""]
    assert said.is_read.tolist() == [True, False, True]
    assert np.isnan(said.reading.log_scales[1]).all()


def test_checks_name_rows_and_reasons():
    assert list(not_finite(seen([1.0, np.nan]))) == [1]
    assert list(out_of_range(seen([-4.9, -5.1, 104.9, 105.1]))) == [1, 3]


def test_predictions_are_joined_in_order():
    parts = [predict(BINS, np.zeros((n, 0)), reading(np.arange(n) * 10.0), "mixture") for n in (3, 1, 2)]
    whole = Prediction.joined(parts)
    assert whole.concentration.tolist() == [0, 10, 20, 0, 0, 10]
    assert len(whole.to_frame()) == len(whole.reading) == 6


def believed(concentration, scale=3.0, bins=BINS):
    """Predictive distributions around concentrations (N,), in one bin each."""
    said = np.asarray(concentration, float)
    weights, means = np.eye(bins.count)[bins.index(said)], np.repeat(bins.scale.to(said)[:, None], bins.count, 1)
    return Distribution(bins, weights, means, np.broadcast_to(np.asarray(scale, float).reshape(-1, 1), means.shape))


def fit(name, found, target, groups=None, scale=3.0, bins=BINS):
    groups = np.arange(len(target)) if groups is None else groups
    return resolve(INTERVALS.member(name)).fit(believed(found, scale, bins), target, alike(groups))


class IntervalContract:
    """What every method of intervals holds."""

    @pytest.fixture
    def fitted(self, name):
        rng = np.random.default_rng(0)
        target = rng.uniform(0, 100, 400)
        return fit(name, target + rng.normal(0, 3, 400), target)

    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    def test_a_new_error_lies_inside_as_often_as_promised(self, fitted, confidence):
        rng = np.random.default_rng(1)
        target = rng.uniform(0, 100, 4000)
        lower, upper = fitted.bounds(believed(target + rng.normal(0, 3, 4000)), confidence)
        assert ((lower <= target) & (target <= upper)).mean() == pytest.approx(confidence, abs=0.04)

    def test_it_is_the_same_after_json(self, fitted, name):
        again = load_intervals(json.loads(json.dumps({"method": name, **fitted.to_json()})))
        some = believed([10.0, 60.0])
        for one, other in zip(fitted.bounds(some, 0.8), again.bounds(some, 0.8), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_it_is_nested(self, fitted):
        some = believed([10.0, 60.0])
        narrow, wide = fitted.bounds(some, 0.5), fitted.bounds(some, 0.95)
        assert (wide[0] < narrow[0]).all()
        assert (narrow[1] < wide[1]).all()

    @pytest.mark.parametrize("groups", [None, np.repeat(np.arange(8), 5)])
    def test_too_few_specimens_give_none(self, name, groups):
        count = 8 if groups is None else 40
        few = fit(name, np.arange(count) * 1.0, np.ones(count), groups)
        assert np.isnan(few.bounds(believed([10.0, 60.0]), 0.9)).all()
        assert np.isfinite(few.bounds(believed([10.0, 60.0]), 0.8)).all()

    def test_a_specimen_counts_once_however_often_it_was_photographed(self, name):
        error = np.r_[np.full(100, 40.0), np.arange(1.0, 10.0)]  # one specimen of a hundred photographs, nine of one
        groups = np.r_[np.zeros(100, int), np.arange(1, 10)]
        by_specimen = fit(name, error, np.zeros(109), groups).bounds(believed([50.0]), 0.9)
        assert by_specimen[1] - 50 == pytest.approx(40, rel=1e-6)  # of ten and a new one, the tenth
        many = fit(name, error[100:], np.zeros(9)).bounds(believed([50.0]), 0.9)
        assert many[1] - 50 == pytest.approx(9, rel=1e-6)

    def test_exact_readings_have_intervals_of_a_point(self, name):
        target = np.linspace(10, 90, 20)
        lower, upper = fit(name, target, target, scale=1e-3).bounds(believed([50.0], 1e-3), 0.9)
        assert lower == pytest.approx(50, abs=1e-2)
        assert upper == pytest.approx(50, abs=1e-2)

    def test_refused_photographs_have_none(self, fitted):
        some = believed([10.0, 60.0])
        some.means[1], some.weights[1] = np.nan, np.nan
        assert np.isnan(np.array(fitted.bounds(some, 0.9))).tolist() == [[False, True], [False, True]]

    def test_a_description_that_does_not_belong_together_is_refused(self, fitted, name):
        content = fitted.to_json()
        for damaged in ({"weight": content["weight"][1:]}, {"weight": [-1.0] * 400}, {"strangeness": "many"}):
            with pytest.raises(ValueError, match=r"."):
                load_intervals({"method": name, **content, **damaged})


@pytest.mark.parametrize("name", [name for name in INTERVALS if name != "none"])
class TestIntervals(IntervalContract):
    pass


def test_conformal_intervals_equal_those_of_crepes():
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 100, 57)
    found = target + rng.normal(0, 3, 57)
    oracle = crepes.ConformalRegressor()
    oracle.fit(residuals=target - found)
    new = np.array([20.0, 70.0])
    for confidence in (0.7, 0.9, 0.95):
        expected = oracle.predict_int(y_hat=new, confidence=confidence)
        found_ends = np.column_stack(fit("conformal", found, target).bounds(believed(new), confidence))
        np.testing.assert_allclose(found_ends, expected)


def test_distributional_intervals_are_wider_where_readings_are_less_certain():
    rng = np.random.default_rng(0)
    target, scale = rng.uniform(0, 100, 500), rng.choice([1.0, 5.0], 500)
    found = target + scale * rng.standard_t(4, 500)
    intervals = fit("distributional", found, target, scale=scale)
    lower, upper = intervals.bounds(believed([50.0, 50.0], [1.0, 5.0]), 0.9)
    assert (upper - lower)[1] / (upper - lower)[0] == pytest.approx(5, rel=1e-6)


def test_a_bin_with_many_specimens_has_a_quantile_of_its_own():
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 100, 600)
    found = target + rng.normal(0, np.where(target < 50, 1.0, 6.0))
    lower, upper = fit("conformal", found, target).bounds(believed([20.0, 80.0]), 0.9)
    assert (upper - lower)[1] > 3 * (upper - lower)[0]


def test_specimens_that_a_confidence_needs():
    assert [specimens_needed(confidence) for confidence in (0.5, 0.9, 0.95, 0.99)] == [1, 9, 19, 99]


def test_without_a_method_there_are_no_intervals():
    lower, upper = Trust().bounds(believed([1.0, 2.0]), 2)
    assert np.isnan(lower).all()
    assert np.isnan(upper).all()
    with pytest.raises(ConfigError, match="did you mean conformal"):
        load_intervals({"method": "conformall"})


def test_a_row_never_contradicts_itself_without_a_word():
    """A number well outside the bin that the same row calls likeliest is no ok."""
    bins = Bins([0, 50, 100, 150])
    concentration = np.array([60.0, 124.0, 126.0, 30.0, -60.0])
    probabilities = np.tile([0.0, 1.0, 0.0], (5, 1))
    probabilities[4] = [1.0, 0.0, 0.0]
    offsets = bins.offsets(concentration)
    said = predict(bins, np.zeros((5, 0)), Reading(probabilities, offsets, np.zeros_like(offsets)), "mixture")
    assert said.status.tolist() == ["ok", "ok", "low_confidence", "ok", "out_of_range"]
    assert said.reason[2] == "the stages disagree: 126 lies outside the likeliest bin, 50..100"


def test_no_reading_lies_below_the_minimum_and_that_is_said():
    said = predict(BINS, np.zeros((3, 0)), reading(np.array([-2.0, 20.0, -300.0])), "mixture", limits=Limits(0.0))
    assert said.concentration.tolist() == [0, 20, 0]
    assert said.status.tolist() == ["ok", "ok", "out_of_range"]
    assert said.reason[:2].tolist() == ["read as -2, below data.minimum=0", ""]


@pytest.mark.parametrize("name", [name for name in INTERVALS if name != "none"])
def test_intervals_on_a_logarithmic_scale_are_factors(name):
    bins = Bins([1, 10, 100], "log")
    target = np.geomspace(1, 100, 99)
    fitted = fit(name, target * 2, target, scale=0.1, bins=bins)
    lower, upper = fitted.bounds(believed([1.0, 50.0], 0.1, bins), 0.9)
    np.testing.assert_allclose(upper / lower, 4)


@pytest.mark.parametrize("name", [name for name in INTERVALS if name != "none"])
def test_intervals_hold_beside_a_minimum(name):
    """They are cut there, and nowhere else."""
    rng, bins = np.random.default_rng(0), Bins([0.0, 5, 10])

    def read(count):
        target = np.where(rng.random(count) < 0.5, 0.3, rng.uniform(0, 10, count))
        found = target - 0.5 + rng.normal(0, 1, count)
        return target, Reading(np.eye(2)[bins.index(found)], bins.offsets(found), np.zeros((count, 2)))

    target, some_reading = read(2000)
    none = np.zeros(2000)
    trust = Trust(method=name).fitted(bins, Judged(some_reading, none, target, np.arange(2000)))
    target, new = read(4000)
    said = predict(bins, np.zeros((4000, 0)), new, "mixture", trust, limits=Limits(0.0))
    inside = (said.lower <= target) & (target <= said.upper)
    assert 0.87 < inside.mean() < 0.95
    assert said.lower.min() == 0


def test_stages_that_disagree_more_than_usual_are_said():
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 100, 400)

    def read(first):
        offsets = BINS.offsets(target)
        return Reading(np.eye(2)[BINS.index(target)], offsets, np.zeros_like(offsets), first)

    usual = read(target + rng.uniform(-2, 2, 400))
    trust = Trust().fitted(BINS, Judged(usual, np.zeros(400), target, np.arange(400)))
    assert trust.disagreement == pytest.approx(2, abs=0.1)
    first = target.copy()
    first[7] += 5
    said = predict(BINS, np.zeros((400, 0)), read(first), "mixture", trust)
    assert np.flatnonzero(said.status == "low_confidence").tolist() == [7]
    assert f"stage 1 alone reads {first[7]:.4g}, both together {target[7]:.4g}" in said.reason[7]
    without = read(np.full(400, np.nan))
    assert Trust().fitted(BINS, Judged(without, np.zeros(400), target, np.arange(400))).disagreement is None
    assert (predict(BINS, np.zeros((400, 0)), without, "mixture", trust).status == "ok").all()


def test_two_answers_are_told_from_one_that_is_uncertain():
    bins = Bins.uniform(0, 100, 5)

    def said(places, scale):
        """Half of the weight lies in the bin of each of two places."""
        count, inside = 1, bins.index(np.array(places))
        weights = np.zeros((count, 5))
        weights[0, inside] += [0.6, 0.4] if len(places) > 1 else 1.0
        reading = Reading(weights, bins.offsets(np.array([places[0]])) * 0, np.zeros((count, 5)))
        learned = Trust(dispersion=Dispersion(np.log(scale), np.zeros(4), np.zeros(4), np.ones(4)))
        return predict(bins, np.zeros((count, 0)), reading, "argmax", learned)

    assert "may as well lie in 80..100" in said([10.0, 90.0], 3.0).reason[0]
    assert said([10.0, 90.0], 3.0).status == "low_confidence"
    assert said([50.0], 25.0).status == "ok"
