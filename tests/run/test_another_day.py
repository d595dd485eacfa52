"""The commands check-model and recalibrate."""

import json
import shutil

import pandas as pd
import pytest
from helpers import TINY, one_line

from twostage.model_folder import description_digest

TRAINED = [*TINY, "run=a", "split.calibration=0.3"]


@pytest.fixture
def model(photos, once):
    """A run on the simulated assay, and standards of it: ten specimens in photos.csv."""
    assert once("train", *TRAINED)[0] == 0
    table = pd.read_csv("photos.csv")
    for name, rows in {"four": table["group"].isin(["g0", "g1", "g2", "g3"]), "one": table["group"] == "g5"}.items():
        table[rows].to_csv(f"{name}.csv", index=False)
    return photos


def last_line(answer):
    """What a command ends with, after what is to be said of its model."""
    status, out, err = answer
    return status, out, err.splitlines(keepends=True)[-1]


def check(run, table, *more, model="a"):
    return run("check-model", f"run={model}", f"table={table}", "group_column=group", *more)


def recalibrate(run, table, output, *more, model="a"):
    return run("recalibrate", f"run={model}", f"table={table}", f"output={output}", "group_column=group", *more)


def test_checks_accumulate_beside_the_model_and_change_nothing_of_it(model, run):
    before = (model / "outputs/a/model/model.json").read_bytes()
    status, out, err = check(run, "four.csv", "output=specimens.csv")
    assert status == 0, err
    for words in ("four.csv: 4 specimens, 16 photographs read", "bias then", "4 specimens can give 0.12 at least, so"):
        assert words in out
    assert check(run, "one.csv")[0] == 0
    status, out, err = check(run, "photos.csv")
    assert status == 0, err
    checks = json.loads((model / "outputs/a/checks/checks.json").read_text())["checks"]
    assert [row["table"] for row in checks] == ["four.csv", "one.csv", "photos.csv"]
    assert [row["specimens"] for row in checks] == [4, 1, 10]
    assert checks[1]["p_zero"] is None
    assert all(row["table"] in out for row in checks)
    assert (model / "outputs/a/checks/control_chart.png").stat().st_size > 100
    assert (model / "outputs/a/model/model.json").read_bytes() == before
    specimens = pd.read_csv("specimens.csv")
    assert specimens["specimen"].tolist() == ["g0", "g1", "g2", "g3"]
    assert specimens["error"].to_numpy() == pytest.approx((specimens["concentration"] - specimens["target"]).to_numpy())
    assert specimens["error"].mean() == pytest.approx(checks[0]["bias"])


def test_a_recalibrated_model_reads_as_it_says_and_knows_its_parents(model, run):
    lot = pd.read_csv("photos.csv")  # another lot of the reagent: the same colour is a higher concentration
    lot = lot.assign(target=lot["target"] + 75)
    lot[lot["target"] < 350].to_csv("lot.csv", index=False)
    status, out, err = recalibrate(run, "lot.csv", "models/monday")
    assert status == 0, err
    assert "error of each specimen left out" in out
    made = json.loads((model / "models/monday/model.json").read_text())
    first = json.loads((model / "outputs/a/model/model.json").read_text())
    assert made["parent"] == {"folder": "a", "digest": first["digest"]}
    assert made["sha256"] == first["sha256"]
    assert made["recalibration"] != {"offset": 0.0, "slope": 1.0}
    for name, table in (("a", "old.csv"), ("models/monday", "new.csv")):
        assert run("predict", f"run={name}", "input=lot.csv", f"output={table}")[0] == 0
    old, new = (pd.read_csv(name) for name in ("old.csv", "new.csv"))
    middle, line = 215.0, made["recalibration"]
    moved = middle + line["offset"] + line["slope"] * (old["concentration"] - middle)
    assert new["concentration"].to_numpy() == pytest.approx(moved.to_numpy(), rel=1e-5)
    status, _, err = recalibrate(run, "one.csv", "models/tuesday", model="models/monday")
    assert status == 0, err
    second = json.loads((model / "models/tuesday/model.json").read_text())
    assert second["parent"] == {"folder": "monday", "digest": made["digest"], "parent": made["parent"]}
    assert second["standards"] == sorted({*lot["group"][lot["target"] < 350], "g5"})
    assert second["trust"]["intervals"]["weight"] != made["trust"]["intervals"]["weight"]
    status, _, err = check(run, "one.csv", model="models/tuesday")
    assert status == 0
    assert "recalibrated with specimens of these names" in err
    assert (model / "models/tuesday/checks/checks.json").is_file()
    assert not list(model.rglob("*.tmp"))


def test_nothing_is_overwritten(model, run):
    (model / "there").mkdir()
    one_line(recalibrate(run, "four.csv", "there"), "output=there is there already", "name another folder")
    assert recalibrate(run, "four.csv", "new")[0] == 0
    before = (model / "new/model.json").read_bytes()
    one_line(recalibrate(run, "one.csv", "new"), "is there already")
    assert (model / "new/model.json").read_bytes() == before


def test_a_table_without_names_of_specimens_is_read_and_that_is_said(model, run):
    status, out, err = run("check-model", "run=a", "table=one.csv")
    assert status == 0
    assert "no column names specimens, so each photograph counts as one" in err
    assert "4 specimens, 4 photographs" in out


ONE = "image,target,group\np00.png,{},g0\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,target,group\n", ["no rows"]),
        ("image,group\np00.png,g0\n", ["no column 'target' with concentrations", "target_column=NAME"]),
        ("image,target,group\np00.png,100,g0\np01.png,,g0\n", ["no concentration for p01.png"]),
        (ONE.format("500"), ["standards outside 80..350", "g0 (500)", "leave them out"]),
        ("image,target\np00.png,100\n", ["no column 'group' for specimens"]),
        ("image,target,group\np00.png,100,g0\np04.png,200,\n", ["names no specimen for p04.png"]),
        ("image,target,group\nno.png,100,g0\n", ["none of the 1 standards can be read", "no.png"]),
    ],
)
def test_standards_that_are_none_get_one_line(model, run, text, words):
    (model / "bad.csv").write_text(text)
    one_line(check(run, "bad.csv"), *words)
    one_line(recalibrate(run, "bad.csv", "new"), *words)
    assert not (model / "new").exists()
    assert not (model / "outputs/a/checks").exists()


def test_one_row_is_read_and_tells_what_it_cannot_tell(model, run):
    (model / "row.csv").write_text(pd.read_csv("one.csv").iloc[:1].to_csv(index=False))
    status, out, err = check(run, "row.csv")
    assert status == 0
    assert "one specimen cannot tell" in err
    assert out.count("one specimen gives no p-value") == 2
    status, out, _ = recalibrate(run, "row.csv", "new")
    assert status == 0
    assert "left out" not in out


def test_standards_that_could_not_be_read_are_named(model, run):
    text = (model / "four.csv").read_text() + "nowhere.png,100,g9,mon\n"
    (model / "some.csv").write_text(text)
    status, out, err = check(run, "some.csv")
    assert status == 0
    assert "1 standard was not read and left out: nowhere.png" in err
    assert "16 photographs read, 1 refused" in out


def test_a_model_that_flags_or_refuses_unlike_photographs_is_checked_all_the_same(model, run):
    folder = shutil.copytree(model / "outputs/a/model", model / "strict")
    description = json.loads((folder / "model.json").read_text())
    description["trust"] |= {"unlike": "refuse"}
    description["trust"]["typicality"]["threshold"] = -9.0
    description["digest"] = description_digest(description)
    (folder / "model.json").write_text(json.dumps(description))
    status, out, _ = check(run, "four.csv", model="strict")
    assert status == 0
    assert "16 photographs read, 0 refused, 16 unlike" in out
    assert recalibrate(run, "four.csv", "new", model="strict")[0] == 0
    assert json.loads((model / "new/model.json").read_text())["trust"]["unlike"] == "refuse"


def test_a_model_that_knows_nothing_of_its_calibration(photos, run, once):
    assert once("train", *TINY, "run=a", "split.calibration=0")[0] == 0
    status, out, _ = check(run, "photos.csv")
    assert status == 0
    assert "the model has kept no errors of its calibration" in out
    assert "bias then" not in out
    one_line(last_line(recalibrate(run, "photos.csv", "new")), "has kept no errors of its calibration", "train it anew")


def test_checks_that_were_damaged_are_not_begun_anew(model, run):
    assert check(run, "one.csv")[0] == 0
    (model / "outputs/a/checks/checks.json").write_text('{"checks": [{"bias": 1}]}')
    one_line(last_line(check(run, "one.csv")), "checks.json cannot be read", "delete it to begin anew")


def test_a_specimen_of_several_concentrations_counts_by_its_mean_and_is_said(model, run):
    (model / "series.csv").write_text("image,target,group\np00.png,100,g0\np04.png,200,g0\np08.png,150,g1\n")
    status, out, err = check(run, "series.csv")
    assert status == 0, err
    assert "more than one concentration: g0; of each the mean counts" in err
    assert "2 specimens" in out
