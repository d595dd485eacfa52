from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from helpers import QUIET, levels, linear
from PIL import Image
from scipy.optimize import linprog

from twostage.data.color import COLORS, channels, to_color
from twostage.data.images import decode_photograph
from twostage.data.photographs import load_photographs
from twostage.data.simulated import Assay, UniversalIndicator, averaged, render_photographs, sample_targets
from twostage.decoding.spaces import linear_to_srgb
from twostage.errors import DataError
from twostage.options.data import SimulatedConfig
from twostage.options.run import ImageConfig, SplitConfig

SIZE = 32
CENTER, CORNER = np.s_[:, SIZE // 2, SIZE // 2], np.s_[:, 0, 0]


def batch(photos):
    return torch.from_numpy(photos).permute(0, 3, 1, 2).double() / 255


@pytest.mark.parametrize("spacing", ["uniform", "log_uniform"])
def test_targets_lie_in_the_range_and_follow_the_seed(spacing):
    targets = sample_targets(2000, 2, 200, spacing, 0)
    assert targets.shape == (2000,)
    assert targets.dtype == np.float64
    assert targets.min() >= 2
    assert targets.max() <= 200
    np.testing.assert_array_equal(sample_targets(3, 2, 200, spacing, 0), targets[:3])
    assert (sample_targets(2000, 2, 200, spacing, 1) != targets).all()
    # uniform in y, or in log y
    scale = np.log if spacing == "log_uniform" else np.asarray
    share = (scale(targets) - scale(2)) / (scale(200) - scale(2))
    np.testing.assert_allclose(np.quantile(share, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_log_uniform_has_many_low_and_few_high():
    targets = sample_targets(2000, 2, 200, "log_uniform", 0)
    assert np.median(targets) == pytest.approx(20, rel=0.15)
    assert targets.mean() > 1.8 * np.median(targets)


def test_a_photograph_does_not_depend_on_the_others():
    targets = sample_targets(10, 80, 350, "uniform", 0)
    photos = render_photographs(targets, SIZE, 0)
    assert photos.shape == (10, SIZE, SIZE, 3)
    assert photos.dtype == np.uint8
    np.testing.assert_array_equal(render_photographs(targets[:3], SIZE, 0), photos[:3])
    np.testing.assert_array_equal(render_photographs(targets, SIZE, 0), photos)
    targets[5] += 50
    changed = (render_photographs(targets, SIZE, 0) != photos).any(axis=(1, 2, 3))
    assert changed.tolist() == [i == 5 for i in range(10)]


def test_every_photograph_and_every_seed_is_another():
    targets = np.full(4, 200.0)
    photos = np.concatenate([render_photographs(targets, SIZE, seed) for seed in (0, 1)])
    assert len({photo.tobytes() for photo in photos}) == 8


def test_the_well_darkens_with_concentration_in_every_channel():
    photos = render_photographs(np.linspace(0, 350, 8), SIZE, 0, assay=QUIET).astype(int)
    well = photos[:, 12:20, 12:20].mean((1, 2))
    assert (np.diff(well, axis=0) < 0).all()
    assert np.ptp(photos[CORNER], axis=0).tolist() == [0, 0, 0]
    # by default too, on average over the spreads
    means = [render_photographs(np.full(30, y), SIZE, 0)[:, 12:20, 12:20].mean((0, 1, 2)) for y in (80, 200, 350)]
    assert (np.diff(means, axis=0) < -3).all()


def test_without_spreads_pixels_follow_the_beer_lambert_law():
    targets = np.linspace(0, 350, 15)
    photos = render_photographs(targets, SIZE, 0, assay=QUIET).astype(float)
    well = 0.85 * np.array([0.92, 0.88, 0.80]) * 10 ** (-np.array([0.96e-3, 2.52e-3, 5.28e-3]) * targets[:, None])
    assert np.abs(photos[CENTER] - levels(well)).max() < 0.51
    assert np.abs(photos[CORNER] - levels(0.85 * 0.95)).max() < 0.51


def test_optical_density_of_well_against_card_is_linear_in_concentration():
    targets = np.linspace(0, 350, 36)
    photos = render_photographs(targets, SIZE, 0, assay=QUIET)
    density = to_color(batch(photos), "optical_density").permute(0, 2, 3, 1).numpy()
    difference = density[CENTER] - density[CORNER]
    # half a level of sRGB, as optical density, in well and card
    rounding = sum(0.5 * 2.4 / np.log(10) / (photos[place] - 0.5 + 0.055 * 255) for place in (CENTER, CORNER))
    expected = np.array(QUIET.absorptivity) * targets[:, None] - np.log10(np.array(QUIET.blank) / QUIET.card)
    assert (np.abs(difference - expected) <= rounding).all()
    slope = np.polyfit(targets, difference, 1)[0]
    np.testing.assert_allclose(slope, QUIET.absorptivity, rtol=0.01)


def test_without_a_card_the_surround_is_black_and_the_well_the_same():
    targets = np.linspace(80, 350, 4)
    visible, hidden = (render_photographs(targets, SIZE, 0, assay=QUIET, card_visible=v) for v in (True, False))
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE - 0.5
    distance = np.hypot(x, y)
    assert (hidden[:, distance > 0.38 + 0.2] == 0).all()
    assert (visible[:, distance > 0.38 + 0.2] > 200).all()
    np.testing.assert_array_equal(hidden[:, distance < 0.2], visible[:, distance < 0.2])
    assert render_photographs(targets, SIZE, 0, card_visible=False)[CORNER].mean() < 20


def test_the_well_has_its_radius_and_a_soft_edge():
    photo = render_photographs(np.array([350.0]), 100, 0, assay=QUIET)[0, ..., 2].astype(float)
    light = linear(photo)
    inside = (light.max() - light) / (light.max() - light.min())
    assert inside.sum() == pytest.approx(np.pi * 38**2, rel=0.02)
    assert 0.02 < inside[50, 88] < 0.98
    half = 50 + np.interp(0.5, inside[50, 50:][::-1], np.arange(0.5, 50)[::-1])
    assert half == pytest.approx(88, abs=0.3)


def test_a_universal_indicator_follows_henderson_and_hasselbalch():
    quiet = UniversalIndicator(**asdict(QUIET))
    targets = np.linspace(40, 400, 13)
    absorbance = np.tile(np.array(quiet.colors[0]), (13, 1))
    for pk, acid, base in zip(quiet.pk, quiet.colors[:-1], quiet.colors[1:], strict=True):
        ratio = 10 ** ((targets - pk) / quiet.decade)  # of the base to the acid
        absorbance += (ratio / (1 + ratio))[:, None] * (np.array(base) - acid)
    well = 0.85 * np.array([0.92, 0.88, 0.80]) * 10**-absorbance
    photos = render_photographs(targets, SIZE, 0, assay=quiet).astype(float)
    assert np.abs(photos[CENTER] - levels(well)).max() < 0.51


def test_no_linear_function_of_an_indicators_absorbances_rises_throughout():
    indicator = UniversalIndicator()
    steps = np.diff([indicator.absorbance(y) for y in np.linspace(80, 350, 28)], axis=0)
    # is there w with steps @ w >= 1? by the Beer-Lambert law there is
    found = linprog(np.zeros(3), A_ub=-steps, b_ub=-np.ones(27), bounds=(None, None))
    assert found.status == 2  # infeasible
    beer_lambert = np.diff([Assay().absorbance(y) for y in np.linspace(80, 350, 28)], axis=0)
    assert linprog(np.zeros(3), A_ub=-beer_lambert, b_ub=-np.ones(27), bounds=(None, None)).status == 0
    # and yet each concentration has a colour of its own
    colors = np.array([indicator.absorbance(y) for y in np.linspace(80, 350, 28)])
    away = np.linalg.norm(colors[:, None] - colors, axis=-1) + np.eye(28)
    assert away.min() > 0.03


SPREADS = {
    "radius_sd": 0.05,
    "center_sd": 0.05,
    "gradient_sd": 0.1,
    "exposure_sd": 0.1,
    "white_balance_sd": 0.1,
    "meniscus_sd": 0.3,
    "glare_spots": 20.0,
    "shot_noise": 1e-3,
    "read_noise": 0.02,
}


@pytest.mark.parametrize("name", SPREADS)
def test_each_spread_makes_photographs_differ(name):
    targets = np.full(3, 150.0)
    quiet = render_photographs(targets, SIZE, 0, assay=QUIET)
    assert (quiet == quiet[0]).all()
    photos = render_photographs(targets, SIZE, 0, assay=replace(QUIET, **{name: SPREADS[name]}))
    assert (photos != quiet).any(axis=(1, 2, 3)).all()
    assert len({photo.tobytes() for photo in photos}) == 3


def test_exposure_and_white_balance_have_their_spread_and_leave_the_ratio():
    assay = replace(QUIET, exposure_sd=0.06, white_balance_sd=0.03)
    light = linear(render_photographs(np.full(400, 100.0), 8, 0, assay=assay))
    card, well = light[:, 0, 0], light[:, 4, 4]
    np.testing.assert_allclose(card.mean(0), 0.85 * 0.95, rtol=0.02)
    np.testing.assert_allclose(card.std(0) / card.mean(0), np.hypot(0.06, 0.03), rtol=0.15)
    # white balance is of each channel alone, exposure of all
    np.testing.assert_allclose((card[:, 0] / card[:, 1]).std(), 0.03 * np.sqrt(2), rtol=0.15)
    unclipped = (card < 0.95).all(1)
    ratio = (well / card)[unclipped]
    assert (ratio.std(0) / ratio.mean(0)).max() < 0.02


def test_noise_has_the_variance_of_shot_and_read_noise():
    for shot, read in ((1e-4, 0.0), (0.0, 0.01), (1e-4, 0.01)):
        assay = replace(QUIET, shot_noise=shot, read_noise=read)
        card = linear(render_photographs(np.full(20, 100.0), SIZE, 0, assay=assay)[:, :4, :4])
        expected = np.sqrt(shot * 0.85 * 0.95 + read**2)
        assert card.std() == pytest.approx(expected, rel=0.1)
        assert card.mean() == pytest.approx(0.85 * 0.95, rel=0.005)


def test_glare_only_adds_light():
    targets = np.full(6, 200.0)
    quiet = render_photographs(targets, SIZE, 0, assay=QUIET).astype(int)
    bright = render_photographs(targets, SIZE, 0, assay=replace(QUIET, glare_spots=3.0)).astype(int)
    assert (bright >= quiet).all()
    assert (bright - quiet).max() > 30


@pytest.fixture
def load(tmp_path):
    def call(**options):
        data = SimulatedConfig(count=20, **options)
        return load_photographs(data, ImageConfig(size=32), SplitConfig(), 3, tmp_path)

    return call


def test_simulated_photographs_load_with_their_targets(load):
    photographs = load(low=10, high=20)
    assert len(photographs.table) == 20
    assert len(set(photographs.table.images)) == 20
    np.testing.assert_array_equal(photographs.table.targets, sample_targets(20, 10, 20, "uniform", 3))
    np.testing.assert_array_equal(photographs.pixels[:], render_photographs(photographs.table.targets, 32, 3))
    hidden = load(low=10, high=20, reference="none")
    assert hidden.pixels[:][CORNER].mean() < 20 < photographs.pixels[:][CORNER].mean()


def test_the_law_chooses_other_photographs_of_the_same_concentrations(load):
    known, other = (load(law=law) for law in ("beer_lambert", "universal_indicator"))
    np.testing.assert_array_equal(known.table.targets, other.table.targets)
    assert (known.pixels[:] != other.pixels[:]).any((1, 2, 3)).all()


@pytest.mark.parametrize("options", [{"low": 5, "high": 5}, {"low": 9, "high": 2}, {"low": -1, "high": 5}])
def test_an_empty_or_negative_range_is_refused(load, options):
    with pytest.raises(DataError, match=r"below data\.high"):
        load(**options)


def test_log_uniform_from_zero_is_refused(load):
    with pytest.raises(DataError, match="must be positive"):
        load(low=0, high=5, spacing="log_uniform")
    assert load(low=0, high=5).table.targets.min() >= 0


GRID = torch.cat([torch.arange(256).double() / 255, torch.linspace(0.03, 0.05, 101).double()])
COLORFUL = torch.rand(4, 3, 5, 7, generator=torch.Generator().manual_seed(0)).double()


def as_images(values):
    return values.view(1, 1, 1, -1).expand(1, 3, 1, -1)


def test_linear_light_and_srgb_undo_each_other(load):
    light = to_color(as_images(GRID), "linear")[0, 0, 0].numpy()
    np.testing.assert_allclose(linear_to_srgb(light), GRID, atol=1e-6)
    light = np.linspace(0, 1, 1001)
    back = to_color(as_images(torch.from_numpy(linear_to_srgb(light))), "linear")[0, 0, 0].numpy()
    np.testing.assert_allclose(back, light, atol=1e-6)
    np.testing.assert_allclose(linear_to_srgb(light) * 255, levels(light), atol=1e-9)


def test_known_points_of_the_srgb_curve(load):
    values = as_images(torch.tensor([0.0, 0.04045, 0.5, 1.0]).double())
    light = to_color(values, "linear")[0, 0, 0].numpy()
    np.testing.assert_allclose(light, [0, 0.0031308, 0.2140411, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_optical_density_is_minus_the_logarithm_of_linear_light(dtype):
    values = as_images(GRID[GRID >= 1 / 255].to(dtype))
    density = to_color(values, "optical_density")
    assert density.dtype == dtype
    expected = -torch.log10(to_color(values.double(), "linear"))
    torch.testing.assert_close(density.double(), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("color", ["optical_density", "grayscale"])
def test_density_ends_at_one_level_above_black(color):
    values = torch.tensor([0.0, 0.5 / 255, 1 / 255, 1.0]).double()
    density = to_color(as_images(values), color)[0, 0, 0]
    np.testing.assert_allclose(density, [np.log10(255 * 12.92)] * 3 + [0], atol=1e-6)


def test_grayscale_is_the_density_of_luminance(load):
    gray = to_color(COLORFUL, "grayscale")
    assert gray.shape == (4, 1, 5, 7)
    light = linear(255 * COLORFUL.numpy())
    luminance = 0.2126 * light[:, 0] + 0.7152 * light[:, 1] + 0.0722 * light[:, 2]
    np.testing.assert_allclose(gray[:, 0], -np.log10(luminance), atol=1e-6)
    neutral = as_images(GRID)
    density = to_color(neutral, "optical_density")[:, :1]
    torch.testing.assert_close(to_color(neutral, "grayscale"), density, atol=1e-6, rtol=0)


@pytest.mark.parametrize("color", COLORS)
def test_channels_are_those_of_the_converted_photographs(color):
    before = COLORFUL.clone()
    converted = to_color(COLORFUL, color)
    assert converted.shape == (4, channels(color), 5, 7)
    assert channels(color) == (1 if color == "grayscale" else 3)
    assert torch.isfinite(converted).all()
    torch.testing.assert_close(COLORFUL, before, atol=0, rtol=0)


def test_srgb_is_left_alone(load):
    torch.testing.assert_close(to_color(COLORFUL, "srgb"), COLORFUL, atol=0, rtol=0)


def test_photographs_of_another_size_are_averaged_as_files_are(load, tmp_path):
    photos = load(pixels=50)
    large = render_photographs(photos.table.targets, 50, 3)
    assert photos.pixels[:].shape == (20, 32, 32, 3)
    for stored, photograph in zip(photos.pixels[:], large, strict=True):
        file = tmp_path / "photograph.png"
        Image.fromarray(photograph).save(file)
        np.testing.assert_array_equal(stored, decode_photograph(file, 32))
    np.testing.assert_array_equal(averaged(large, 32), photos.pixels[:])


def test_photographs_taken_at_the_networks_size_are_left_alone(load):
    usual, same = (load(pixels=pixels) for pixels in (None, 32))
    assert usual.store.path == same.store.path
    np.testing.assert_array_equal(usual.pixels[:], render_photographs(usual.table.targets, 32, 3))
    assert load(pixels=50).store.path != usual.store.path
