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
from twostage.studies.final import takes_all, train

ALL = [*TINY_TABLE[:-1], "train.final=all", "data.group_column=group", "split.folds=3", "split.duplicates=ignore"]


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


def test_the_model_has_learned_from_all(trained):
    outputs, _ = trained
    assert set(pd.read_csv(outputs / "a" / "splits.csv")["split"]) == {"train", "validation"}
    assert Predictor.load(outputs / "a").predict(["p00.png"]).is_read.all()
    assert Predictor.load(outputs / "latest").model.description["n_train"] == 40


def test_the_same_command_shows_it_again_and_evaluate_too(trained, run):
    outputs, out = trained
    before = {file: file.stat().st_mtime_ns for file in outputs.rglob("*.safetensors")}
    for command in (["train", *ALL, "run=a"], ["evaluate", "run=a"]):
        status, again, _ = run(*command)
        assert status == 0
        assert again == out
    assert {file: file.stat().st_mtime_ns for file in outputs.rglob("*.safetensors")} == before


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


def test_intervals_come_of_the_folds(photos, run):
    assert run("train", *ALL, "run=c", "intervals.method=conformal")[0] == 0
    description = json.loads((photos / "outputs" / "c" / "model" / "model.json").read_text())
    assert description["intervals"]["method"] == "conformal"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["data=csv", "data.table=photos.csv"], "all"),
        (["data=csv", "data.table=photos.csv", "data.group_column=group"], "all"),
        (["data=csv", "data.table=photos.csv", "split.column=day", "split.test_values=[tue]"], "part"),
        (["data=csv", "data.table=photos.csv", "split.folds=5"], "part"),
        (["data=csv", "data.table=photos.csv", "train.final=part"], "part"),
        (["data=csv", "data.table=photos.csv", "train=instant"], "part"),
        (TINY, "part"),
    ],
    ids=["photographs", "specimens", "column", "folds", "asked", "instant", "simulated"],
)
def test_auto_counts_specimens(photos, options, expected):
    assert takes_all(load_config(options)) == (expected == "all")


def test_a_named_test_set_leaves_nothing_for_all(photos, run):
    status, _, err = run("train", *ALL[:-2], "split.column=day", "split.test_values=[tue]", "run=d")
    assert status == 1
    assert "column 'day' names a test set" in err
