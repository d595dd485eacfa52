import numpy as np
import pytest

from twostage.bins import Bins
from twostage.errors import ConfigError, DataError
from twostage.options.choices import INTERVALS
from twostage.stages.reading import Reading
from twostage.trust.checks import Seen, not_finite, out_of_range
from twostage.trust.intervals import fit_intervals, load_intervals
from twostage.trust.prediction import Prediction, predict
from twostage.trust.status import Status

BINS = Bins([0, 50, 100])


def reading(concentration):
    """What a classifier and a regressor say that agree on these concentrations."""
    offsets = BINS.offsets(concentration)
    return Reading(np.eye(2)[BINS.index(concentration)], offsets, np.zeros_like(offsets))


def seen(concentration):
    values = np.asarray(concentration, float)
    return Seen(np.zeros((len(values), 4, 4, 3), np.uint8), reading(np.nan_to_num(values)), values, BINS)


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


class IntervalContract:
    """What every method of intervals holds."""

    @pytest.fixture
    def fitted(self, name):
        rng = np.random.default_rng(0)
        target = rng.uniform(0, 100, 400)
        found = target + rng.normal(0, 3, 400)
        return fit_intervals(name, BINS, reading(found), found, target)

    def test_a_new_error_lies_inside_as_often_as_promised(self, fitted):
        rng = np.random.default_rng(1)
        target = rng.uniform(0, 100, 4000)
        found = target + rng.normal(0, 3, 4000)
        lower, upper = fitted.bounds(BINS, reading(found), found)
        assert 0.87 < ((lower <= target) & (target <= upper)).mean() < 0.93

    def test_it_is_the_same_after_json(self, fitted, name):
        again = load_intervals({"method": name, **fitted.to_json()})
        values = np.array([10.0, 60.0])
        for one, other in zip(
            fitted.bounds(BINS, reading(values), values), again.bounds(BINS, reading(values), values), strict=True
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [name for name in INTERVALS if name != "none"])
class TestIntervals(IntervalContract):
    pass


def test_a_specimen_counts_once_however_often_it_was_photographed():
    target = np.zeros(109)
    error = np.r_[np.full(100, 40.0), np.arange(1.0, 10.0)]  # one specimen of a hundred photographs, nine of one
    groups = np.r_[np.zeros(100, int), np.arange(1, 10)]
    by_specimen = fit_intervals("conformal", BINS, reading(error), error, target, groups)
    assert by_specimen.to_json() == {"half_length": 40.0}  # of ten and a new one, the tenth
    many = fit_intervals("conformal", BINS, reading(error[100:]), error[100:], target[100:], groups[100:])
    assert many.to_json() == {"half_length": 9.0}


@pytest.mark.parametrize("groups", [None, np.repeat([1, 2], 20)])
def test_too_few_for_an_interval_is_said(groups):
    count = 8 if groups is None else 40
    with pytest.raises(DataError, match=r"needs 9 or more .* there are (8|2): raise split\.calibration"):
        fit_intervals("conformal", BINS, reading(np.zeros(count)), np.zeros(count), np.ones(count), groups)


def test_without_a_method_there_are_no_intervals():
    lower, upper = load_intervals(None).bounds(BINS, reading(np.zeros(2)), np.zeros(2))
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
    said = predict(BINS, np.zeros((3, 0)), reading(np.array([-2.0, 20.0, -300.0])), "mixture", minimum=0.0)
    assert said.concentration.tolist() == [0, 20, 0]
    assert said.status.tolist() == ["ok", "ok", "out_of_range"]
    assert said.reason[:2].tolist() == ["read as -2, below data.minimum=0", ""]


def test_intervals_on_a_logarithmic_scale_are_factors():
    bins = Bins([1, 10, 100], "log")
    target = np.geomspace(1, 100, 99)
    found = target * 2
    some_reading = Reading(np.eye(2)[bins.index(found)], bins.offsets(found), np.zeros((99, 2)))
    fitted = fit_intervals("conformal", bins, some_reading, found, target)
    lower, upper = fitted.bounds(bins, some_reading, np.array([1.0, 50.0]))
    np.testing.assert_allclose(upper / lower, 4)


def test_intervals_hold_beside_a_minimum():
    """They learn from readings that were raised to it, and so must stand around such."""
    rng, bins = np.random.default_rng(0), Bins([0.0, 5, 10])

    def read(count):
        target = np.where(rng.random(count) < 0.5, 0.3, rng.uniform(0, 10, count))
        found = target - 0.5 + rng.normal(0, 1, count)
        return target, Reading(np.eye(2)[bins.index(found)], bins.offsets(found), np.zeros((count, 2)))

    target, some_reading = read(2000)
    fitted = fit_intervals(
        "conformal",
        bins,
        some_reading,
        predict(bins, np.zeros((2000, 0)), some_reading, "mixture", minimum=0).concentration,
        target,
    )
    target, new = read(4000)
    said = predict(bins, np.zeros((4000, 0)), new, "mixture", fitted, minimum=0)
    inside = (said.lower <= target) & (target <= said.upper)
    assert 0.87 < inside.mean() < 0.95
    assert said.lower.min() == 0
