"""Names and cells that a user did not choose for us: they survive, and nothing obeys them."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE, one_line

from twostage.errors import TrainingError
from twostage.files import write_output
from twostage.run.folder import RunFolder
from twostage.tables.new_photographs import for_spreadsheet
from twostage.terminal import LineFormatter, printable

QUICK = [*TINY, "runtime.threads=1", "runtime.precision=float32", "run=a"]
ESCAPE = "\x1b]0;mine\x07\x1b[31m"


@pytest.fixture
def trained(photos, once):
    assert once("train", *QUICK)[0] == 0
    return photos


def as_program(*arguments):
    """What a program finds that starts this one: bytes."""
    return subprocess.run([sys.executable, "-m", "twostage", *arguments], capture_output=True, env=os.environ)


@pytest.mark.slow
def test_a_name_that_is_no_unicode_survives(trained, run):
    (trained / "new").mkdir()
    name = os.fsdecode(b"new/caf\xe9.png")
    shutil.copy(trained / "p00.png", name)
    (trained / "old.csv").write_text("an older table\n")
    assert run("predict", "input=new", "output=old.csv")[0] == 0
    assert (trained / "old.csv").read_bytes().splitlines()[1].startswith(b"new/caf\xe9.png,")
    found = as_program("predict", f"input={name}", "runtime.threads=1")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1].startswith(b"new/caf\xe9.png,")
    missing = as_program("predict", b"input=nowhere\xe9.png")
    assert missing.returncode == 1
    assert b"Traceback" not in missing.stderr
    assert b"nowhere\\udce9.png" in missing.stderr


@pytest.mark.slow
def test_a_run_over_names_that_are_no_unicode(photos, run):
    for i in range(40):
        (photos / f"by/{100 + i % 8 * 30}").mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"p{i:02d}.png", os.fsdecode(f"by/{100 + i % 8 * 30}/{i}".encode() + b"\xe9.png"))
    options = ["data=folder", "data.root=by", *QUICK[1:], "bins.min_images=1", "bins.min_groups=1"]
    status, _, err = run("train", *options)
    assert status == 0, err
    assert b"\xe9.png" in (photos / "outputs/a/predictions.csv").read_bytes()
    (photos / "outputs/a/metrics.json").unlink()
    assert run("train", *options)[0] == 0  # goes on: splits.csv is read again


def test_a_table_is_written_whole_or_not_at_all(trained, run, monkeypatch):
    (trained / "old.csv").write_text("an older table\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    status, out, err = run("predict", "input=p00.png", "output=old.csv")
    last = err.splitlines(keepends=True)[-1]  # before it the model's own remarks
    one_line((status, out, last), "old.csv", "No space left on device")
    assert (trained / "old.csv").read_text() == "an older table\n"
    assert not list(trained.glob("*.tmp"))


@pytest.mark.parametrize("output", [".", "", "outputs", "n" * 300, "~nosuch/x.csv", "p00.png/x.csv"])
def test_where_no_table_can_be_is_said_in_one_line(trained, run, output):
    one_line(run("predict", "input=p00.png", f"output={output}"))


def test_a_link_leads_to_its_table_and_a_device_stays_one(tmp_path):
    (tmp_path / "link.csv").symlink_to("table.csv")
    write_output(tmp_path / "link.csv", b"rows")
    assert (tmp_path / "table.csv").read_bytes() == b"rows"
    assert (tmp_path / "link.csv").is_symlink()
    write_output(Path("/dev/null"), b"rows")
    assert not Path("/dev/null").is_file()


LONG = "n" * 300
PATHS = ["input", "data.table", "data.root", "runtime.cache_dir", "start"]


@pytest.mark.parametrize("path", [LONG, "~nosuch/x", "~nosuch", "x/" * 3000], ids=["long", "user", "home", "deep"])
@pytest.mark.parametrize("option", PATHS)
def test_a_path_that_none_can_be_gets_one_line(trained, run, option, path):
    if option == "input":
        return one_line(run("predict", f"input={path}"), "input=")
    source = "folder" if option == "data.root" else "csv"
    table = [] if option in ("data.table", "data.root") else ["data.table=photos.csv"]
    options = [f"data={source}", *table, *TINY[1:], "run=b", f"{option}={path}"]
    return one_line(run("train", *options), "no such" if path.startswith("~") else "too long")


@pytest.mark.parametrize("cell", [LONG, "~nosuch/x.png", "x\\" + LONG, "=1+1.png"], ids=lambda cell: cell[:9])
def test_a_cell_that_no_file_can_be_is_a_refused_row(trained, run, cell):
    (trained / "new.csv").write_text(f"image\n{cell}\np01.png\n")
    status, out, err = run("predict", "input=new.csv")
    assert status == 0, err
    assert out.splitlines()[1].startswith(cell + ",")
    assert ",refused," in out.splitlines()[1]
    assert ",refused," not in out.splitlines()[2]


def test_a_table_with_a_nul_is_no_text(trained, run):
    (trained / "new.csv").write_text("image\n" + "p01.png\n" * 2000 + "a\0b.png\n")
    one_line(run("predict", "input=new.csv"), "not a text file")


def test_an_option_cannot_be_deleted(here, run):
    for text in ("~data", "~train.epochs", "~run=a", "~hydra.sweep"):
        one_line(run("train", *TINY, text), text, "NAME=VALUE")


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_training_that_diverged_is_said_in_one_line(tmp_path, figure):
    folder = RunFolder(tmp_path / "a")
    with pytest.raises(TrainingError, match=r"diverged, metrics\.json .* lower train\.learning_rate .* run=NAME"):
        folder.write_json(folder.metrics, {"rmse": figure})
    assert not folder.metrics.exists()


def test_a_learning_rate_that_is_far_too_high_ends_in_one_line_or_in_figures(here, run):
    status, _, err = run("train", *QUICK, "train.learning_rate=10", "train.refit=false")
    assert status in (0, 1)
    assert "Traceback" not in err


def test_control_characters_are_shown_not_obeyed():
    assert printable(f"a{ESCAPE}\r\x9b1m\u202eb\u2028") == "a\\x1b]0;mine\\x07\\x1b[31m\\r\\x9b1m\\u202eb\\u2028"
    assert printable("µg/l, NO₂⁻\t12\n") == "µg/l, NO₂⁻\t12\n"
    record = logging.LogRecord("twostage", logging.INFO, "", 0, "name %s", ("a\nb\x1b[2J",), None)
    assert LineFormatter().format(record) == "name a\\nb\\x1b[2J"


def test_no_line_on_the_terminal_holds_a_control_character(trained, run):
    names = [f"nowhere{ESCAPE}.png", f"unit{ESCAPE}", f"run{ESCAPE}"]
    for command in (
        ["predict", f"input={names[0]}"],
        ["predict", "input=p00.png", f"run={names[2]}"],
        ["predict", "input=p00.png", f"output=x{ESCAPE}.csv"],
        ["train", *QUICK[:-1], f"run={names[2]}", f"data.unit={names[1]}"],
        ["train", *QUICK[:-1], f"run={names[2]}", f"pooling={names[0]}"],
        [f"tra{ESCAPE}"],
    ):
        _, out, err = run(*command)
        assert "\x1b" not in out + err, command
        assert "\\x1b" in out + err, command


def test_the_printed_table_is_data_for_a_program_and_shown_to_a_person(trained, run, monkeypatch):
    shutil.copy(trained / "p00.png", trained / "a\x1b[2J.png")
    assert "a\x1b[2J.png" in run("predict", "input=a*.png")[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "a\\x1b[2J.png" in run("predict", "input=a*.png")[1]


def test_texts_that_a_spreadsheet_would_run_get_an_apostrophe_where_it_is_asked_for(trained, run):
    names = ["=1+1.png", "+1.png", "-1.png", "@a.png"]
    for name in names:
        shutil.copy(trained / "p00.png", name)
    (trained / "new.csv").write_text("image,=note,amount\n" + "".join(f"{name},@{name},-1.5\n" for name in names))
    assert run("predict", "input=new.csv", "output=plain.csv")[0] == 0
    assert run("predict", "input=new.csv", "output=safe.csv", "spreadsheet=true")[0] == 0
    plain, safe = (pd.read_csv(trained / f"{name}.csv", dtype=str) for name in ("plain", "safe"))
    assert plain["image"].tolist() == names
    assert safe["image"].tolist() == [f"'{name}" for name in names]
    assert safe["'=note"].tolist() == [f"'@{name}" for name in names]
    assert safe["amount"].tolist() == ["-1.5"] * 4
    assert safe["concentration"].tolist() == plain["concentration"].tolist()


def test_a_spreadsheet_keeps_numbers():
    frame = pd.DataFrame({"a": [-1.5, 2], "b": pd.array([None, -1], "Int64"), "c": ["-1,5", "-1-1"]})
    assert for_spreadsheet(frame)["c"].tolist() == ["-1,5", "'-1-1"]
    pd.testing.assert_frame_equal(for_spreadsheet(frame)[["a", "b"]], frame[["a", "b"]])


FIXED = "image,target,concentration,lower,upper,bin_index,bin_low,bin_high,bin_probability,status,reason".split(",")


def test_known_targets_are_taken_as_in_training(photos, run):
    text = (photos / "photos.csv").read_text().replace("image,target", "photo,NO2- (mg/L)")
    (photos / "photos.csv").write_text(text)
    columns = ["data.image_column=photo", "data.target_column=NO2- (mg/L)"]
    assert run("train", *TINY_TABLE, *columns, "run=a")[0] == 0
    (photos / "new.csv").write_text(
        'day,photo,status,NO2- (mg/L),lot\nmon,p00.png,fresh,100,007\ntue,p01.png,old,,1.10\nwed,p01.png,,"12,5",NA\n'
    )
    status, _, err = run("predict", "input=new.csv", "output=out.csv")
    assert status == 0, err
    assert "status as table_status" in err
    table = pd.read_csv(photos / "out.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == [*FIXED, "day", "table_status", "lot"]
    assert table["image"].tolist() == ["p00.png", "p01.png", "p01.png"]
    assert table["target"].tolist() == ["100.0", "", "12.5"]
    assert table["lot"].tolist() == ["007", "1.10", "NA"]
    assert run("predict", "input=out.csv", "output=again.csv", "image_column=image")[0] == 0
    again = pd.read_csv(photos / "again.csv", dtype=str)
    assert len(again) == 3
    assert {"table_status", "table_table_status", "table_reason", "target"} <= set(again.columns)
    assert again.columns.is_unique


def test_targets_that_are_no_numbers_stop_only_where_they_were_asked_for(trained, run):
    (trained / "new.csv").write_text("image,target\np00.png,100\np01.png,high\n")
    status, out, err = run("predict", "input=new.csv")
    assert status == 0, err
    assert "row 3 'high'" in err
    assert [line.split(",")[1] for line in out.splitlines()] == ["target", "100.0", ""]
    one_line(run("predict", "input=new.csv", "target_column=target"), "row 3 'high'")
    assert out.splitlines()[0].split(",") == [*FIXED, "table_target"]
    assert [line.split(",")[-1] for line in out.splitlines()[1:]] == ["100", "high"]
    (trained / "new.csv").write_text("image,target,target\np00.png,100,3\n")
    status, out, _ = run("predict", "input=new.csv")
    assert status == 0
    assert out.splitlines()[0].split(",") == [*(name for name in FIXED if name != "target"), "target", "target"]


def test_a_model_folder_of_a_run_is_made_again_when_its_description_was_changed(trained, run):
    path = trained / "outputs/a/model/model.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"edges": [160, 340, 520, 700]}))
    one_line(run("predict", "input=p00.png"), "changed or damaged", "delete this file", "the run's command again")
    path.unlink()
    assert run("train", *QUICK)[0] == 0
    assert path.read_text() == before


@pytest.mark.parametrize("output", ["p00.png/readings.csv", "p00.png/a/b.csv", "."])
def test_an_output_that_cannot_be_written_is_said_before_anything_is_read(trained, run, output, monkeypatch):
    monkeypatch.setattr("twostage.run.predicting.open_reader", lambda *_: pytest.fail("read"))
    one_line(run("predict", "input=p00.png", f"output={output}"), f"output={output}", "folder")


@pytest.mark.parametrize("output", ["out.xlsx", "out.JSON"])
def test_a_table_is_not_called_what_it_is_not(trained, run, output):
    one_line(run("predict", "input=p00.png", f"output={output}"), "written as CSV", "name it .csv")
    one_line(run("predict", "input=p00.png", "format=csv", "output=out.parquet"), "contradict", "name it .csv")
    assert not (trained / output).exists()


@pytest.mark.parametrize("option", ["image_column=image", "target_column=target", "images=.", "decimal=,"])
def test_what_says_how_to_read_a_table_is_refused_for_photographs(trained, run, option):
    one_line(run("predict", "input=p00.png", option), option.split("=")[0], "input=p00.png is none")
