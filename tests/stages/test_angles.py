"""Stages on a circle, and stage 2 in series with stage 1: what is put right by one is told apart by the other."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from twostage import Bins, load_config
from twostage.stages.aligned import AlignedRegressor
from twostage.stages.alignment import Turned, turned
from twostage.stages.build import build_stage, warm_start
from twostage.stages.network import disc_of
from twostage.stages.reading import Reading, mean_around
from twostage.stages.refit import Seen
from twostage.stages.two_stage import TwoStage

TINY = ("image.size=32", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]")
ANGLES = ("augment=none", "augment.rotation=180", "augment.moves_target=true", "pooling=mean", "start=none")
SEAM = np.array([-179.0, 178.0, 3.0, 95.0, -91.0])


@functools.cache
def config_of(*more):
    return load_config([*TINY, *ANGLES, "bins.period=360", "bins.range=[-180,180]", *more])


def bins_of(period=360, count=8):
    return Bins.uniform(-period / 2, period / 2, count, period=period)


def images(count=5, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def seen_of(stage, scale, count=400, seed=0, columns=None):
    """Pooled vectors of which the code of the concentration is a linear function, and concentrations all around."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-scale.period / 2, scale.period / 2, count)
    pooled = rng.normal(size=(count, stage.network.pooled_width))
    pooled[:, :2] = scale.code(place)
    return Seen(pooled, place, np.arange(count).astype(str))


@pytest.mark.parametrize("period", [360, 24])
@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_a_stage_is_solved_around_the_seam(name, period):
    config = load_config([*TINY, *ANGLES, f"bins.period={period}", "bins.range=null", "bins.min_images=0"])
    bins = bins_of(period)
    stage = build_stage(name, config, bins)
    train, validation = (seen_of(stage, bins.scale, seed=seed) for seed in (0, 1))
    before, after = stage.refit(train, validation)
    assert after < before
    estimate = stage.network.estimate(torch.from_numpy(validation.pooled).float())[:, 0].double().detach().numpy()
    assert np.abs(bins.difference(estimate, validation.concentration)).max() < 1e-3 * period
    found = stage.refit_few(train)
    assert found.rmse < 1e-3 * period
    assert np.abs(bins.difference(found.estimate, train.concentration)).max() < 1e-2 * period


def test_bins_of_an_arrow_of_length_one_are_the_soft_targets():
    bins = bins_of()
    stage = build_stage("classifier", config_of(), bins)
    code = torch.from_numpy(bins.scale.code(SEAM)).float()
    said = stage._spread(code).softmax(1).double().numpy()
    np.testing.assert_allclose(said, bins.soft_targets(SEAM, 0.25), atol=0.03)
    shorter = stage._spread(0.01 * code).softmax(1)
    assert float(shorter.max() - shorter.min()) < 0.1


def test_offsets_take_the_shorter_way():
    bins = bins_of(count=4)
    stage = build_stage("regressor", config_of("bins.count=4"), bins)
    with torch.no_grad():
        for place in SEAM:
            stage.network.readout.weight.zero_()
            stage.network.readout.bias.copy_(torch.from_numpy(bins.scale.code([place])[0]))
            offsets = stage(images(1))[0].double().numpy()
            np.testing.assert_allclose(offsets, bins.offsets(np.array([place])), atol=1e-4)
    targets = stage.targets(SEAM)
    assert (stage._true_bin(targets[:, 0]).numpy() == bins.index(SEAM)).all()


def test_the_loss_leads_an_arrow_to_the_angle_whichever_way_it_points():
    bins = bins_of()
    stage = build_stage("regressor", config_of(), bins)
    stage.network.readout.weight.data.zero_()
    stage.network.readout.bias.data.zero_()
    stage.loss(images(1), stage.targets(np.array([90.0]))).backward()
    step = -stage.network.readout.bias.grad.numpy()
    np.testing.assert_allclose(step / np.linalg.norm(step), [0.0, 1.0], atol=0.05)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turning_is_counter_clockwise(quarters):
    square = images(2)
    found = turned(square, torch.full((2,), 90.0 * quarters))
    torch.testing.assert_close(found, torch.rot90(square, quarters, (2, 3)), atol=1e-4, rtol=0)


def test_what_was_turned_back_by_its_bin_has_the_rest_of_the_angle():
    bins, smooth = bins_of(count=4), nn.functional.avg_pool2d(images(1), 5, 1, 2)
    angles = torch.tensor([-170.0, -20.0, 63.0, 134.0])
    alignment, photographs = Turned(bins), turned(smooth.expand(4, -1, -1, -1), angles)
    named = torch.from_numpy(bins.index(angles.numpy()))
    rest = torch.from_numpy(bins.difference(angles.numpy(), alignment.reference(named)[:, 0].numpy())).float()
    expected = turned(smooth.expand(4, -1, -1, -1), rest)
    inside = disc_of(32)[0, 0] > 0
    assert (alignment(photographs, named) - expected).abs()[..., inside].mean() < 0.01


class Upright(nn.Module):
    """A network that tells the angle of a photograph of which one row is bright, within 90 degrees of upright."""

    def __init__(self, network):
        super().__init__()
        self.network, self.bins, self.size, self.pooling = network, network.bins, 32, network.pooling
        self.readout, self.pooled_width, self.reads_fitted = network.readout, 1, False

    def pooled(self, shown):
        axis = torch.arange(32.0) - 15.5
        weight = shown.mean(1)
        x, y = (weight * axis).sum((1, 2)), -(weight * axis[:, None]).sum((1, 2))
        return torch.rad2deg(torch.atan2(-x, y))[:, None]

    def estimate(self, pooled):
        return pooled


def pointing(angles):
    """Photographs with a spot above the middle, turned."""
    axis = torch.arange(32.0) - 15.5
    spot = torch.exp(-((axis[None] ** 2) + (axis[:, None] + 8) ** 2) / 8)
    return turned(spot.expand(len(angles), 3, 32, 32), torch.tensor(angles, dtype=torch.float32))


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_a_reading_in_series_is_the_angle_whichever_bin_near_it_is_named(shift):
    bins = bins_of()
    stage = build_stage("regressor", config_of("regressor.align=turn"), bins)
    assert isinstance(stage, AlignedRegressor)
    stage.network = Upright(stage.network)
    stage.log_scale = nn.Linear(1, 8)
    named = (bins.index(SEAM) + shift) % 8
    probabilities = torch.from_numpy(np.eye(8)[named]).float()
    offsets = stage(pointing(SEAM), probabilities)[0].detach().double().numpy()
    said = bins.mean(bins.candidates(offsets), probabilities.double().numpy())
    assert np.abs(bins.difference(said, SEAM)).max() < 0.5
    stage.follow(lambda images: probabilities[: len(images)])
    estimate = stage.estimate(pointing(SEAM), stage.targets(SEAM)).detach().numpy()
    assert np.abs(bins.difference(estimate, SEAM)).max() < 0.5
    # and learning from it finds nothing to mend, beside one that is wrong by ten degrees
    for by in ("true", "classifier", "mix"):
        stage.align_by = by
        right, wrong = (float(stage.loss(pointing(SEAM), stage.targets(SEAM + off)).detach()) for off in (0, 10))
        assert wrong > right + 0.05


def test_a_stage_in_series_learns_nothing_where_stage_1_was_wrong():
    bins = bins_of()
    stage = build_stage("regressor", config_of("regressor.align=turn", "regressor.align_by=classifier"), bins)
    opposite = torch.from_numpy(np.eye(8)[(bins.index(SEAM) + 4) % 8]).float()
    stage.follow(lambda images: opposite)
    stage.loss(images(), stage.targets(SEAM)).backward()
    assert float(stage.network.readout.weight.grad.abs().max()) == 0


def test_a_stage_in_series_is_solved_for_the_rest():
    bins, rng = bins_of(), np.random.default_rng(0)
    stage = build_stage("regressor", config_of("regressor.align=turn"), bins)
    assert stage.network.bins.edges.tolist() == [-67.5, 67.5]
    parts = []
    for _ in range(2):
        place = rng.uniform(-180, 180, 300)
        reference = bins.center[(bins.index(place) + rng.integers(-1, 2, 300)) % 8]
        reference[:9] += 180  # where stage 1 was wrong nothing is solved
        pooled = rng.normal(size=(300, stage.network.pooled_width))
        pooled[:, 0] = bins.difference(place, reference)
        pooled[:9, 0] = 0
        parts.append(Seen(pooled, place, np.arange(300).astype(str), reference=bins.scale.home(reference)))
    _, after = stage.refit(*parts)
    estimate = stage.network.estimate(torch.from_numpy(parts[1].pooled).float())[:, 0].detach().numpy()
    assert np.abs(estimate - bins.difference(parts[1].concentration, parts[1].reference))[9:].max() < 0.1
    assert after < 40
    assert stage.refit_few(parts[0]).rmse < 0.1


def test_a_stage_in_series_asks_for_stage_1():
    stage = build_stage("regressor", config_of("regressor.align=turn"), bins_of())
    with pytest.raises(ValueError, match="what stage 1 says"):
        stage.shown(images())


def test_a_start_from_the_classifier_leaves_the_readout_of_a_stage_in_series():
    bins = bins_of()
    classifier, regressor = (build_stage(name, config_of("regressor.align=turn"), bins) for name in STAGES)
    readout = regressor.network.readout.weight.clone()
    assert warm_start(regressor, classifier) == []
    assert torch.equal(regressor.network.readout.weight, readout)
    theirs, mine = (stage.network.backbone.state_dict() for stage in (classifier, regressor))
    assert all(torch.equal(theirs[name], mine[name]) for name in mine)


STAGES = ("classifier", "regressor")


@pytest.mark.parametrize("align", ["none", "turn"])
def test_networks_see_the_disc_alone(align):
    """What lies outside, where turning fills corners, changes nothing that is said."""
    config, bins = config_of(f"regressor.align={align}"), bins_of()
    both = [build_stage(name, config, bins) for name in STAGES]
    nn.init.normal_(both[0].corrections.weight)
    model = TwoStage(bins, *both, config.image.color)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    outside = ~(np.hypot(*np.meshgrid(*[np.arange(32) - 15.5] * 2)) <= 16)
    others = pixels.copy()
    others[:, outside] = 255 - others[:, outside]
    for said, same in zip(model.read(pixels, views=(0,)), model.read(others, views=(0,)), strict=True):
        np.testing.assert_array_equal(said, same)


def test_means_over_views_and_members_go_around():
    np.testing.assert_allclose(mean_around(np.array([[179.0, 10.0], [-179.0, 20.0]]), 360.0), [180.0, 15.0])
    bins = bins_of(count=4)
    config = config_of("bins.count=4", "augment.moves_target=false", "augment.rotation=0")
    model = TwoStage(bins, *(build_stage(name, config, bins) for name in STAGES), config.image.color)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    each = [model.read(pixels, views=(number,)) for number in range(8)]
    both = model.read(pixels)
    weights = np.full((3, 8), 1 / 8)
    first = bins.mean(np.stack([one.first for one in each], 1), weights)
    assert np.abs(bins.difference(first, both.first)).max() < 25
    assert isinstance(both, Reading)
