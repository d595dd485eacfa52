"""A figure of one reading: of every kind of prediction, with all that is said of it in words."""

import numpy as np
import pytest

from twostage import Bins
from twostage.errors import ConfigError
from twostage.report.canvas import pixels_of
from twostage.stages.reading import Reading
from twostage.trust.distribution import Distribution
from twostage.trust.prediction import Prediction
from twostage.trust.status import Status


def some_prediction(count=3, scale="linear", known=True, intervals=True, status=Status.OK, reason="", unit="µg/L"):
    bins = Bins.uniform(80, 350, count, scale)
    weights = np.full((1, count), 1 / count)
    means = bins.scale.to(np.full((1, count), 200.0))
    distribution = Distribution(bins, weights, means, np.full((1, count), 0.02)) if known else None
    number, ends = (np.nan, [np.nan] * 2) if status is Status.REFUSED else (200.0, [190.0, 211.0])
    return Prediction(
        bins,
        Reading(weights, np.zeros((1, count)), np.zeros((1, count))),
        np.array([number]),
        *(np.array([end if intervals else np.nan]) for end in ends),
        np.array([-1 if status is Status.REFUSED else bins.index([200.0])[0]]),
        weights,
        np.array([status.value]),
        np.array([reason]),
        distribution,
        unit,
    )


@pytest.mark.parametrize("count", [1, 3, 9, 100])
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("known", [True, False])
def test_any_reading_is_drawn(count, scale, known, drawn):
    figure = some_prediction(count, scale, known, intervals=known).plot(0)
    assert pixels_of(figure).std() > 10
    assert len(figure.axes) == (1 if count == 1 else 2)


@pytest.mark.parametrize("status", list(Status))
def test_status_and_reason_are_said_in_words(status):
    assert status.words
    words = some_prediction(status=status, reason="").plot(0).get_suptitle()
    assert words.endswith(f"{status.value}: {status.words}")
    words = some_prediction(status=status, reason="costs 5$ and 6$").in_words(0)
    assert words[-1] == f"{status.value}: costs 5$ and 6$"
    assert ("200 µg/L, between 190 and 211" in words) == (status is not Status.REFUSED)


def test_without_interval_and_unit_the_number_stands_alone():
    assert some_prediction(intervals=False, unit="").in_words(0)[0] == "200"


def test_a_long_reason_of_many_scripts_is_drawn(drawn):
    for reason in ("x" * 500, "硝酸盐 " * 20, "$\\frac{", "%s {} \\n"):
        pixels_of(some_prediction(status=Status.UNLIKE, reason=reason).plot(0))


@pytest.mark.parametrize("i", [1, -2, 100])
def test_a_row_that_is_not_there_is_told(i):
    with pytest.raises(ConfigError, match=f"no photograph {i}: this prediction has 1"):
        some_prediction().plot(i)


def test_the_density_is_the_slope_of_the_distribution():
    known = some_prediction(scale="log").distribution
    places = np.linspace(2.2, 2.4, 2001)
    slope = np.gradient(known.cdf(10 ** places[None])[0], places)
    np.testing.assert_allclose(known.density(places[None])[0], slope, atol=1e-3 * slope.max())


def test_the_unit_goes_along():
    prediction = some_prediction()
    assert Prediction.joined([prediction, prediction]).select(np.array([1])).unit == "µg/L"
