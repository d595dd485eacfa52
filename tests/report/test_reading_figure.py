import io

import numpy as np
import pytest
from PIL import Image

from twostage import Bins, load_config
from twostage.model_folder import TrainedModel
from twostage.predictor import Predictor
from twostage.report.masks_figure import colors_of, half_weight, masks_over
from twostage.report.reading_figure import ShownReading, reading_figure
from twostage.run.shown_reading import shown_reading
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.two_stage import TwoStage


def some_model(pooling="masks", direct=False):
    config, bins = load_config(["image.size=32", f"pooling={pooling}"]), Bins.uniform(80, 350, 3)
    classifier = None if direct else build_classifier(config, bins)
    network = TwoStage(bins, classifier, build_regressor(config, bins), config.image.color).eval()
    return Predictor(TrainedModel(network, bins, config, {}))


def some_pixels(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def drawn(masks, bins=3, size=32, unit="µg/L"):
    shown = ShownReading(some_pixels(1)[0], masks, 0)
    png = reading_figure(shown, np.full(bins, 1 / bins), np.linspace(80, 350, bins + 1), 120.0, 121.0, unit)
    return Image.open(io.BytesIO(png))


def test_masks_are_weights_over_the_photograph():
    masks = some_model().masks(some_pixels(2))
    assert masks.shape == (2, 8, 16, 16)
    assert np.allclose(masks.sum((2, 3)), 1, atol=1e-5)


def test_masks_turn_with_the_photograph():
    model, pixels = some_model(), some_pixels(2)
    turned = model.masks(np.ascontiguousarray(pixels.transpose(0, 2, 1, 3)))
    np.testing.assert_allclose(turned.transpose(0, 1, 3, 2), model.masks(pixels), atol=1e-6)


def test_an_outline_goes_around_the_weight_and_leaves_the_rest_as_it_was():
    mask = np.zeros((1, 16, 16))
    mask[0, 4:8, 4:8] = 1 / 16
    gray = np.full((64, 64, 3), 128, np.uint8)
    drawn = masks_over(gray, mask)
    changed = (drawn != gray).any(2)
    assert changed.any()
    assert not changed[20:28, 20:28].any()  # inside
    assert not changed[:12].any()
    assert not changed[36:].any()
    assert np.abs(drawn.astype(int) - [int(colors_of(1)[0][i : i + 2], 16) for i in (1, 3, 5)]).sum(2).min() < 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 20)])
def test_photographs_of_any_shape_take_outlines(shape):
    masks = np.random.default_rng(0).random((11, 5, 4)) ** 8
    assert masks_over(np.zeros((*shape, 3), np.uint8), masks).shape == (*shape, 3)


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


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("masks", [1, 3, 8, 11])
@pytest.mark.parametrize("bins", [1, 9, 100])
def test_any_number_of_masks_and_bins_is_drawn(masks, bins):
    weights = np.random.default_rng(0).random((masks, 16, 16))
    assert drawn(weights / weights.sum((1, 2), keepdims=True), bins).size == (1440, 540)


@pytest.mark.usefixtures("drawn")
def test_a_mask_that_is_alike_everywhere_has_no_outline():
    assert drawn(np.full((8, 16, 16), 1 / 256), unit="").size == (1440, 540)


def test_a_run_draws_its_reading_and_shows_it(here, run):
    assert run("train", "run=a", "data.count=60", "image.size=32", "train.epochs=4", "bins.count=3")[0] == 0
    assert (here / "outputs/a/figures/reading.png").is_file()
    assert "One photograph, and how it is read" in (here / "outputs/a/report.html").read_text()
