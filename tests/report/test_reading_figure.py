import io

import numpy as np
import pytest
import torch
from PIL import Image

from twostage import Bins, load_config
from twostage.report.reading_figure import ShownReading, half_weight, reading_figure
from twostage.run.shown_reading import masks_of, shown_reading
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.two_stage import TwoStage


def some_model(pooling="masks", direct=False):
    config, bins = load_config(["image.size=32", f"pooling={pooling}"]), Bins.uniform(80, 350, 3)
    classifier = None if direct else build_classifier(config, bins)
    return TwoStage(bins, classifier, build_regressor(config, bins), config.image.color).eval()


def some_pixels(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def drawn(masks, bins=3, size=32, unit="µg/L"):
    shown = ShownReading(some_pixels(1)[0], masks, 0)
    png = reading_figure(shown, np.full(bins, 1 / bins), np.linspace(80, 350, bins + 1), 120.0, 121.0, unit)
    return Image.open(io.BytesIO(png))


def test_masks_are_weights_over_the_photograph():
    network = some_model().regressor.network
    masks = masks_of(network, torch.rand(2, 3, 32, 32))
    assert masks.shape == (2, 8, 16, 16)
    assert torch.allclose(masks.sum((2, 3)), torch.ones(2, 8), atol=1e-5)
    assert not network.pooling._forward_hooks


@pytest.mark.parametrize("direct", [False, True])
def test_the_photograph_of_the_median_error_is_shown(direct):
    pixels = some_pixels()
    shown = shown_reading(some_model(direct=direct), pixels, np.array([5.0, -1.0, 3.0, -4.0, 2.0]))
    assert shown.row == 2
    assert np.array_equal(shown.photograph, pixels[2])
    assert shown.masks.shape == (8, 16, 16)


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_nothing_is_shown_without_masks(pooling):
    assert shown_reading(some_model(pooling), some_pixels(), np.ones(5)) is None


def test_half_of_the_weight_lies_above_the_level():
    mask = np.random.default_rng(0).random((16, 16)) ** 4
    level = half_weight(mask)
    assert mask[mask > level].sum() < 0.5 * mask.sum() <= mask[mask >= level].sum()


@pytest.mark.parametrize("masks", [1, 3, 8, 11])
@pytest.mark.parametrize("bins", [1, 9, 100])
def test_any_number_of_masks_and_bins_is_drawn(masks, bins):
    weights = np.random.default_rng(0).random((masks, 16, 16))
    assert drawn(weights / weights.sum((1, 2), keepdims=True), bins).size == (1440, 540)


def test_a_mask_that_is_alike_everywhere_has_no_outline():
    assert drawn(np.full((8, 16, 16), 1 / 256), unit="").size == (1440, 540)


def test_a_run_draws_its_reading_and_shows_it(here, run):
    assert run("train", "run=a", "data.count=60", "image.size=32", "train.epochs=4", "bins.count=3")[0] == 0
    assert (here / "outputs/a/figures/reading.png").is_file()
    assert "One photograph, and how it is read" in (here / "outputs/a/report.html").read_text()
