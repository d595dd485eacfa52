"""One's own tables and folders, from the command line."""

import shutil
from io import StringIO

import pandas as pd
import pytest
import yaml
from helpers import TINY, TINY_TABLE, few, one_line

from twostage import load_config
from twostage.options.registry import names_in_group
from twostage.run.data import splits_today


def written(photos, name, text):
    (photos / name).write_text(text)
    return f"input={name}"


@pytest.fixture
def trained(photos, once):
    """A run whose table has a unit, a decimal comma and other names of columns."""
    table = pd.read_csv(photos / "photos.csv")
    table["Conc, mg/L"] = [f"{value:.1f} mg/L".replace(".", ",") for value in table["target"]]
    table.drop(columns="target").to_csv(photos / "photos.csv", index=False)
    status, _, err = once("train", *TINY_TABLE, "data.target_column=conc, mg/l", "run=a")
    assert status == 0, err
    assert "column 'Conc, mg/L' is taken for data.target_column=conc, mg/l" in err
    assert "every number has 'mg/L' after it" in err
    return photos


def test_known_targets_of_a_new_table_are_read_as_those_of_the_training(trained, run):
    name = written(trained, "new.csv", 'IMAGE,day,"CONC, MG/L"\nP00.PNG,mon,"1.200,5 mg/L"\np01,tue,\n')
    status, out, err = run("predict", name)
    assert status == 0, err
    rows = [line.split(",") for line in out.splitlines()]
    assert rows[0][:2] == ["image", "target"]
    assert rows[0][-1] == "day"
    assert [row[1] for row in rows[1:]] == ["1200.5", ""]
    assert err.count("is taken for") == 2
    assert "2 of 2 photographs were found otherwise than as written" in err
    assert err.splitlines()[-1] == "2 photographs: 2 ok"
    assert "over the 1 read whose target is known" in err


def test_photographs_that_the_model_has_learned_from_are_counted_whatever_they_are_called(trained, run):
    splits = pd.read_csv(trained / "outputs/a/splits.csv")
    learned = int((splits["split"] != "test").sum())
    assert 0 < learned < 40
    for image in splits["image"]:
        (trained / f"copy of {image}").write_bytes((trained / image).read_bytes())
    lines = "".join(f"copy of {image},100\n" for image in splits["image"])
    command = ("predict", written(trained, "new.csv", f"image,target\n{lines}"), "target_column=target", "decimal=.")
    told = f"over the 40 read whose target is known; the model has learned from {learned} of them"
    assert told in run(*command)[2]
    assert told in run(*command, "run=outputs/a/model")[2]
    for end in ("", "damaged"):
        (trained / "outputs/a/splits.csv").write_text(end)
        status, _, err = run(*command)
        assert status == 0
        assert "nobody knows what the model has learned from" in err
        assert "the model has learned from" not in err.replace("what the model has learned from", "")


def test_targets_that_can_be_read_in_two_ways_stay_unknown_until_it_is_said(trained, run):
    name = written(trained, "new.csv", 'image;"conc, mg/l"\np00.png;1.200 mg/L\n')
    status, out, err = run("predict", name)
    assert status == 0
    assert "two ways" in err
    assert "decimal=," in err
    assert out.splitlines()[0].split(",")[1] == "concentration"
    assert run("predict", name, "decimal=,")[1].splitlines()[1].split(",")[1] == "1200.0"
    one_line(run("predict", name, "target_column=conc, mg/l"), "two ways")


@pytest.mark.parametrize("output", ["", "output=out.csv"])
def test_the_last_line_counts_and_strict_fails_where_a_photograph_was_refused(trained, run, output):
    more = [output] if output else []
    name = written(trained, "new.csv", "image,lot\np00.png,7\nnowhere.png,8\n")
    for strict, expected in (("false", 0), ("true", 1)):
        (trained / "out.csv").unlink(missing_ok=True)
        status, out, err = run("predict", name, f"strict={strict}", *more)
        assert status == expected
        table = (trained / "out.csv").read_text() if output else out
        assert [line.split(",")[-1] for line in table.splitlines()] == ["lot", "7", "8"]
        assert "2 photographs" in err.splitlines()[-1]
        assert "1 ok, 1 refused" in err.splitlines()[-1]
        assert "tried were that and photographs below" in table
        assert "images=FOLDER" in table
    name = written(trained, "new.csv", "image\nnowhere.png\nnor.png\n")
    status, _, err = run("predict", name, *more)
    assert status == 0
    assert "2 refused; the first refused: " in err.splitlines()[-1]
    assert run("predict", "input=p00.png", "strict=true", *more)[0] == 0


def test_a_mixed_folder_counts_what_is_no_photograph(trained, run):
    (trained / "new").mkdir()
    shutil.copy(trained / "p00.png", trained / "new")
    shutil.copy(trained / "p00.png", trained / "new/._p00.png")
    (trained / "new/notes.txt").write_text("notes")
    status, out, err = run("predict", "input=new")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert "1 hidden file or folder" in err
    assert "left out: 1 .txt" in err


def test_folders_may_name_the_split(photos, run):
    for i in range(40):
        folder = photos / "by" / ("test" if i % 4 == 3 else "train") / f"{100 + i // 10 * 50} ppm"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"p{i:02d}.png", folder)
    options = ["data=folder", "data.root=by", *TINY_TABLE[2:], "bins.count=2"]
    status, _, err = run("train-classifier", *options, "run=f")
    assert status == 0, err
    splits = pd.read_csv(photos / "outputs/f/splits.csv")
    assert set(splits["target"]) == {100, 150, 200, 250}
    assert ((splits["split"] == "test") == splits["image"].str.startswith("test")).all()
    assert {"train", "validation", "test"} <= set(splits["split"])
    one_line(run("train-classifier", *options, "split.folds=2", "run=g"), "split.folds", "train/ and test/")


def test_rows_without_a_number_are_listed_as_left_out(photos, run):
    text = (photos / "photos.csv").read_text().splitlines()
    text[3] = "p02.png,<100,g0,mon"
    (photos / "photos.csv").write_text("\n".join(text))
    one_line(run("train-classifier", *TINY_TABLE, "run=a"), "row 4 '<100'", "data.on_target_error=skip")
    status, _, err = run("train-classifier", *TINY_TABLE, "run=a", "data.on_target_error=skip")
    assert status == 0
    assert "left out p02.png: row 4: '<100' is no concentration" in err
    splits = pd.read_csv(photos / "outputs/a/splits.csv").set_index("image")
    assert splits.loc["p02.png", "split"] == "skipped"
    assert "<100" in splits.loc["p02.png", "reason"]
    for name in photos.glob("p*.png"):
        name.rename(name.with_suffix(".gone"))
    status, _, err = run("train-classifier", *TINY_TABLE, "run=a", "data.on_target_error=skip")
    assert status == 0, err
    assert "could not be compared with its photographs" in err


def test_an_experiment_may_be_changed():
    assert load_config(["experiment=smoke"]).data.count == 640
    assert load_config(["experiment=smoke", "data.count=60"]).data.count == 60


@pytest.mark.parametrize("experiment", [name for name in names_in_group("experiment")])
def test_every_experiment_fits_every_source(experiment):
    usual = load_config([f"experiment={experiment}"]).train
    for source in (["data=csv", "data.table=t.csv"], ["data=folder", "data.root=x"]):
        config = load_config([f"experiment={experiment}", *source])
        assert config.bins.range is None
        assert config.train == usual


def test_the_smoke_experiment_runs_on_a_table(photos, run):
    quick = [option for option in TINY_TABLE if "size" not in option]
    status, _, err = run("train", "experiment=smoke", *quick, "run=s")
    assert status == 0, err


TEXTS = [
    "NO2- (mg/L)",
    "Conc, ppm",
    "c in µg/mL",
    "[mg/L]",
    "pH=",
    "it's",
    "true",
    "null",
    "2023-06-14",
    "a: b",
    "${x}",
]


@pytest.mark.parametrize("text", few(["Conc, ppm", "null", "${x}"], TEXTS))
def test_a_column_and_a_test_value_may_be_called_anything(photos, text):
    table = pd.read_csv(photos / "photos.csv").replace({"day": {"tue": text}}).rename(columns={"target": text})
    table.to_csv(photos / "photos.csv", index=False)
    value = f"'{text}'" if "," in text else text
    options = [f"data.target_column={text}", "split.column=day", f"split.test_values=[{value}]"]
    splits = pd.read_csv(StringIO(splits_today(load_config([*TINY_TABLE, *options]))))
    assert (splits["split"] == "test").sum() == 12


@pytest.mark.parametrize(
    "text", few(["null", "'Conc, ppm'"], ["it's", "[mg/L]", "c in µg/mL", "null", "'Conc, ppm'", ","])
)
def test_a_sweep_of_one_value_takes_it_as_written(here, run, text):
    status, _, err = run("train-classifier", "-m", *TINY, "train.epochs=2", f"data.unit={text}", "run=m")
    assert status == 0, err
    saved = yaml.safe_load((here / "outputs/m/0/config.yaml").read_text())
    assert (
        saved["data"]["unit"]
        == load_config([f"data.unit={text}"]).data.unit
        == (text if text == "it's" else text.strip("'"))
    )
