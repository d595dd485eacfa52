from dataclasses import replace

import numpy as np
import pytest

from twostage.bins import Bins
from twostage.stages.combination import combine
from twostage.stages.reading import Reading
from twostage.trust.prediction import predict
from twostage.trust.recalibration import Recalibration, choose, of_offset, of_offset_and_slope
from twostage.trust.renewal import OLD_WEIGHT, UNDERSTOOD, renewed
from twostage.trust.trust import Judged, Trust
from twostage.trust.typicality import Typicality

LINEAR, LOG = Bins([0, 40, 70, 100]), Bins([1, 10, 100, 1000], "log")
SOME = Recalibration(-4.0, 0.9)


def reading(bins, concentration):
    """What stages say that agree, up to a tenth of a bin, and are not quite sure of the bin."""
    offsets = bins.offsets(concentration) + 0.1 * np.arange(bins.count)
    probabilities = 0.9 * np.eye(bins.count)[bins.index(concentration)] + 0.1 / bins.count
    return Reading(probabilities, offsets, np.full_like(offsets, -2.0))


def judged(bins, read, target, groups=None, distance=0.0):
    groups = np.arange(len(target)).astype(str) if groups is None else groups
    return Judged(reading(bins, read), np.full(len(target), distance), np.asarray(target, float), groups)


def specimens(seed, count, shift=0.0, sd=2.0):
    """Specimens as a model reads them that errs by `shift` on average."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(5, 95, count)
    return judged(LINEAR, target + shift + rng.normal(0, sd, count), target)


@pytest.fixture(scope="module")
def trust():
    fitted = Trust(method="distributional").fitted(LINEAR, specimens(0, 20))
    return replace(fitted, typicality=Typicality(np.zeros(1), np.ones(1), np.eye(1), 1.0, 0.01))


@pytest.mark.parametrize("bins", [LINEAR, LOG], ids=["linear", "log"])
def test_all_that_is_read_moves_by_the_same_line_on_the_scale(bins):
    before = reading(bins, bins.scale.back(np.linspace(*bins.places[[0, -1]], 7)))
    some = Recalibration(0.1 * np.ptp(bins.places), 0.9)
    places = bins.scale.to(combine(bins, before, "mixture"))
    after = bins.scale.to(combine(bins, some.apply(bins, before), "mixture"))
    np.testing.assert_allclose(after, some.moved(bins, places))
    middle = bins.places[[0, -1]].mean()
    assert some.moved(bins, middle) == pytest.approx(middle + some.offset)


def test_intervals_and_distribution_move_with_the_number(trust):
    said = reading(LINEAR, np.array([20.0, 50.0, 80.0]))
    pixels, distance = np.zeros((3, 4, 4, 3), np.uint8), np.zeros(3)
    plain, moved = (
        predict(LINEAR, pixels, said, "mixture", trust, distance=distance, recalibration=one)
        for one in (Recalibration(), Recalibration(5.0))
    )
    np.testing.assert_allclose(moved.concentration, plain.concentration + 5)
    np.testing.assert_allclose(moved.quantile(0.5), plain.quantile(0.5) + 5, atol=1)
    assert ((moved.lower < moved.concentration) & (moved.concentration < moved.upper)).all()
    assert moved.bin_index.tolist() == LINEAR.index(moved.concentration).tolist()


def test_a_large_step_is_no_disagreement_of_the_stages(trust):
    """The classifier says what it saw, and the regressor still agrees with that."""
    said = reading(LINEAR, np.array([20.0, 50.0]))
    arguments = LINEAR, np.zeros((2, 4, 4, 3), np.uint8), said, "mixture", trust
    moved = predict(*arguments, distance=np.zeros(2), recalibration=Recalibration(40.0))
    assert moved.status.tolist() == ["ok", "ok"]


def test_one_after_the_other_is_one():
    later, read = Recalibration(3.0, 1.2), reading(LINEAR, np.array([10.0, 60.0]))
    for one, other in zip(
        later.apply(LINEAR, SOME.apply(LINEAR, read)), SOME.then(later).apply(LINEAR, read), strict=True
    ):
        np.testing.assert_allclose(one, other)
    assert SOME.then(Recalibration()) == Recalibration().then(SOME) == SOME
    assert Recalibration.from_json(SOME.to_json()) == SOME


@pytest.mark.parametrize(
    "content", [{"offset": 1, "slope": 0}, {"offset": 1, "slope": -1}, {"offset": float("nan"), "slope": 1}]
)
def test_a_line_that_is_no_recalibration_is_refused(content):
    with pytest.raises(ValueError, match="slope above zero"):
        Recalibration.from_json(content)


def test_errors_within_chance_change_nothing_and_large_ones_are_taken_nearly_whole():
    read = np.array([20.0, 50.0, 80.0])
    assert of_offset(LINEAR, read, read + 1, sd=2.0).is_none  # 1 < 2 / sqrt(3)
    assert of_offset(LINEAR, read, read + 30, sd=2.0).offset == pytest.approx(30 * (1 - 4 / 3 / 900))
    assert of_offset(LINEAR, read[:1], read[:1] + 30, sd=0.0).offset == 30
    assert of_offset_and_slope(LINEAR, read, 100 - read, sd=0.0).slope > 0  # never turned around


def test_more_specimens_are_believed_more():
    read = np.linspace(10, 90, 8)
    found = [of_offset(LINEAR, read[:n], read[:n] + 4, sd=3.0).offset for n in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] < 4


def test_a_slope_is_chosen_where_the_standards_show_one_and_not_for_few():
    rng, read = np.random.default_rng(0), np.array([10.0, 30, 55, 75, 90])
    steep = 50 + 1.3 * (read - 50) + rng.normal(0, 0.5, 5)
    chosen = choose(LINEAR, read, steep, sd=1.0)
    assert chosen.name == "offset and slope"
    assert chosen.recalibration.slope == pytest.approx(1.3, abs=0.05)
    assert choose(LINEAR, read[:3], steep[:3], sd=1.0).name == "offset"
    names = [choose(LINEAR, read, read + 8 + rng.normal(0, 1, 5), sd=1.0).name for _ in range(40)]
    assert names.count("offset") > 30


def test_one_standard_gives_an_offset_and_is_judged_without_it():
    chosen = choose(LINEAR, np.array([50.0]), np.array([60.0]), sd=2.0)
    assert chosen.name == "offset"
    assert chosen.recalibration == Recalibration(10 * (1 - 4 / 100))
    assert chosen.left_out == [Recalibration()]
    assert chosen.rmse == {}


def renew(trust, standards, sd=2.0):
    choice = choose(LINEAR, *standards.places(LINEAR, "mixture"), sd)
    return choice, *renewed(trust, LINEAR, standards, "mixture", choice)


def test_new_specimens_weigh_one_and_old_ones_less_each_time(trust):
    _, once, _ = renew(trust, specimens(1, 4, shift=10))
    _, twice, _ = renew(once, specimens(2, 3, shift=-5))
    assert trust.intervals.weight.sum() == pytest.approx(20)
    assert once.intervals.weight.sum() == pytest.approx(20 * OLD_WEIGHT + 4)
    assert twice.intervals.weight.sum() == pytest.approx((20 * OLD_WEIGHT + 4) * OLD_WEIGHT + 3)
    again = Trust.from_json(once.to_json())
    assert again.intervals.weight.sum() == pytest.approx(once.intervals.weight.sum())


def test_photographs_of_one_specimen_weigh_together(trust):
    target = np.repeat([20.0, 60.0], [7, 3])
    standards = judged(LINEAR, target + 9, target, np.repeat(["a", "b"], [7, 3]))
    _, found, _ = renew(trust, standards)
    assert found.intervals.weight[-10:].sum() == pytest.approx(2)


def test_readings_of_another_day_are_right_again_and_so_is_their_coverage(trust):
    before, after, inside = [], [], []
    for seed in range(30):
        day = specimens(100 + seed, 24, shift=12)
        choice, new, _ = renew(trust, day[:4])
        arguments = LINEAR, np.zeros((20, 4, 4, 3), np.uint8), day[4:].reading, "mixture"
        old = predict(*arguments, trust, distance=np.zeros(20))
        said = predict(*arguments, new, distance=np.zeros(20), recalibration=choice.recalibration)
        before.append(old.concentration - day[4:].target)
        after.append(said.concentration - day[4:].target)
        inside.append((said.lower <= day[4:].target) & (day[4:].target <= said.upper))
    assert np.abs(np.mean(before)) > 8
    assert np.sqrt(np.mean(np.square(after))) < 3.2  # a specimen's own 2, and the mean of four
    assert 0.85 < np.mean(inside) < 0.99


def test_too_few_for_an_interval_is_said():
    few = Trust(method="distributional").fitted(LINEAR, specimens(0, 9))
    _, found, notes = renew(few, specimens(1, 1, shift=20))
    assert len(notes) == 1
    assert "no intervals of 90%: they ask for 9 specimens" in notes[0]
    lower, _ = found.bounds(found.distribution(LINEAR, reading(LINEAR, np.array([50.0])), np.zeros(1)), 1)
    assert np.isnan(lower).all()


def test_a_new_day_that_is_read_counts_as_known_and_one_that_is_not_does_not(trust):
    target = np.array([20.0, 40.0, 60.0, 80.0])
    _, known, notes = renew(trust, judged(LINEAR, target + 15, target, distance=2.5))
    assert known.typicality.threshold == 2.5
    assert "unlike the training photographs" in notes[0]
    _, foreign, notes = renew(trust, judged(LINEAR, np.array([80.0, 20.0, 40.0, 60.0]), target, distance=2.5))
    assert foreign.typicality.threshold == 1.0
    assert "still called unlike" in notes[0]
    _, like, notes = renew(trust, judged(LINEAR, target + 15, target, distance=0.5))
    assert like.typicality.threshold == 1.0
    assert notes == []
    assert UNDERSTOOD > 1


def test_the_errors_of_the_calibration_go_with_the_model(trust):
    again = Trust.from_json(trust.to_json())
    np.testing.assert_allclose(again.errors, trust.errors)
    assert len(again.errors) == 20
    assert Trust().then is None
    _, new, _ = renew(trust, specimens(1, 4, shift=10))
    assert new.then.bias == pytest.approx(0, abs=1e-9)
    assert new.then.sd == pytest.approx(trust.then.sd)
