"""Few specimens: the figures come of folds, and the model that is handed out has learned from all photographs."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE

from twostage import Predictor
from twostage.options.compose import load_config
from twostage.studies import final
from twostage.studies.final import train

ALL = [
    *TINY_TABLE[:-1],
    "train.final=all",
    "data.group_column=group",
    "split.folds=3",
    "split.duplicates=ignore",
    "start=none",
]


@pytest.fixture
def trained(photos, once):
    status, out, _ = once("train", *ALL, "run=a")
    assert status == 0
    return photos / "outputs", out


def test_every_photograph_is_read_by_a_fold_that_has_not_seen_its_specimen(trained):
    outputs, out = trained
    table, found = pd.read_csv("photos.csv"), pd.read_csv(outputs / "a" / "predictions.csv")
    assert list(found["image"]) == list(table["image"])
    metrics = json.loads((outputs / "a" / "metrics.json").read_text())
    assert metrics["n_test"] == 40
    assert metrics["n_folds"] == 3
    assert "40 photographs, each read by the model of one of 3 folds" in out
    for fold in range(3):
        rows = pd.read_csv(outputs / "a_folds" / f"fold_{fold}" / "splits.csv")
        groups = rows.groupby(rows["split"] == "test")["group"].unique()
        assert not set(groups[True]) & set(groups[False])
        mine = pd.read_csv(outputs / "a_folds" / f"fold_{fold}" / "predictions.csv").set_index("image")
        same = found.set_index("image").loc[mine.index, "concentration"]
        np.testing.assert_allclose(same, mine["concentration"], rtol=1e-5)


def test_the_model_holds_back_no_test_set(trained):
    outputs, _ = trained
    assert set(pd.read_csv(outputs / "a" / "splits.csv")["split"]) == {"train", "validation"}
    assert Predictor.load(outputs / "a").predict(["p00.png"]).is_read.all()
    assert Predictor.load(outputs / "latest").model.description["n_train"] == 32  # the rest validates


def test_the_same_command_shows_it_again_and_evaluate_too(trained, run):
    outputs, out = trained
    before = {file: file.stat().st_mtime_ns for file in outputs.rglob("*.safetensors")}
    for command in (["train", *ALL, "run=a"], ["evaluate", "run=a"]):
        status, again, _ = run(*command)
        assert status == 0
        assert again == out
    assert {file: file.stat().st_mtime_ns for file in outputs.rglob("*.safetensors")} == before


@pytest.mark.slow
def test_a_fold_that_is_missing_is_trained_again(photos, run, monkeypatch):
    config = load_config([*ALL, "run=b"])
    monkeypatch.setattr(final.orchestrator, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # the folds are there, the model is not
        train(copy.deepcopy(config))
    assert not (photos / "outputs" / "b").exists()
    monkeypatch.undo()
    monkeypatch.chdir(photos)
    assert run("train", *ALL, "run=b")[0] == 0
    assert (photos / "outputs" / "b" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_mean_of_the_folds_is_one_model(trained, run):
    """No other is trained; in prediction all folds speak."""
    outputs, few = trained[0], [word for word in ALL if not word.startswith("train.final")]
    assert run("train", *few, "run=m", "train.final=folds")[0] == 0
    assert not (outputs / "m" / "regressor").exists()
    loaded = Predictor.load(outputs / "m")
    assert len(loaded.model.members) == 3
    folds = [Predictor.load(outputs / "m_folds" / f"fold_{k}").predict(["p00.png"]).concentration for k in range(3)]
    np.testing.assert_allclose(loaded.predict(["p00.png"]).concentration, np.mean(folds), rtol=1e-6)
    mine, theirs = (pd.read_csv(outputs / name / "predictions.csv")["concentration"] for name in ("m", "a"))
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)  # the folds are the same
    assert run("evaluate", "run=m")[0] == 0


@pytest.mark.slow
def test_the_better_of_the_start_that_ships_and_of_none_is_taken(photos, run):
    few = [word for word in ALL if not word.startswith(("train.final", "start", "split.folds"))]
    few += ["train.final=folds", "split.folds=2", "train.epochs=2"]
    status, out, err = run("train", *few, "run=m")
    assert status == 0
    assert "with the start, " in err
    outputs = photos / "outputs"
    rmse = {n: json.loads((outputs / f"m_folds_{n}/metrics.json").read_text())["rmse"] for n in ("scenes", "none")}
    better = min(rmse, key=rmse.get)
    assert json.loads((outputs / "m/metrics.json").read_text())["rmse"] == pytest.approx(rmse[better], rel=1e-5)
    assert len(Predictor.load(outputs / "m").model.members) == 2
    weights = [outputs / name / "model/regressor.safetensors" for name in ("m", f"m_folds_{better}/fold_0")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert run("train", *few, "run=m")[:2] == (0, out)  # the same command finds the same again


@pytest.mark.slow
def test_a_member_that_is_missing_or_another_is_refused(photos, run):
    few = [word for word in ALL if not word.startswith("train.final")]
    assert run("train", *few, "run=m", "train.final=folds")[0] == 0
    weights = photos / "outputs" / "m" / "model" / "regressor_2.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes((weights.parent / "regressor_1.safetensors").read_bytes())
    status, _, err = run("predict", "input=p00.png", "run=m")
    assert status == 1
    assert "regressor_2.safetensors: damaged weights, or those of another training" in err
    weights.unlink()
    assert "no such weights" in run("predict", "input=p00.png", "run=m")[2]
    weights.write_bytes(kept)
    assert run("predict", "input=p00.png", "run=m")[0] == 0


def test_intervals_come_of_the_folds(trained):
    outputs, _ = trained
    description = json.loads((outputs / "a" / "model" / "model.json").read_text())
    predictions = pd.read_csv(outputs / "a" / "predictions.csv")
    assert description["trust"]["intervals"]["method"] == "distributional"
    assert len(description["trust"]["intervals"]["strangeness"]) == len(predictions)
    assert (predictions["lower"] < predictions["concentration"]).all()
    assert (predictions["upper"] > predictions["concentration"]).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["data=csv", "data.table=photos.csv"], "folds"),
        (["data=csv", "data.table=photos.csv", "data.group_column=group"], "folds"),
        (["data=csv", "data.table=photos.csv", "split.column=day", "split.test_values=[tue]"], "auto"),
        (["data=csv", "data.table=photos.csv", "split.folds=5"], "auto"),
        (["data=csv", "data.table=photos.csv", "train.final=part"], "part"),
        (["data=csv", "data.table=photos.csv", "train=instant"], "auto"),
        (TINY, "auto"),
    ],
    ids=["photographs", "specimens", "column", "folds", "asked", "instant", "simulated"],
)
def test_auto_counts_specimens(photos, options, expected):
    assert final._final(load_config(options)) == expected


def test_a_named_test_set_leaves_nothing_for_all(photos, run):
    status, _, err = run(
        "train", *[w for w in ALL if "folds" not in w], "split.column=day", "split.test_values=[tue]", "run=d"
    )
    assert status == 1
    assert "column 'day' names a test set" in err


@pytest.mark.parametrize("command", ["train-classifier", "compare", "learning-curve"])
def test_other_commands_hold_back_a_test_set(photos, run, command):
    status, _, err = run(command, *ALL, "run=e", *(["compare.minutes=null"] if command == "compare" else []))
    assert status == 1
    assert "train.final=all is for twostage train alone" in err


@pytest.mark.slow
def test_fewer_specimens_than_folds_are_each_a_fold(photos, run):
    rows = pd.read_csv("photos.csv")
    rows[rows["group"].isin(["g0", "g4", "g8"])].to_csv("photos.csv", index=False)
    few = [word for word in ALL if not word.startswith(("train.final", "split.folds"))]
    status, out, err = run("train", *few, "run=f")
    assert status == 0, err
    assert "one of 3 folds" in out
    rows[rows["group"] == "g0"].to_csv("photos.csv", index=False)
    status, _, err = run("train", *few, "run=g")
    assert status == 1
    assert "Traceback" not in err
