import json

import numpy as np
import pytest
from helpers import few

from twostage.bins import Bins
from twostage.errors import ConfigError
from twostage.stages.reading import Reading
from twostage.trust.dispersion import Dispersion, alike, parts_by_specimen
from twostage.trust.trust import Judged, Trust

BINS = Bins.uniform(0, 100, 5)


def judged(count=400, seed=0, specimens=None, spoiled=0.0):
    """Readings whose errors grow with the regressor's log-scale and with the distance from the training."""
    rng = np.random.default_rng(seed)
    groups = np.arange(count) if specimens is None else np.arange(count) % specimens
    target = rng.uniform(0, 100, groups.max() + 1)[groups]
    log_scale, distance = rng.normal(0, 1, count), rng.normal(0, 1, count)
    error = np.exp(0.5 * log_scale + 0.3 * distance) * rng.standard_t(4, count)
    error += np.where(rng.random(count) < spoiled, 60.0, 0.0)
    found = target + error
    scales = np.repeat(log_scale[:, None], 5, 1)
    return Judged(Reading(np.eye(5)[BINS.index(found)], BINS.offsets(found), scales), distance, target, groups)


def fitted(some):
    return Dispersion.fit(BINS, some.reading, some.distance, some.target, some.groups)


def test_what_tells_hard_photographs_is_found():
    some = judged(2000)
    slope = dict(zip(("concentration", "log_scale", "between", "distance"), fitted(some).slopes, strict=True))
    assert slope["log_scale"] == pytest.approx(0.5, abs=0.08)
    assert slope["distance"] == pytest.approx(0.3, abs=0.08)
    assert abs(slope["concentration"]) < 0.1
    assert fitted(some).base == pytest.approx(0, abs=0.1)


def test_what_tells_nothing_leaves_all_alike():
    rng = np.random.default_rng(0)
    some = judged(60)
    found = some.target + rng.normal(0, 1, 60)
    reading = Reading(np.eye(5)[BINS.index(found)], BINS.offsets(found), some.reading.log_scales)
    assert np.abs(fitted(Judged(reading, some.distance, some.target, some.groups)).slopes).max() < 0.25


def test_a_few_readings_that_are_far_off_do_not_widen_all_others():
    assert fitted(judged(spoiled=0.02)).base - fitted(judged()).base < 0.25


def test_a_specimen_counts_once_however_often_it_was_photographed():
    some = judged(60)
    rows = np.r_[np.zeros(200, int), np.arange(60)]
    np.testing.assert_allclose(fitted(some).base, fitted(some[rows]).base, atol=1e-3)
    np.testing.assert_allclose(alike(np.array(["a", "b", "a", "a"])), [1 / 3, 1, 1 / 3, 1 / 3])


def test_specimens_lie_in_one_part():
    groups = np.arange(100) % 17
    parts = parts_by_specimen(groups, 5)
    assert all(len(np.unique(parts[groups == one])) == 1 for one in range(17))
    assert np.bincount([parts[groups == one][0] for one in range(17)]).tolist() == [4, 4, 3, 3, 3]


@pytest.mark.parametrize("specimens", [1, 2, 3, 12])
def test_few_specimens_and_exact_readings_are_no_trouble(specimens):
    some = judged(24, specimens=specimens)
    exact = Reading(np.eye(5)[BINS.index(some.target)], BINS.offsets(some.target), some.reading.log_scales)
    for reading in (some.reading, exact):
        dispersion = fitted(Judged(reading, some.distance, some.target, some.groups))
        scales = dispersion.distribution(BINS, reading, some.distance).scales
        assert (scales > 0).all()
        assert np.isfinite(scales).all()


def test_it_is_the_same_after_json():
    some = judged(60)
    again = Dispersion.from_json(json.loads(json.dumps(fitted(some).to_json())))
    one, other = (found.distribution(BINS, some.reading, some.distance) for found in (fitted(some), again))
    np.testing.assert_array_equal(one.scales, other.scales)
    with pytest.raises(ValueError, match="signs"):
        Dispersion.from_json({**fitted(some).to_json(), "signs": ["moon"]})
    with pytest.raises(ValueError, match="one positive number for each"):
        Dispersion.from_json({**fitted(some).to_json(), "slopes": [0.0]})


def test_without_a_regressor_readings_are_judged_as_well():
    some = judged(60)
    nothing = np.full((60, 5), np.nan)
    centers = Reading(some.reading.probabilities, np.zeros((60, 5)), nothing)
    scales = Dispersion.fit(BINS, centers, some.distance, some.target, some.groups)
    assert np.isfinite(scales.distribution(BINS, centers, some.distance).scales).all()


@pytest.mark.parametrize("method", few(["distributional"], ["distributional", "conformal"]))
def test_intervals_hold_for_new_specimens(method):
    inside, width = [], []
    for seed in range(8):
        trust = Trust(method=method).fitted(BINS, judged(300, seed))
        new = judged(1000, seed + 100)
        lower, upper = trust.bounds(trust.distribution(BINS, new.reading, new.distance), 1000)
        inside.append(((lower <= new.target) & (new.target <= upper)).mean())
        width.append((upper - lower).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_trust_is_the_same_after_json_and_at_another_confidence():
    some = judged(100)
    trust = Trust(method="distributional", max_width=7.0, unlike="refuse").fitted(BINS, some)
    again = Trust.from_json(json.loads(json.dumps(trust.to_json())))
    assert (again.max_width, again.unlike, again.method) == (7.0, "refuse", "distributional")
    distribution = trust.distribution(BINS, some.reading, some.distance)
    widths = [np.ptp(one.bounds(distribution, 100), axis=0).mean() for one in (trust, again, again.at(0.5))]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] < widths[1] / 2
    for wrong in ({"unlike": "shrug"}, {"confidence": 1.0}, {"max_width": "wide"}):
        with pytest.raises(ValueError, match=r"."):
            Trust.from_json({**trust.to_json(), **wrong})


def test_a_confidence_that_asks_for_more_specimens_is_refused():
    trust = Trust(method="conformal").fitted(BINS, judged(120, specimens=12))
    assert trust.at(12 / 13).confidence == 12 / 13
    for confidence, why in (
        (0.95, "needs 19 specimens for calibration, the model has 12: give at most 0.923"),
        (0, "none"),
    ):
        with pytest.raises(ConfigError, match=why):
            trust.at(confidence)


def test_signs_that_are_rounding_change_no_interval():
    rng = np.random.default_rng(3)
    bins, count = Bins.uniform(80, 350, 3), 60
    probabilities = rng.dirichlet(np.ones(3), count)
    place = rng.uniform(90, 340, (count, 1))
    offsets = (place - bins.center) / bins.half_width
    noise = [1e-6 * rng.standard_normal((2, count, 3)) for _ in range(2)]
    first, second = (Reading(probabilities, offsets + one[0], 0.5 + one[1]) for one in noise)
    target, groups = place[:, 0] + rng.standard_normal(count), np.arange(count)
    fitted = Dispersion.fit(bins, first, np.zeros(count), target, groups)
    assert np.isinf(fitted.spread[1:]).all()
    scales = [fitted.distribution(bins, reading, np.zeros(count)).scales for reading in (first, second)]
    np.testing.assert_allclose(*scales, rtol=1e-5)
