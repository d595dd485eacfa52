import contextlib
import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from helpers import QUIET, few, levels, linear
from scipy import stats

from twostage.data.simulated import (
    Assay,
    Scene,
    UniversalIndicator,
    draw_scene,
    noise_free_light,
    photograph_rng,
    render_photographs,
)
from twostage.data.splits import split_table
from twostage.options.compose import load_config
from twostage.orchestrator import train
from twostage.tables.table import Table

SIZE = 32


@pytest.fixture
def limit(bench):
    return bench("limit")


def law(parameters, size, assay, card_visible):
    """The assay's law as its documentation states it, in torch: (size, size, 3)."""
    y, center_x, center_y, radius, slope_x, slope_y, meniscus, exposure, *white = parameters
    axis = (torch.arange(size).double() + 0.5) / size - 0.5
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    radius = assay.radius + assay.radius_sd * radius
    distance = ((u - assay.center_sd * center_x) ** 2 + (v - assay.center_sd * center_y) ** 2).sqrt()
    well = torch.sigmoid((radius - distance) * size / (0.5 * assay.edge_pixels))
    lighting = 1 + assay.gradient_sd * (slope_x * u + slope_y * v)
    path = 1 + assay.meniscus_sd * meniscus * (distance / radius) ** 2
    colors = []
    for w, b, e in zip(white, assay.blank, assay.absorptivity, strict=True):
        surface = well * b * 10 ** (-e * y * path) + (1 - well) * (assay.card if card_visible else 0)
        colors.append((1 + assay.exposure_sd * exposure) * (1 + assay.white_balance_sd * w) * lighting * surface)
    return assay.scale * torch.stack(colors, -1)


@pytest.mark.parametrize("card", [True, False])
def test_model_and_derivatives_are_those_of_the_written_law(limit, card):
    rng = np.random.default_rng(0)
    for target in (80.0, 350.0):
        parameters = np.concatenate([[target], rng.standard_normal(10)])
        exact = torch.from_numpy(parameters)
        light = limit.clean_light(parameters, SIZE, Assay(), card)
        np.testing.assert_allclose(light, law(exact, SIZE, Assay(), card), atol=1e-6)
        jacobian = torch.func.jacfwd(lambda p: law(p, SIZE, Assay(), card))(exact).movedim(-1, 0)
        for found, expected in zip(limit.derivatives(parameters, SIZE, Assay(), card), jacobian.numpy(), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_photographs_are_rendered_from_the_scene_that_is_drawn():
    assay = replace(Assay(), shot_noise=0.0, glare_spots=5.0)
    photos = render_photographs(np.full(3, 150.0), SIZE, 4, assay=assay, first=7)
    for i, photo in enumerate(photos):
        scene = draw_scene(photograph_rng(4, 7 + i), SIZE, assay)
        assert scene.glare.max() > 0
        light = np.clip(noise_free_light(150.0, scene, SIZE, assay, True), 0, 1)
        assert np.abs(photo - levels(light)).max() < 0.51
    dark = noise_free_light(150.0, Scene(scene.deviations, 0 * scene.glare), SIZE, assay, True)
    bright = noise_free_light(150.0, scene, SIZE, assay, True)
    np.testing.assert_allclose(bright - dark, assay.scale * scene.glare[..., None].repeat(3, -1), atol=1e-9)


@pytest.mark.parametrize(("shot", "light"), [(1e-4, 0.1), (1e-4, 0.8), (0.0, 0.3), (0.0, 0.001)])
def test_variance_is_that_of_noise_and_rounding(limit, shot, light):
    spread = np.linspace(0.9, 1.1, 200_000) if light > 0.01 else np.linspace(0, 2, 200_000)
    noisy = light * spread + np.sqrt(shot * light) * np.random.default_rng(0).standard_normal(len(spread))
    error = linear(np.rint(levels(noisy))) - light * spread
    assert error.var() == pytest.approx(limit.variance(np.array(light), replace(Assay(), shot_noise=shot)), rel=0.06)


def test_with_the_concentration_alone_unknown_the_bound_is_a_sum_over_pixels(limit):
    assay, target, size = replace(QUIET, shot_noise=1e-4), 200.0, 128
    absorptivity = np.array(assay.absorptivity)
    light = 0.85 * np.array(assay.blank) * 10 ** (-absorptivity * target)
    pixels = np.pi * (assay.radius * size) ** 2
    expected = 1 / np.sqrt((pixels * (np.log(10) * absorptivity * light) ** 2 / limit.variance(light, assay)).sum())
    assert limit.bounds([target], [0], size, 0, assay=assay)[0] == pytest.approx(expected, rel=0.03)


def test_without_a_card_white_balance_sets_the_floor(limit):
    assay = replace(QUIET, shot_noise=1e-4, white_balance_sd=0.03)
    floor = 0.03 / (np.log(10) * np.linalg.norm(assay.absorptivity))
    hidden = limit.bounds(np.full(20, 200.0), range(20), SIZE, 0, assay=assay, card_visible=False)
    assert limit.rms(hidden) == pytest.approx(floor, rel=0.05)
    visible = limit.bounds(np.full(20, 200.0), range(20), SIZE, 0, assay=assay)
    assert limit.rms(visible) < 0.2 * floor


def test_twice_the_side_halves_the_bound(limit):
    assay = replace(Assay(), glare_spots=0.0)
    small, large = (limit.rms(limit.bounds(np.full(8, 200.0), range(8), size, 0, assay=assay)) for size in (32, 64))
    assert small / large == pytest.approx(2, rel=0.1)


def test_glare_takes_pixels_away_and_is_masked_where_it_shows(limit):
    assay = replace(Assay(), glare_spots=6.0)
    targets, numbers = np.full(6, 200.0), range(6)
    masked = limit.bounds(targets, numbers, SIZE, 0, assay=assay)
    without = limit.bounds(targets, numbers, SIZE, 0, assay=assay, glare=False)
    assert (masked >= without).all()
    assert limit.rms(masked) > 1.05 * limit.rms(without)
    scene = draw_scene(photograph_rng(0, 1), SIZE, assay)
    keep = limit.seen(np.concatenate([[200.0], scene.deviations]), scene.glare, assay, True)
    assert 0.1 < keep.mean() < 0.9
    assert scene.glare[keep.any(-1)].max() < 2e-4
    assert scene.glare[~keep.any(-1)].min() > 1e-5


def test_an_indicators_bound_follows_from_its_own_law(limit):
    assay = UniversalIndicator(**asdict(replace(QUIET, shot_noise=1e-4)))
    step = 0.01
    slope = (assay.absorbance(200 + step) - assay.absorbance(200 - step)) / (2 * step)
    light = 0.85 * np.array(assay.blank) * 10 ** -assay.absorbance(200.0)
    pixels = np.pi * (assay.radius * 128) ** 2
    expected = 1 / np.sqrt((pixels * (np.log(10) * slope * light) ** 2 / limit.variance(light, assay)).sum())
    assert limit.bounds([200.0], [0], 128, 0, assay=assay)[0] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("card", "within"), few([(True, 1.0)], [(True, 1.0), (False, 20.0)]))
def test_a_fit_comes_to_the_bound(limit, card, within):
    targets = np.linspace(90, 340, 24)
    photos = render_photographs(targets, SIZE, 3, card_visible=card)
    read = np.array([limit.read_known(photos[i], targets[i], i, 3, card) for i in range(24)])
    bounds = limit.bounds(targets, range(24), SIZE, 3, card_visible=card)
    # 24 errors tell their root mean square to 14 %
    assert 0.65 < limit.rms((read - targets) / bounds) < 1.35
    assert np.abs(read - targets).max() < within


def test_the_accuracy_experiment_trains_on_4000_and_tests_on_1000():
    config = load_config(["experiment=assay_accuracy"])
    table = Table([str(i) for i in range(config.data.count)], [], np.zeros(config.data.count))
    shares = {part: getattr(config.split, part) for part in ("validation", "calibration", "test")}
    parts = split_table(table, **shares, seed=10)
    assert {part: int((parts == part).sum()) for part in ("train", "test", *shares)} == {
        "train": 4000,
        "test": 1000,
        "validation": 200,
        "calibration": 200,
    }


def test_the_interval_over_seeds_is_that_of_the_paired_t_test(bench):
    two_stage, direct = np.array([0.61, 0.66, 0.69, 0.6]), np.array([0.6, 0.63, 0.63, 0.62])
    expected = stats.ttest_rel(np.log(two_stage), np.log(direct)).confidence_interval(0.95)
    np.testing.assert_allclose(bench("accuracy").interval(two_stage / direct), np.exp(expected))


TINY = [
    "data.count=100",
    "split.test=0.3",
    "split.validation=0.1",
    "split.calibration=0.1",
    "train.epochs=2",
    "image.size=32",
    "data.reference=none",
    "bins.count=3",
    "runtime.precision=float32",
]


@pytest.fixture
def accuracy(bench, monkeypatch):
    """The bench, with its runs in this process, one after another."""
    module = bench("accuracy")

    def twostage(folder, command, *arguments):
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folder)
        train(load_config(arguments, command))

    monkeypatch.setattr(module, "twostage", twostage)
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 1)
    return module


@pytest.mark.slow
def test_accuracy_goes_on_and_measures_the_limit_of_its_test_set(accuracy, tmp_path):
    row, mean, spread = accuracy.run(tmp_path, [*TINY, "seed=3"])
    assert (row["seed"], mean["seed"], spread["seed"]) == (3, "mean", "spread")
    assert (row["n_train"], row["n_test"]) == (49, 30)
    assert 3 < row["limit"] < 5
    assert row["ratio_to_limit"] == pytest.approx(row["rmse_two_stage"] / row["limit"], rel=1e-3)
    assert row["ratio_to_direct"] == pytest.approx(row["rmse_two_stage"] / row["rmse_direct"], rel=1e-3)
    assert row["ratio_to_shared"] == pytest.approx(1, rel=1e-3)  # 49 photographs are too few to correct a bin
    weights = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    assert len(weights) == 3  # a classifier and two regressors
    assert accuracy.run(tmp_path, [*reversed(TINY), "seed=3"])[0] == row
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")} == weights


def test_the_limit_is_of_the_photographs_as_they_were_taken(bench):
    assert bench("accuracy").taken_at({"image.size": 64, "data.pixels": None}) == 64
    assert bench("accuracy").taken_at({"image.size": 64, "data.pixels": 250}) == 250


@pytest.fixture
def founding(bench, accuracy, monkeypatch):
    """The bench, with its runs in this process, and the limit of two photographs alone."""
    module = bench("founding")
    monkeypatch.setattr(module, "twostage", accuracy.twostage)
    monkeypatch.setattr(module, "BOUNDED", 2)
    return module


@pytest.mark.slow
def test_founding_measures_glare_and_other_forms(founding, tmp_path):
    tiny = [text for text in TINY if not text.startswith(("train", "data.reference"))]
    options = [*tiny, "data.pixels=40", "train.epochs=null", "train.minutes=0.02", "seed=3"]
    [row] = founding.run(tmp_path, options)
    assert row["seed"] == 3
    assert row["limit"] < row["rmse_two_stage"] <= row["largest"]
    assert all(row[name] > 0 for name in ("rmse_direct", "rmse_no_glare", "noise_free", "jpeg_70", "jpeg_95"))
    assert row["seconds_two_stage"] > 0


def test_spots_on_the_well_are_those_of_the_photograph(founding):
    found = [founding.spots_on_well(5, number) for number in range(40)]
    axis = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    for number, (touched, inside) in enumerate(found):
        scene = draw_scene(photograph_rng(5, number), SIZE, Assay())
        center, radius = 0.03 * scene.deviations[:2], 0.38 + 0.015 * scene.deviations[2]
        well = np.hypot(axis[None, :] - center[0], axis[:, None] - center[1]) < radius
        assert touched >= inside
        if not touched:
            assert scene.glare[well].max() < 0.01
    assert 0 < sum(inside for _, inside in found) < sum(touched for touched, _ in found) < 40


def test_ratios_are_summed_up_as_logarithms(bench):
    ratios = {"ratio_to_limit": 2, "ratio_to_direct": 1, "ratio_to_shared": 0.5}
    rows = [{"seed": r, "rmse": r, **{name: by * r for name, by in ratios.items()}} for r in (0.5, 2.0)]
    mean, spread = bench("accuracy").summary(rows)
    assert (mean["rmse"], mean["ratio_to_limit"], mean["ratio_to_direct"]) == (1.25, 2, 1)
    assert spread["ratio_to_direct"] == pytest.approx(np.log(4) / np.sqrt(2), rel=1e-3)
    assert mean["ratio_to_direct_low"] < 1 < mean["ratio_to_direct_high"]
    assert mean["ratio_to_shared_high"] == pytest.approx(mean["ratio_to_direct_high"] / 2, rel=1e-3)
    alone, _ = bench("accuracy").summary(rows[:1])
    assert alone["ratio_to_direct_low"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory", "train.minutes=1"], "memory takes no options"),
        (["train.minutes=1"], "takes no options"),
        (["accuracy", "run=a"], "'run=a' is what the bench itself sets"),
        (["accuracy", "seed=a"], "seeds are given once"),
        (["accuracy", "seed=1", "seed=2"], "seeds are given once"),
    ],
)
def test_options_that_a_bench_cannot_take_are_refused_in_one_line(bench, here, monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit, match=message) as stop:
        bench("bench").main()
    assert "\n" not in str(stop.value)


def test_options_reach_the_bench_and_name_its_file(bench, here, monkeypatch):
    module = bench("bench")
    monkeypatch.setitem(module.BENCHES, "accuracy", lambda work, options: [{"options": options}])
    monkeypatch.setattr(sys, "argv", ["bench.py", "accuracy", "train.minutes=2", "data.reference=none"])
    module.main()
    files = list((here / "outputs" / "bench").glob("accuracy_*.json"))
    assert len(files) == 1
    assert json.loads(files[0].read_text())["results"] == [{"options": ["train.minutes=2", "data.reference=none"]}]


@pytest.mark.parametrize("key", ["differences", "leftovers", None])
def test_a_bench_that_finds_a_difference_fails(bench, here, monkeypatch, key):
    module = bench("bench")
    rows = [{"differences": 0, "leftovers": 0} | ({key: 1} if key else {})]
    monkeypatch.setitem(module.BENCHES, "resume", lambda work: rows)
    monkeypatch.setattr(sys, "argv", ["bench.py", "resume"])
    with pytest.raises(SystemExit, match="resume") if key else contextlib.nullcontext():
        module.main()
