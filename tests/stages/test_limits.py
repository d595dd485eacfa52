"""`combine.limit`: no number lies beyond the range, and where nothing is limited nothing has changed."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TINY, one_line
from small_stages import BINS, options_of, parts

from twostage.bins import Bins
from twostage.options.choices import COMBINATIONS
from twostage.run.folder import RunFolder
from twostage.stages.build import build_regressor, build_stage
from twostage.stages.combination import combine
from twostage.stages.left_out import solve_left_out
from twostage.stages.limits import BENDS, Limits, Logistic, Straight
from twostage.stages.reading import Reading
from twostage.stages.refit import PENALTIES, Seen, solve_shared
from twostage.trust.prediction import predict

RANGE = Bins.uniform(80, 350, 9)


def far_reading(count=200):
    """Readings of which many lie beyond the range, some of them a little; in every other the bins are at odds."""
    rng = np.random.default_rng(0)
    read = np.where(rng.random(count) < 0.5, rng.uniform(77, 83, count), rng.uniform(300, 430, count))
    at_odds = np.arange(count)[:, None] % 2 == 0
    probabilities = np.where(at_odds, rng.dirichlet(np.ones(9), count), np.eye(9)[RANGE.index(read)])
    offsets = RANGE.offsets(read) + np.where(at_odds, rng.normal(0, 2, (count, 9)), 0)
    return Reading(probabilities, offsets, np.zeros((count, 9)))


@pytest.mark.parametrize("method", COMBINATIONS)
def test_clip_is_numpys_clip_of_what_was_read_and_says_so(method):
    reading, pixels = far_reading(), np.zeros((200, 0))
    free, cut = (predict(RANGE, pixels, reading, method, limits=one) for one in (None, Limits(ends=(80.0, 350.0))))
    np.testing.assert_array_equal(free.concentration, combine(RANGE, reading, method))
    np.testing.assert_array_equal(cut.concentration, np.clip(free.concentration, 80, 350))
    np.testing.assert_array_equal(cut.status, free.status)
    said = (free.reason == "") & (cut.reason != "")
    beyond = (free.concentration < 80) | (free.concentration > 350)
    np.testing.assert_array_equal(said, beyond & (free.reason == ""))
    assert any(reason.startswith("read as") for reason in cut.reason)


def test_both_limits_hold_and_what_is_no_number_stays():
    limits = Limits(100.0, (80.0, 350.0))
    assert limits.cut(np.array([-5.0, 90.0, 400.0, np.inf])).tolist() == [100, 100, 350, 350]
    assert np.isnan(limits.cut(np.array([np.nan]))).all()
    assert "data.minimum" in limits.reasons(np.array([-5.0]))[0]


def test_a_bent_estimate_never_leaves_the_range_and_is_straight_in_the_middle():
    bend = Logistic(RANGE)
    said = torch.linspace(-3000, 3000, 60_001, dtype=torch.float64)
    places = bend(said)
    assert places.min() >= 80
    assert places.max() <= 350
    assert (places.diff() >= 0).all()
    middle = torch.tensor([214.0, 215, 216], dtype=torch.float64)
    torch.testing.assert_close(bend(middle), middle, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bend.decoded(said.numpy()[:, None]), places.numpy(), rtol=1e-12)
    logistic = 80 + 270 / (1 + np.exp(-4 * (said.numpy() - 215) / 270))
    np.testing.assert_allclose(places.numpy(), logistic, rtol=1e-9)


@pytest.mark.parametrize("kind", [Straight, Logistic])
def test_the_code_is_the_inverse_and_its_slope_what_an_error_does(kind):
    bend, place, step = kind(RANGE), np.linspace(85, 345, 53), 1e-4
    code = bend.code(place)
    np.testing.assert_allclose(bend.decoded(code), place)
    moved = (bend.decoded(code + step) - bend.decoded(code - step)) / (2 * step)
    np.testing.assert_allclose(moved, bend.slope(place), rtol=1e-5)
    ends = np.array([80.0, 350.0])
    assert np.isfinite(bend.code(ends)).all()
    assert (bend.slope(ends) > 0).all()


def regressor(limit, bins=BINS):
    return build_regressor(options_of("pooling=mean", "backbone.widths=[8,6]", f"combine.limit={limit}"), bins).eval()


def seen(seed, noise=0.0, count=400):
    """Six columns, of which the first two tell the concentration by a law that levels off at both ends."""
    rng = np.random.default_rng(seed)
    pooled = rng.standard_normal((count, 6))
    concentration = 215 + 135 * np.tanh((120 * pooled[:, 0] - 30 * pooled[:, 1]) / 135)
    return Seen(pooled, concentration + noise * rng.standard_normal(count), np.repeat(np.arange(count // 4), 4))


def error_of(stage, photos):
    with torch.no_grad():
        said = stage.network.estimate(torch.from_numpy(photos.pooled).float())[:, 0].numpy()
    return np.sqrt(np.mean((said - photos.concentration) ** 2)), said


def test_the_closed_form_finds_a_law_that_levels_off():
    stages = {limit: regressor(limit) for limit in BENDS}
    for stage in stages.values():
        solve_shared(stage.network, seen(0), seen(1), PENALTIES)
    errors = {limit: error_of(stage, seen(2)) for limit, stage in stages.items()}
    assert errors["logistic"][0] < 1 < 5 < errors["none"][0]
    np.testing.assert_array_equal(errors["none"][1], errors["clip"][1])
    assert errors["logistic"][1].min() >= 80
    assert errors["logistic"][1].max() <= 350


def test_leaving_out_specimens_finds_it_too():
    photos = seen(0)
    bent, straight = (
        solve_left_out(photos.pooled, photos.concentration, photos.groups, bend)
        for bend in (Logistic(RANGE), Straight(RANGE))
    )
    plain = solve_left_out(photos.pooled, photos.concentration, photos.groups)
    np.testing.assert_array_equal(straight.solution, plain.solution)
    assert bent.rmse < 0.3 * plain.rmse
    assert (bent.estimate >= 80).all()
    assert (bent.estimate <= 350).all()


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_gradients_reach_the_backbone_through_the_bend(name):
    config = options_of("combine.limit=logistic")
    stage = build_stage(name, config, BINS)
    train, _ = parts(stage, config)
    images = torch.rand(len(train.names), 3, 32, 32)
    stage.loss(images, train.targets).backward()
    slopes = [weight.grad for weight in stage.network.backbone.parameters()]
    assert all(one is not None and one.isfinite().all() for one in slopes)
    assert any(one.abs().max() > 0 for one in slopes)


@pytest.mark.slow
def test_none_and_clip_are_the_same_networks_and_logistic_is_within(here, once, run):
    read = {}
    for limit in BENDS:
        command = once if limit == "none" else run
        assert command("train", *TINY, f"combine.limit={limit}", f"run={limit}")[0] == 0
        read[limit] = pd.read_csv(RunFolder.named(limit).combinations).set_index("image")
    for stage in ("classifier", "regressor"):
        none, clip = (RunFolder.named(limit).weights(stage).read_bytes() for limit in ("none", "clip"))
        assert none == clip
    methods = [*COMBINATIONS, "oracle"]
    pd.testing.assert_frame_equal(read["clip"][methods], read["none"][methods].clip(80, 350))
    assert read["logistic"][methods].stack().between(80, 350).all()


def test_a_circle_has_no_ends(here, run):
    options = ["bins.period=270", "augment=none", "run=x"]
    one_line(run("train", *options, "combine.limit=clip"), "combine.limit=clip", "a circle", "has no ends")
    one_line(run("train", *options, "combine.limit=clop"), "combine.limit=clop is not known", "clip")
