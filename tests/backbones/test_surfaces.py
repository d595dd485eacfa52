"""Pooling that ends in robust regression: what it leaves out, what it keeps, and when it is used."""

import json

import pandas as pd
import pytest
import torch

from twostage import Predictor, load_config, train
from twostage.backbones.pooling import build_pooling
from twostage.backbones.surfaces import robust_surfaces
from twostage.bins import Bins
from twostage.data.augment import dihedral_view, undone_view
from twostage.stages.build import build_classifier, build_regressor, warm_start
from twostage.stages.reading import different_views

SIZE = 32
BINS = Bins.uniform(80, 350, 4)
SMALL = ["image.size=32", "backbone.widths=[4,6]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]"]
AXIS = (torch.arange(SIZE) * 2 + 1) / SIZE - 1
X, Y = AXIS[None, :].expand(SIZE, SIZE), AXIS[:, None].expand(SIZE, SIZE)
DISTANCE = torch.hypot(X - 0.1, Y + 0.06)


def scene(noise=0.02, seed=0):
    """A dark curved disc on a bright plane, one channel, and masks in the middle of one and at the rim of the other."""
    disc, plane = 2 + 0.3 * DISTANCE**2 + 0.1 * X, 0.2 * X - 0.1 * Y - 1
    clean = torch.where(DISTANCE < 0.7, disc, plane)
    masks = torch.stack([(DISTANCE < 0.3).float(), (DISTANCE > 1.0).float()])
    masks = masks / masks.sum((1, 2), keepdim=True)
    truth = torch.stack([(masks[0] * disc).sum(), (masks[1] * plane).sum()])
    return clean + noise * torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed)), masks, truth


def spot(x, y, height, width):
    return height * torch.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / width**2)


def surfaces(image, masks):
    """Mean under the mask, mean of all that agrees, value in its middle: (3,M)."""
    return robust_surfaces(image[None, None], masks[None])[0, :, :, 0]


def means(image, masks):
    return surfaces(image, masks)[0]


def test_level_and_curvature_are_told_wherever_in_the_disc_the_mask_sits():
    image = scene()[0]
    inside = (DISTANCE < 0.66).float()  # the edge belongs to neither
    mean = (inside * scene(noise=0)[0]).sum() / inside.sum()
    middle = 2 + 0.1 * 0.1
    for x, y in ((0.1, -0.06), (0.4, 0.1), (-0.2, -0.3)):
        mask = torch.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / 0.1**2)
        found = surfaces(image, (mask / mask.sum())[None])[1:, 0]
        torch.testing.assert_close(found, torch.stack([mean, torch.tensor(middle)]), atol=0.02, rtol=0)


def test_without_a_spot_it_is_the_mean_under_the_mask_of_what_lies_there():
    image, masks, truth = scene()
    torch.testing.assert_close(means(image, masks), truth, atol=0.01, rtol=0)


def test_no_noise_is_no_trap():
    image, masks, truth = scene(noise=0)
    torch.testing.assert_close(means(image, masks), truth, atol=0.005, rtol=0)


@pytest.mark.parametrize("place", [(0.1, -0.06), (0.3, 0.1), (0.5, -0.3), (0.8, 0.0), (-0.9, -0.9)])
@pytest.mark.parametrize("height", [-3.0, -0.5, 2.0])
def test_spots_do_not_pull(place, height):
    image, masks, truth = scene()
    with_spot = image + spot(*place, height, 0.06)
    torch.testing.assert_close(means(with_spot, masks), truth, atol=0.03, rtol=0)


def test_pixels_beyond_the_mask_that_agree_count_too():
    masks = (DISTANCE < 0.12).float()[None]
    masks = masks / masks.sum()
    truth = (masks[0] * scene(noise=0)[0]).sum()
    errors = [means(scene(noise=0.3, seed=seed)[0], masks) - truth for seed in range(40)]
    plain = [(masks * scene(noise=0.3, seed=seed)[0]).sum((1, 2)) - truth for seed in range(40)]
    robust, usual = (torch.stack(one)[:, 0].square().mean().sqrt() for one in (errors, plain))
    assert robust < 0.9 * usual


def test_a_turned_photograph_gives_the_same():
    image, masks, _ = scene()
    image = (image + spot(0.2, 0.1, -2, 0.05)).double()
    masks = masks.double()
    usual = surfaces(image, masks)
    for number in range(8):
        turned = [dihedral_view(one[None], number)[0] for one in (image[None], masks)]
        torch.testing.assert_close(surfaces(turned[0][0], turned[1]), usual, atol=1e-8, rtol=0)


@pytest.mark.parametrize("image", [torch.zeros(SIZE, SIZE), torch.full((SIZE, SIZE), 3.5)])
def test_a_photograph_of_one_colour_has_that_colour(image):
    masks = scene()[1]
    torch.testing.assert_close(means(image, masks), image[0, :2], atol=1e-4, rtol=0)


def test_a_mask_of_one_pixel_is_read():
    image, masks, _ = scene()
    masks = torch.zeros_like(masks)
    masks[:, 16, 16] = 1.0
    found = means(image, masks)
    assert torch.isfinite(found).all()
    assert abs(found[0] - image[16, 16]) < 0.5


def test_a_view_that_is_undone_is_the_photograph():
    image = torch.randn(1, 3, 5, 5)
    for number in range(8):
        torch.testing.assert_close(undone_view(dihedral_view(image, number), number), image, atol=0, rtol=0)


def regressor(*more):
    return build_regressor(load_config([*SMALL, "pooling=surfaces", *more]), BINS).eval()


def test_training_does_not_see_what_is_fitted():
    masks, wide = (build_pooling(name, (5, 8, 8), 3) for name in ("masks", "surfaces"))
    wide.load_state_dict(masks.state_dict())
    feature_map, images = torch.randn(2, 5, 8, 8), torch.rand(2, 3, SIZE, SIZE)
    usual, wider = masks(feature_map, images), wide(feature_map, images)
    torch.testing.assert_close(wider[:, : masks.width], usual, atol=0, rtol=0)
    assert not wider[:, masks.width :].any()
    assert wider.shape[1] == wide.width == masks.width + 72


def test_fitted_columns_are_computed_once_the_readout_uses_them():
    model, images = regressor(), torch.rand(2, 3, SIZE, SIZE)
    network = model.network
    with torch.no_grad():
        assert not network.reads_fitted
        assert not network.pooled(images)[:, -72:].any()
        seen = network.seen(images, (0,))
        torch.testing.assert_close(seen[:, :-72].float(), network.pooled(images)[:, :-72])
        network.readout.weight[0, -1] = 1.0
        assert network.reads_fitted
        torch.testing.assert_close(network.pooled(images), seen.float())
        eight = network.seen(images, different_views([network]))
        views = [network.pooled(dihedral_view(images, number)) for number in range(8)]
        torch.testing.assert_close(eight[:, :-72].float(), torch.stack(views).mean(0)[:, :-72])
        torch.testing.assert_close(network.seen(dihedral_view(images, 5), range(8)), eight, atol=1e-4, rtol=1e-4)


def test_a_stage_that_starts_from_another_starts_without_them():
    classifier = build_classifier(load_config([*SMALL, "pooling=surfaces"]), BINS)
    model = regressor()
    assert warm_start(model, classifier) == []
    assert not model.network.reads_fitted


def test_a_trained_model_reads_with_them_and_as_it_was_saved(here):
    options = ["pooling=surfaces", "data.count=120", "data.pixels=48", "image.size=32", "train.epochs=6"]
    train(load_config([*options, "bins.count=3", "runtime.progress=false", "run=a"]))
    predictor = Predictor.load("outputs/a", device="cpu")
    network = predictor.model.network
    assert network.regressor.network.reads_fitted
    assert not network.classifier.network.reads_fitted
    written = pd.read_csv("outputs/a/predictions.csv")
    assert written["concentration"].notna().all()
    refit = json.loads((here / "outputs/a/regressor/refit.json").read_text())
    assert refit["error"] < refit["before"]


def test_a_mask_that_looks_across_a_border_is_not_read():
    """From there a surface may settle on either side: the closed form gives its columns no weight."""
    image, masks, _ = scene()
    across = ((DISTANCE > 0.6) & (DISTANCE < 0.8)).float()
    seen = torch.cat([masks, (across / across.sum())[None]])[None].expand(5, -1, -1, -1)
    pooling = build_pooling("surfaces", (6, 8, 8), 1)
    pooling.fitted = 3 * seen.shape[1]
    found = pooling.ambiguous(seen, image[None, None].expand(5, -1, -1, -1))
    assert found.tolist() == [False, False, True] * 3
    alone = pooling.ambiguous(seen[:, 2:], image[None, None].expand(5, -1, -1, -1))
    assert not alone.any()  # a network that has not learned yet where to look


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3])
def test_a_mask_that_reaches_a_little_across_settles_on_the_larger_part(share):
    """And never on a surface between the two, whose residuals would keep both."""
    image, masks, _ = scene()
    mixed = (1 - share) * masks[0] + share * masks[1]
    inside = robust_surfaces(image[None, None], torch.stack([masks[0], mixed])[None])[0, 1, :, 0]
    assert inside[1] == pytest.approx(float(inside[0]), abs=0.02)
