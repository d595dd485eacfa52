"""Data that is made by turning: what was turned how far is true, and nothing else tells the angle."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import SHARED, one_line
from PIL import Image

from twostage import load_config
from twostage.data.digits_source import FORMS, draw_digits
from twostage.data.photographs import load_photographs
from twostage.data.splits import split_table
from twostage.data.turning import draw_angles, outside_circle, turn_square
from twostage.errors import ConfigError, DataError, ImageError, NotThereError
from twostage.export.photographs import photographs_for
from twostage.options.compose import to_typed
from twostage.options.data import DigitsConfig, TurnedConfig
from twostage.options.flat import to_plain
from twostage.options.run import ImageConfig, SplitConfig

SIDE = 96


def natural(seed, width=SIDE, height=SIDE):
    """Smooth colours, none of them like another."""
    coarse = np.random.default_rng(seed).integers(20, 235, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(here):
    """Six upright photographs, two of them in a folder below, and one of them twice."""
    (here / "photos/b").mkdir(parents=True)
    for i in range(6):
        natural(i).save(here / f"photos/{'b/' if i > 3 else ''}p{i}.png")
    (here / "photos/again.png").write_bytes((here / "photos/p0.png").read_bytes())
    return here / "photos"


def loaded(data, cache="cache", seed=0, size=32, fit="crop"):
    return load_photographs(data, ImageConfig(size=size, fit=fit), SplitConfig(), seed, Path(cache))


def of(folder, copies=3, seed=0, size=32, fit="crop", **options):
    return loaded(TurnedConfig(root=str(folder), copies=copies, **options), seed=seed, size=size, fit=fit)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Each digit once, turned by any angle."""
    return loaded(DigitsConfig(turn=180, copies=1), tmp_path_factory.mktemp("digits"))


def differences(first, second):
    """Inside the circle, in levels."""
    inside = ~outside_circle(first.shape[-2])
    return np.abs(first[..., inside, :].astype(float) - second[..., inside, :])


def averaged(fine):
    """(N,2S,2S,3) to (N,S,S,3)."""
    count, side = fine.shape[:2]
    return fine.reshape(count, side // 2, 2, side // 2, 2, 3).mean((2, 4))


def test_each_photograph_comes_in_copies_that_stay_together(folder):
    photos = of(folder)
    table = photos.table
    assert len(table) == len(photos.pixels) == len(photos.upright) == len(photos.digests) == 3 * 7
    assert table.images[:3] == ["again.png#1", "again.png#2", "again.png#3"]
    assert len(set(table.images)) == len(table)
    assert photos.pixels[:].shape == (21, 32, 32, 3)
    assert photos.upright[:].shape == (21, 64, 64, 3)
    assert len(set(table.groups)) == 6
    assert set(table.groups[[0, 9]]) == {"again.png"}  # p0.png is the same file
    assert any("under more than one name" in note for note in photos.notes)
    for group in set(table.groups):
        rows = photos.upright[np.flatnonzero(table.groups == group)]
        assert (rows == rows[0]).all()


def test_angles_depend_on_seed_and_content_alone(folder):
    table = of(folder).table
    same, other = of(folder).table.targets, of(folder, seed=1).table.targets
    np.testing.assert_array_equal(table.targets, same)
    assert not set(other) & set(same)
    (folder / "p2.png").rename(folder / "a.png")
    (folder / "p1.png").unlink()
    moved = of(folder, copies=2).table
    known = dict(zip(table.images, table.targets, strict=True))
    for name, angle in zip(moved.images, moved.targets, strict=True):
        assert known[name.replace("a.png", "p2.png") if name[:2] == "a." else name] == angle


def test_pixels_depend_on_the_seed_and_are_found_again(folder):
    first, again, other = of(folder), of(folder), of(folder, seed=1)
    assert first.store.path == again.store.path != other.store.path
    assert (first.pixels[:] != other.pixels[:]).any()
    np.testing.assert_array_equal(first.upright[:], other.upright[:])


@pytest.mark.parametrize("turn", [10, 180])
def test_angles_are_uniform_and_fill_the_range(turn):
    counts, _ = np.histogram(draw_angles([f"{i}" for i in range(900)], 2, turn, seed=5), 10, (-turn, turn))
    assert counts.sum() == 1800
    assert np.abs(counts - 180).max() < 4 * np.sqrt(180)


def test_a_turned_photograph_is_the_upright_one_turned(folder):
    """By an independent road: the upright photograph turned by Pillow, then averaged."""
    photos = of(folder, turn=180)
    for row in range(0, 21, 4):
        upright = Image.fromarray(photos.upright[row])
        turned = np.asarray(upright.rotate(photos.table.targets[row], Image.Resampling.BICUBIC))
        error = differences(photos.pixels[row], averaged(turned[None])[0])
        assert error.mean() < 2
        assert np.quantile(error, 0.98) < 8  # where the circle touches the edges, Pillow finds nothing beyond


def test_quarter_turns_are_exact():
    square = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    upright, *others = turn_square(square, [0, 90, 180, -90], 32)
    for k, turned in zip((1, 2, 3), others, strict=True):
        np.testing.assert_array_equal(turned, np.rot90(upright, k))


@pytest.mark.parametrize(("degrees", "row", "column"), [(0, 4, 31.5), (90, 31.5, 4), (-90, 31.5, 59), (45, 12, 12)])
def test_positive_is_counter_clockwise(degrees, row, column):
    square = np.zeros((256, 256, 3), np.uint8)
    square[12:24, 122:134] = 255  # at the top
    turned = turn_square(square, [degrees], 64)[0].astype(float)[..., 0]
    turned[outside_circle(64)] = 0
    found = [(turned.sum(axis) * np.arange(64)).sum() / turned.sum() for axis in (1, 0)]
    assert found == pytest.approx([row, column], abs=0.6)


def test_what_lies_outside_the_circle_tells_nothing(folder):
    photos = of(folder, turn=180)
    outside = photos.pixels[:][:, outside_circle(32)]
    assert (outside == outside[0, 0]).all()


def test_turning_moves_no_brightness():
    """Pillow would cut off the fractions of levels: half a level is lost at every angle but quarter turns."""
    square = np.random.default_rng(1).integers(60, 200, (128, 128, 3), dtype=np.uint8)
    inside = ~outside_circle(32)
    means = [turned[inside].mean() for turned in turn_square(square, range(0, 90, 10), 32)]
    assert np.ptp(means) < 0.3
    flat = turn_square(np.full((50, 50, 3), 77, np.uint8), range(0, 180, 7), 32)
    assert (flat[:, inside] == 77).all()


def test_too_small_a_photograph_is_told_or_skipped(folder):
    natural(9, 40, 30).save(folder / "small.png")
    natural(9, 80, 31).save(folder / "low.png")
    with pytest.raises(DataError, match=r"2 of 9 .* smaller .* image\.size=32 .* small\.png \(30 .*on_error=skip"):
        of(folder)
    photos = of(folder, on_error="skip")
    assert len(photos.table) == 21
    assert photos.skipped.keys() == {"small.png", "low.png"}
    assert "31 pixels" in photos.skipped["low.png"]
    with pytest.raises(DataError, match=r"9 of 9 photographs .* larger photographs$"):
        of(folder, size=512, on_error="skip")


def test_the_side_that_counts_is_that_of_the_upright_photograph(folder):
    natural(9, 32, 70).save(folder / "high.png")
    assert len(of(folder).table) == 24


def test_a_damaged_photograph_stops_or_is_skipped(folder):
    (folder / "p3.png").write_bytes((folder / "p3.png").read_bytes()[:900])
    (folder / "p4.png").write_bytes(b"no photograph")
    with pytest.raises(ImageError, match=r"2 of 8 photographs cannot be read: .*p3\.png"):
        of(folder)
    photos = of(folder, on_error="skip")
    assert photos.skipped.keys() == {"p3.png", "p4.png"}
    assert len(photos.table) == 3 * 6
    assert photos.table.groups[-1] == "p2.png"  # and rows are still those of the table
    expected = np.asarray(natural(2).resize((32, 32), Image.Resampling.BOX))
    assert differences(averaged(photos.upright[:])[-1], expected).max() < 3


def test_folders_that_cannot_be_used(here):
    with pytest.raises(NotThereError, match=r"nowhere: no such folder; data\.root must hold photographs"):
        of("nowhere")
    (here / "empty").mkdir()
    (here / "empty/notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"empty: no photographs; expected files such as empty/a\.jpg .*1 \.txt"):
        of("empty")


def test_options_that_contradict_turning(folder, run):
    with pytest.raises(ConfigError, match=r"image\.fit=stretch is not for data=turned"):
        of(folder, fit="stretch")
    with pytest.raises(DataError, match=r"data\.scale=log"):
        of(folder, scale="log")
    with pytest.raises(ConfigError, match=r"data\.root is not set"):
        load_config(["data=turned"])
    with pytest.raises(ConfigError, match=r"data\.turn=200.* allowed is 1\.\.180"):
        load_config(["data=digits", "data.turn=200"])
    one_line(run("train", "augment=turned", "run=a"), "augment.rotation is taken from data.turn")


@pytest.mark.parametrize("data", [["data=digits"], ["data=turned", "data.root=x"]])
def test_turning_is_the_augmentation_unless_another_is_named(data):
    config = load_config([*data, "data.turn=30"])
    assert config.data.made_by_turning
    assert config.augment.moves_target
    assert (config.augment.rotation, config.augment.quarter_turns, config.augment.flips) == (30, False, False)
    assert (config.bins.range, config.start, config.data.unit) == (None, "none", "degrees")
    assert to_typed(to_plain(config)) == config
    with pytest.raises(ConfigError, match="leave these as they are"):
        load_config([*data, "augment=quarter_turns"])
    assert load_config([*data, "train=instant"]).start == "scenes"
    assert not load_config(["data=csv", "data.table=x"]).data.made_by_turning


def test_forms_are_those_that_the_labels_tell():
    """Each form has the digits of the first one in their order, but for a few that are missing, and one."""
    from sklearn.datasets import load_digits

    labels = load_digits().target
    whole, wrong = labels[: FORMS[1]], 0
    for begin, end in zip(FORMS, [*FORMS[1:], len(labels)], strict=True):
        places = iter(whole)
        written = labels[begin:end]
        if len(written) == len(whole):
            wrong += (written != whole).sum()
        else:
            assert all(any(label == place for place in places) for label in written)
    assert wrong == 1


def test_digits_of_one_form_are_on_one_side_of_every_split(digits):
    table = digits.table
    assert (len(set(table.groups)), len(set(table.blocks))) == (1797, 14)
    shares = {"validation": 0.125, "calibration": 0.125, "test": 0.125}
    for changes in ({}, {"folds": 5, "fold": 3}, {"train_share": 0.3}):
        parts = split_table(table, **shares, seed=2, **changes)
        assert {"train", "validation", "calibration", "test"} <= set(parts)
        assert pd.Series(parts).groupby(table.blocks).nunique().max() == 1


def test_a_digit_is_drawn_alike_at_every_angle():
    """A lone pixel becomes a round spot, so that no lattice tells the angle; a digit stays in the circle."""
    digit = np.zeros((1, 8, 8))
    digit[0, 2, 4] = 16
    turned = draw_digits(np.repeat(digit, 12, 0), np.arange(12) * 30.0, 64)
    assert turned.sum((1, 2)) == pytest.approx(np.full(12, turned[0].sum()), rel=1e-3)
    axis = np.arange(64)
    shapes = []
    for one in turned:
        y, x = ((one.sum(side) * axis).sum() / one.sum() for side in (1, 0))
        distance = np.hypot(axis[:, None] - y, axis - x)
        shapes.append([one[np.abs(distance - r) < 0.7].std() / one.max() for r in (2, 4, 6)])
    assert np.max(shapes) < 0.1
    full = draw_digits(np.full((1, 8, 8), 16.0), np.array([0.0]), 64)[0]
    assert full[outside_circle(64)].sum() < 0.003 * full.sum()
    assert 250 < full.max() <= 255.001


def test_turned_digits_are_the_upright_ones_turned(digits):
    for row in range(0, 1797, 300):
        turned = Image.fromarray(digits.upright[row]).rotate(digits.table.targets[row], Image.Resampling.BICUBIC)
        assert differences(digits.pixels[row], averaged(np.asarray(turned)[None])[0]).max() < 6
    pixels = digits.pixels[:]
    assert pixels.shape == (1797, 32, 32, 3)
    assert (pixels[..., :1] == pixels).all()


def test_an_export_is_proved_on_the_photographs(folder):
    pixels, said = photographs_for(load_config(["data=turned", f"data.root={folder}", "image.size=32"]))
    assert (len(pixels), said) == (7, f"7 photographs of {folder}, turned by up to 45 degrees")


@pytest.mark.slow
def test_an_export_is_proved_on_digits():
    pixels, said = photographs_for(load_config(["data=digits"]))
    assert (len(pixels), said) == (24, "24 photographs of handwritten digits, turned by up to 45 degrees")


@pytest.mark.slow
def test_the_commands_take_them(folder, run):
    few = ["image.size=32", "train.epochs=4", "bins.count=3", "combine.views=1", "runtime.progress=false"]
    turned = ["data=turned", "data.root=photos", "data.copies=12", "bins.min_images=1", "bins.min_groups=1"]
    status, out, err = run("check-data", *turned, "image.size=32")
    assert status == 0, err
    assert "84" in out
    status, _, err = run("crossval", *turned, *few, "split.folds=2", "train.final=part", "run=folds")
    assert status == 0, err
    status, _, err = run("train", "data=digits", "data.copies=1", *few, "split.train_share=0.2", "run=digits")
    assert status == 0, err
    splits = pd.read_csv("outputs/digits/splits.csv")
    assert splits.groupby("block")["split"].nunique().max() == 1


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "scenes").is_dir(), reason="the shared folder of natural scenes is not here")
def test_natural_scenes_turn(here):
    photos = of(SHARED / "scenes", copies=1)
    assert len(photos.table) == 307
