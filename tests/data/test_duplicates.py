import functools
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from helpers import SHARED, TINY, TINY_TABLE, few
from PIL import Image, ImageEnhance

from twostage import load_config
from twostage.data import duplicates
from twostage.data.duplicates import across_parts, duplicates_message, joined_groups, near_duplicates
from twostage.data.photographs import decode_photographs
from twostage.data.simulated import render_photographs, sample_targets
from twostage.data.store import Rows
from twostage.run.folder import RunFolder
from twostage.run.preparation import prepare

real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real photographs are not beside this checkout")


def simulated(count, size=64, seed=0):
    targets = sample_targets(count, 80, 350, "uniform", seed)
    return render_photographs(targets, size, seed)


@functools.cache
def real_photographs(name, size=64):
    table = pd.read_csv(SHARED / name / "labels.csv")
    pixels, failed = decode_photographs([SHARED / name / image for image in table["image"]], size, "crop")
    assert not failed
    return pixels, table


def jpeg(photo, quality):
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "same": lambda photo: photo,
    "jpeg": lambda photo: jpeg(photo, 90),
    "smaller": lambda photo: photo.resize((128, 128), Image.Resampling.LANCZOS),
    "darker": lambda photo: ImageEnhance.Brightness(photo).enhance(0.9),
    "turned": lambda photo: photo.rotate(90),
    "mirrored": lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda photo: photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "transposed": lambda photo: photo.transpose(Image.Transpose.TRANSPOSE),
    "turned jpeg": lambda photo: jpeg(photo.rotate(270), 95),
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("size", [32, 50, 64])
def test_copies_of_a_photograph_are_found_and_nothing_else(name, size):
    # not the palest: a disc that hardly stands out is drowned by what JPEG does to the noise
    photos = [Image.fromarray(photo) for photo in render_photographs(np.linspace(150, 350, 12), 250, 0)]
    pixels, _ = decode_photographs([*photos, *map(COPIES[name], photos)], size, "crop")
    assert near_duplicates(pixels).tolist() == [[i, i + 12] for i in range(12)]


@pytest.mark.slow
def test_different_photographs_are_not_near_duplicates():
    pixels = simulated(1000)
    assert len(near_duplicates(pixels)) <= 1  # of half a million pairs
    assert len(near_duplicates(np.repeat(pixels[:1], 2, axis=0))) == 1


def test_a_scene_photographed_very_often_is_one_group():
    scene = simulated(1)[0].astype(np.int16)
    noise = np.random.default_rng(0).integers(-2, 3, (100, *scene.shape))  # three times as many as are asked for
    pixels = np.concatenate([(scene + noise).clip(0, 255).astype(np.uint8), simulated(5, seed=1)])
    groups = joined_groups([f"p{i:03d}" for i in range(105)], None, near_duplicates(pixels))
    assert len(set(groups[:100])) == 1
    assert len(set(groups)) == 6


@pytest.mark.slow
def test_the_search_loses_no_pair_that_a_comparison_of_all_finds(monkeypatch):
    pixels = simulated(300)
    for name in ("COLOR", "EDGES"):  # so wide that different photographs are near one another
        monkeypatch.setattr(duplicates, name, 4 * getattr(duplicates, name))
    monkeypatch.setattr(duplicates, "TURNED", 0.0)
    signatures = duplicates._signatures(duplicates._cells(pixels))
    near = [np.linalg.norm(signatures - one, axis=1) < 1 for one in signatures]
    expected = np.argwhere(np.triu(near, 1))
    assert len(expected) > 50
    np.testing.assert_array_equal(near_duplicates(pixels), expected)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_photographs(count):
    assert near_duplicates(simulated(3)[:count]).shape == (0, 2)


def test_black_and_plain_photographs_are_near_duplicates_of_their_like_only():
    pixels = np.zeros((6, 32, 32, 3), np.uint8)
    pixels[2:4], pixels[4:] = (200, 120, 60), (60, 120, 200)
    assert near_duplicates(pixels).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_another_exposure_or_colour_is_another_photograph():
    photo = Image.fromarray(simulated(1, 250)[0])
    half = ImageEnhance.Brightness(photo).enhance(0.6)
    tinted = Image.fromarray((np.asarray(photo) * [1.0, 1.0, 0.85]).astype(np.uint8))
    pixels, _ = decode_photographs([photo, half, tinted], 64, "crop")
    assert len(near_duplicates(pixels)) == 0


def test_rows_of_a_store_are_read_in_pieces(monkeypatch):
    monkeypatch.setattr("twostage.data.duplicates.CHUNK", 7)
    photos = simulated(40)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 2))
    pairs = near_duplicates(Rows(photos, order))
    assert sorted(order[pairs[:, 0]]) == list(range(40))
    np.testing.assert_array_equal(order[pairs[:, 0]], order[pairs[:, 1]])


def test_joined_groups_connect_chains_and_keep_given_groups():
    images = list("abcdef")
    joined = joined_groups(images, None, np.array([[0, 2], [2, 5]]))
    assert joined.tolist() == ["a, c, f", "b", "a, c, f", "d", "e", "a, c, f"]
    groups = np.array(["x", "x", "y", "y", "z", "z"])
    assert joined_groups(images, groups, np.array([[1, 2], [4, 5]])).tolist() == ["x, y"] * 4 + ["z"] * 2


def test_the_message_counts_the_test_photographs_that_are_affected():
    parts = np.array(["train", "test", "test", "validation", "test"])
    pairs = np.array([[0, 3], [0, 1], [1, 2], [1, 3]])
    across = across_parts(pairs, parts)
    assert across.tolist() == [[0, 3], [0, 1], [1, 3]]
    message = duplicates_message(list("abcde"), parts, across)
    assert "3 pairs" in message
    assert "(a in train and b in test, b in test and d in validation and 1 more)" in message
    assert "1 of 3 test photographs" in message
    message = duplicates_message(list("abcde"), parts, np.array([[0, 3]]))
    assert "1 pair of near-duplicate photographs lies" in message
    assert "none is in the test set" in message


@real
@pytest.mark.parametrize(("size", "least"), few([(64, 0.88)], [(32, 0.85), (64, 0.88), (128, 0.88)]))
def test_the_shots_of_a_nitrite_specimen_are_found_and_no_others(size, least):
    pixels, table = real_photographs("nitrite", size)
    group, pairs = table["group"].to_numpy(), near_duplicates(pixels)
    assert (group[pairs[:, 0]] == group[pairs[:, 1]]).all()
    assert len(pairs) > least * 29 * 45
    joined = joined_groups(list(table["image"]), None, pairs)
    assert pd.Series(joined).groupby(group).nunique().eq(1).all()
    assert len(set(joined)) == 29


@real
def test_strips_that_were_laid_anew_are_no_near_duplicates():
    assert len(near_duplicates(real_photographs("ph")[0])) == 0


SHORT = ["data.unit=ug/L", *TINY[1:], "train.epochs=2"]


@pytest.mark.slow
@real
def test_nitrite_split_at_random_warns_with_the_number_of_pairs(here, nitrite, run):
    status, out, err = run("train", *nitrite, *SHORT, "run=a")
    assert status == 0, err
    splits = pd.read_csv(here / "outputs/a/splits.csv")
    part, group = splits["split"].to_numpy(), pd.read_csv(SHARED / "nitrite/labels.csv")["group"].to_numpy()
    first, second = np.triu_indices(290, 1)
    cut = ((group[first] == group[second]) & (part[first] != part[second])).sum()
    found = re.search(r"(\d+) pairs of near-duplicate photographs lie in different parts .*\.png in \w+ and ", err)
    assert 0.8 * cut < int(found[1]) <= cut
    assert err.count("near-duplicate photographs") == 1
    assert "split.duplicates=group" in err
    metrics = json.loads((here / "outputs/a/metrics.json").read_text())
    assert metrics["n_duplicate_pairs"] == int(found[1])
    assert f"{found[1]} pairs" in out
    report = (here / "outputs/a/report.html").read_text()
    assert f"Pairs of near-duplicates in different parts: {found[1]}. The test part was opened once" in report


@pytest.mark.slow
@real
def test_grouping_keeps_the_shots_of_a_specimen_together(here, nitrite, run):
    status, out, err = run("train", *nitrite, *SHORT, "run=a", "method=direct", "split.duplicates=group")
    assert status == 0, err
    assert "leave 29 groups" in err
    assert "near-duplicate photographs" not in err
    assert "near-duplicates" not in out
    splits = pd.read_csv(here / "outputs/a/splits.csv")
    group = pd.read_csv(SHARED / "nitrite/labels.csv")["group"]
    assert splits.groupby(group)["split"].nunique().eq(1).all()
    assert json.loads((here / "outputs/a/metrics.json").read_text())["n_duplicate_pairs"] == 0


@pytest.fixture
def copied(photos):
    """The table of `photos` with a copy of each photograph, all of another name."""
    lines = (photos / "photos.csv").read_text().splitlines()
    for line in lines[1:]:
        name = line.split(",")[0]
        Image.open(photos / name).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / f"m{name}")
        lines.append("m" + ",".join(line.split(",")[:2]) + f",own{name},mon")
    (photos / "photos.csv").write_text("\n".join(lines) + "\n")
    return photos


@pytest.mark.slow
def test_warn_is_the_default_and_ignore_is_silent(copied, run):
    _, _, err = run("train-classifier", *TINY_TABLE, "run=a")
    assert "near-duplicate photographs" in err
    status, out, err = run("train", *TINY_TABLE, "run=b", "split.duplicates=ignore")
    assert status == 0
    assert "near-duplicate" not in err + out
    assert json.loads((copied / "outputs/b/metrics.json").read_text())["n_duplicate_pairs"] is None
    one, other = ((copied / f"outputs/{name}/splits.csv").read_text() for name in "ab")
    assert one == other  # to look for them changes nothing


def test_grouping_joins_given_groups(copied, run):
    options = [*TINY_TABLE, "run=a", "split.duplicates=group", "data.group_column=group"]
    assert run("train-classifier", *options)[0] == 0
    splits = pd.read_csv(copied / "outputs/a/splits.csv", index_col="image")
    for i in range(40):
        assert splits.at[f"p{i:02d}.png", "split"] == splits.at[f"mp{i:02d}.png", "split"]
        assert splits.at[f"p{i:02d}.png", "group"] == splits.at[f"mp{i // 4 * 4:02d}.png", "group"]
    assert splits["group"].nunique() == 10
    assert run("train-regressor", *options)[0] == 0  # stage by stage the groups are the same


def test_a_fixed_test_set_that_cuts_near_duplicates_cannot_be_grouped(copied, run):
    options = ["split.duplicates=group", "split.column=day", "split.test_values=[tue]"]
    status, _, err = run("train", *TINY_TABLE, "run=a", *options)
    assert status == 1
    assert err.splitlines()[-1].startswith("twostage: 12 groups lie in more than one part of the split: ")
    assert re.search(r"\(p\d\d.png in test, mp\d\d.png in \w+\)", err)
    assert "set split.duplicates=warn" in err


def test_an_unknown_word_gets_one_line(here, run):
    status, _, err = run("train", *TINY, "run=a", "split.duplicates=groups")
    assert status == 1
    assert err == "twostage: split.duplicates=groups is not known: did you mean group?\n"


def test_simulated_photographs_are_not_searched(here, once, monkeypatch):
    assert once("train", *TINY, "run=a")[0] == 0
    assert json.loads((here / "outputs/a/metrics.json").read_text())["n_duplicate_pairs"] is None
    monkeypatch.setattr("twostage.run.data.near_duplicates", lambda _: pytest.fail("searched"))
    assert prepare(load_config([*TINY, "run=a"]), RunFolder(here / "outputs/a")).part("test").size


def test_a_photograph_that_is_not_used_leaks_nothing():
    pairs, parts = np.array([[0, 1], [0, 2], [1, 2], [2, 3]]), np.array(["unused", "test", "train", "train"])
    assert across_parts(pairs, parts).tolist() == [[1, 2]]
