import itertools

import numpy as np
import pytest

from twostage.trust.drift import LEVEL, Then, drift_of, ewma, of_specimens

CALIBRATION = Then(np.random.default_rng(5).normal(0.5, 2, 15))


@pytest.mark.parametrize("count", [2, 3, 5, 6, 9])
def test_p_of_no_bias_is_the_share_of_all_patterns_of_signs(count):
    errors = np.random.default_rng(count).normal(1, 2, count)
    means = [abs(np.dot(signs, errors)) for signs in itertools.product((-1, 1), repeat=count)]
    expected = np.mean(np.array(means) >= abs(errors.sum()) * (1 - 1e-12))
    found = drift_of(errors, None)
    assert found.p_zero == pytest.approx(expected)
    assert found.p_zero >= found.least_zero == 2 / 2**count


@pytest.mark.parametrize("count", range(2, 11))
def test_errors_of_one_sign_give_the_least_p_there_can_be(count):
    found = drift_of(np.arange(1.0, count + 1), CALIBRATION)
    assert found.p_zero == pytest.approx(found.least_zero)
    far = drift_of(1000 + np.arange(1.0, count + 1), CALIBRATION)
    assert far.least_then <= far.p_then * (1 + 1e-9) <= 3 * far.least_then  # where not all are counted, it is drawn
    assert far.verdict == "moved"


def test_p_values_below_the_level_are_as_rare_as_it_says_where_nothing_has_moved():
    rng = np.random.default_rng(0)
    for count, then in ((3, 9), (6, 4)):
        found = [drift_of(rng.standard_t(3, count), Then(rng.standard_t(3, then))) for _ in range(150)]
        for name in ("p_zero", "p_then"):
            share = np.mean([getattr(one, name) <= LEVEL for one in found])
            assert share <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 150)


def test_one_specimen_has_no_p_value_and_no_interval():
    found = drift_of(np.array([3.0]), CALIBRATION)
    assert found.p_zero is found.p_then is found.interval is None
    assert found.bias == 3.0
    assert found.sds == pytest.approx((3 - CALIBRATION.bias) / (CALIBRATION.sd * np.sqrt(1 + 1 / 15)))


@pytest.mark.parametrize(
    ("errors", "then", "verdict"),
    [
        ([0.5], CALIBRATION, "steady"),
        ([CALIBRATION.bias + 2.5 * CALIBRATION.sd_of_mean(1)], CALIBRATION, "watch"),
        ([CALIBRATION.bias - 3.5 * CALIBRATION.sd_of_mean(1)], CALIBRATION, "moved"),
        ([9.0, 9.5, 10.0], CALIBRATION, "moved"),
        ([9.0, 9.5, 10.0], None, "cannot tell"),
        ([1.0, 1.1, 1.2, 0.9, 1.0, 1.3], None, "biased"),
        ([1.0, -1.1, 1.2, -0.9, 1.0, -1.3], None, "steady"),
        ([0.0, 0.0, 0.0], Then(np.zeros(9)), "cannot tell"),
    ],
)
def test_verdicts(errors, then, verdict):
    assert drift_of(np.array(errors), then).verdict == verdict


def test_specimens_count_the_same_however_often_they_were_photographed():
    errors = np.array([1.0] * 50 + [3.0])
    assert of_specimens(errors, np.array(["a"] * 50 + ["b"])).tolist() == [1.0, 3.0]


def test_the_moving_average_finds_a_small_shift_that_lasts_and_seldom_none():
    average, limit = ewma(np.full(20, 1.5))
    assert abs(average[0]) < limit[0]
    assert average[-1] > limit[-1]
    rng = np.random.default_rng(0)
    calm = [np.any(np.abs(ewma(z)[0]) > ewma(z)[1]) for z in rng.normal(size=(200, 20))]
    assert np.mean(calm) < 0.1
