"""Names of photographs that were written on another machine lead to the one photograph that they can mean."""

import os

import pytest

from twostage.data.photographs import load_photographs
from twostage.errors import DataError, NotThereError
from twostage.options.data import CsvConfig
from twostage.options.run import ImageConfig, SplitConfig
from twostage.tables.table import read_table


@pytest.fixture
def folder(tmp_path):
    for name in ("photos/p0.png", "photos/p1.png", "photos/day 2/p2.JPG", "photos/._p0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def found(folder, *names, **options):
    (folder / "t.csv").write_text("image,target\n" + "".join(f"{name},1\n" for name in names))
    table = read_table(folder / "t.csv", **options)
    return [os.path.relpath(path, folder) for path in table.paths], table.notes


@pytest.mark.parametrize(
    "name",
    [
        "Photos/P0.PNG",
        "photos/p0",
        "PHOTOS\\p0",
        "p0.png",
        "C:\\Users\\lab\\assay\\photos\\p0.png",
        "/home/other/photos/p0.png",
        "~/photos/p0.png",
        "assay/photos/P0",
        "./Photos/p0.png",
    ],
)
def test_one_reading_is_taken_and_said(folder, name):
    paths, notes = found(folder, name, "photos/p1.png")
    assert paths == ["photos/p0.png", "photos/p1.png"]
    assert notes == [f"1 of 2 photographs were found otherwise than as written, such as '{name}' as photos/p0.png"]


@pytest.mark.parametrize("name", ["photos/p0.png", "photos\\p0.png", "photos/../photos/p0.png", "photos/day 2/p2.JPG"])
def test_what_is_there_as_written_is_not_looked_for(folder, name):
    assert found(folder, name)[1] == []


@pytest.mark.parametrize("name", ["photos/p7.png", "run1/p0.png", "photos/p0.jpg", "0.png", "photos", "mean"])
def test_another_photograph_is_not_taken_instead(folder, name):
    assert not (folder / found(folder, name)[0][0]).is_file()


def test_two_photographs_that_can_be_meant_are_named(folder):
    (folder / "old").mkdir()
    (folder / "old/p0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"row 2: 'p0\.png' may be old/p0\.png, photos/p0\.png below"):
        found(folder, "p0.png")
    assert found(folder, "D:\\old\\p0.png")[0] == ["old/p0.png"]


def test_names_may_start_in_another_folder(folder):
    (folder / "tables").mkdir()
    (folder / "tables/t.csv").write_text("image,target\np0.png,1\nday 2/p2.jpg,2\n")
    table = read_table(folder / "tables/t.csv", images=str(folder / "photos"))
    assert [path.name for path in table.paths] == ["p0.png", "p2.JPG"]
    with pytest.raises(DataError, match=r"data\.images=nowhere: no such folder"):
        read_table(folder / "tables/t.csv", images="nowhere")


def test_missing_photographs_say_what_was_tried_and_what_is_near(folder):
    (folder / "t.csv").write_text("image,target\nphotos/q0.png,1\nmean,2\n")
    with pytest.raises(NotThereError) as caught:
        load_photographs(CsvConfig(table=str(folder / "t.csv")), ImageConfig(), SplitConfig(), 0, folder / "cache")
    message = str(caught.value)
    assert "2 of 2 photographs are missing: row 2 'photos/q0.png', row 3 'mean'" in message
    assert f"{folder}/photos/q0.png" in message
    assert "the nearest is 'photos/p0.png'" in message
    assert "data.images=FOLDER" in message
    assert caught.value.missing == ["photos/q0.png", "mean"]
