"""What check-data says before anything is trained."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from twostage.report.contact_sheet import contact_sheet, rows_to_show

QUIET = ["runtime.threads=1", "runtime.progress=false", "data=csv"]


def checked(run, *options):
    status, out, err = run("check-data", *QUIET, *options, "--json")
    return status, json.loads(out), err


def write(folder, targets, sides=(40, 40), name="photos.csv", extra=""):
    lines = [f"image,target{',' + extra if extra else ''}"]
    for i, target in enumerate(targets):
        noise = np.random.default_rng(i).integers(0, 256, (sides[1], sides[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"n{i:03d}.png")
        lines.append(f"n{i:03d}.png,{target}{f',g{i // 2}' if extra else ''}")
    (folder / name).write_text("\n".join(lines) + "\n")


def test_the_screen_and_the_json_say_what_is_there(photos, run):
    status, found, _ = checked(run, "data.table=photos.csv")
    assert status == 0
    assert found["refused"] == []
    assert found["photographs"]["count"] == 40
    assert found["photographs"]["kinds"] == {"PNG, 8 bits, colour": 40}
    assert found["photographs"]["sizes"] == {"40x40": 40}
    assert found["photographs"]["enlarged"] == 40
    assert found["targets"]["levels"] == 10
    assert sum(part["photographs"] for part in found["parts"]) == 40
    assert sum(one["photographs"] for one in found["bins"]) == found["parts"][0]["photographs"]
    assert Image.open(found["sheet"]).width > 100
    status, out, _ = run("check-data", *QUIET, "data.table=photos.csv", "sheet=null")
    assert status == 0
    assert "40 PNG, 8 bits, colour" in out
    assert "Sheet:" not in out
    assert len(out.splitlines()) < 40


def test_it_trains_nothing_and_leaves_no_run(photos, run):
    checked(run, "data.table=photos.csv")
    assert [path.name for path in (photos / "outputs").iterdir() if not path.name.startswith(".")] == ["check_data.png"]


def test_the_command_to_copy_trains(photos, run):
    found = checked(run, "data.table=photos.csv", "seed=3", "sheet=null")[1]
    assert {"option": "data.group_column=group"}.items() <= found["suggestions"][0].items()
    words = shlex.split(found["command"])
    assert words[:2] == ["twostage", "train"]
    assert {"data=csv", "data.table=photos.csv", "seed=3", "data.group_column=group"} <= set(words)
    again = checked(run, *words[3:], "sheet=null")[1]
    assert again["command"].startswith("twostage crossval")  # ten specimens are few
    assert all("group_column" not in one["option"] for one in again["suggestions"])


@pytest.mark.parametrize(
    ("targets", "suggested"),
    [
        (np.geomspace(0.01, 1000, 40), "data.scale=log"),
        (np.linspace(0.5, 300, 40), None),  # nearly all of them lie in one decade
        (np.linspace(0, 300, 40), "data.minimum=0"),
        (np.linspace(-40, 40, 40), None),
        (np.concatenate([np.linspace(1, 5, 36), [20, 50, 70, 90]]), "bins.scheme=quantile"),
    ],
)
def test_options_are_suggested_where_the_targets_ask_for_them(here, run, targets, suggested):
    write(here, targets)
    found = checked(run, "data.table=photos.csv", "sheet=null", "split.duplicates=ignore")[1]
    assert [one["option"] for one in found["suggestions"]] == ([suggested] if suggested else [])


def test_what_training_would_refuse_is_said_with_all_that_is_known_and_status_1(photos, run):
    (photos / "p03.png").write_bytes(b"no picture")
    status, found, err = checked(run, "data.table=photos.csv", "sheet=null")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "p03.png" in found["refused"][0]
    assert found["photographs"]["count"] == 39
    assert list(found["photographs"]["left_out"]) == ["p03.png"]
    assert "command" not in found
    assert run("train", *QUIET, "data.table=photos.csv", "train.epochs=2")[0] == 1  # the same


def test_a_table_that_is_none_is_one_line(here, run):
    status, found, err = checked(run, "data.table=nothing.csv", "sheet=null")
    assert status == 1
    assert "no such table" in err
    assert "photographs" not in found


@pytest.mark.parametrize(("fit", "said"), [("crop", "cuts away 50 % of"), ("pad", "50 %"), ("stretch", "keeps all")])
def test_what_becomes_of_photographs_that_are_not_square_is_said(here, run, fit, said):
    write(here, np.linspace(80, 350, 24), sides=(80, 40))
    found = checked(run, "data.table=photos.csv", "sheet=null", f"image.fit={fit}")[1]
    assert said in found["photographs"]["not_square"]
    assert any("cuts away" in note for note in found["notes"]) == (fit == "crop")  # in training as well


def test_the_sheet_shows_one_photograph_of_each_concentration_in_order():
    targets = np.array([30.0, 10, 20, 10, 10, 30])
    assert rows_to_show(targets).tolist() == [3, 2, 5]
    assert len(rows_to_show(np.arange(500.0), most=40)) == 40
    assert contact_sheet(np.zeros((1, 8, 8, 3), np.uint8), ["a $b_"], "one").startswith(b"\x89PNG")
