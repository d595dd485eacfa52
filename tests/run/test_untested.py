"""A run without a test set: all photographs make the model, and it says that nothing has tested it."""

import json

import numpy as np
import pytest
from helpers import TINY, TINY_TABLE, one_line

from twostage import Predictor, load_config
from twostage.run.folder import RunFolder

UNTESTED = "no test set (split.test=0)"


def test_all_photographs_make_the_model_and_nothing_is_said_to_be_known(here, once, run):
    status, out, err = once("train", *TINY, "split.test=0", "run=a")
    assert status == 0, err
    assert "No test set" in out
    assert UNTESTED in out
    metrics = json.loads((here / "outputs/a/metrics.json").read_text())
    assert metrics["n_train"] + metrics["n_validation"] + metrics["n_calibration"] == 60
    assert metrics["n_test"] == 0
    assert metrics["rmse_validation"] > 0
    assert "rmse" not in metrics
    for name in ("report.html", "predictions.csv", "test_openings.json"):
        assert not (here / "outputs/a" / name).exists()
    assert any(UNTESTED in remark for remark in Predictor.load("outputs/a").model.remarks)
    card = (here / "outputs/a/MODEL_CARD.md").read_text()
    assert "No test set (split.test=0)" in card
    assert "not known here" not in card
    before = (here / "outputs/a/model/regressor.safetensors").read_bytes()
    for command in (["train", *TINY, "split.test=0", "run=a"], ["evaluate", "run=a"]):
        assert run(*command)[:2] == (0, out)
    assert (here / "outputs/a/model/regressor.safetensors").read_bytes() == before


def test_stage_by_stage_is_the_same(here, once, run):
    once("train", *TINY, "split.test=0", "run=a")
    assert run("train-classifier", *TINY, "split.test=0", "run=b")[0] == 0
    assert run("train-regressor", "run=b")[0] == 0
    assert run("evaluate", "run=b")[0] == 0
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    ours, theirs = (Predictor.load(f"outputs/{name}").predict(pixels).concentration for name in "ab")
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_sweep_without_test_sets_is_ranked_by_validation(here, run):
    status, out, err = run("train", "-m", *TINY, "split.test=0", "run=s", "seed=0,1")
    assert status == 0, err
    assert "best rmse_validation first" in out
    assert "No test set was opened in this sweep" in out


@pytest.mark.parametrize("command", ["compare", "learning-curve"])
def test_who_judges_by_a_test_set_needs_one(here, run, command):
    one_line(run(command, "data.count=60", "split.test=0", "run=c"), command, "split.test=0", "give a share")


def test_crossval_needs_none(photos, run):
    status, out, err = run("crossval", *TINY_TABLE, "split.test=0", "split.folds=2", "train.epochs=2", "run=c")
    assert status == 0, err
    assert "RMSE" in out


def test_a_column_names_a_test_set_all_the_same(photos, run):
    chosen = ["split.test=0", "split.column=day", "split.test_values=[tue]"]
    assert run("train", *TINY_TABLE, *chosen, "run=d")[0] == 0
    assert json.loads((photos / "outputs/d/metrics.json").read_text())["n_test"] == 12


@pytest.mark.parametrize(("folder", "found"), [("outputs/a", True), ("kept/a", True), (".hidden/a", False)])
def test_latest_leads_to_no_hidden_folder(here, folder, found):
    RunFolder.named(folder if folder.startswith("outputs") else str(here / folder)).begin(load_config(["run=a"]))
    assert (here / "outputs/latest").is_symlink() is found


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ([], False),
        (["runtime.precision=float32"], False),
        (["runtime.precision=bfloat16"], True),
        (["train.epochs=100"], True),
        (["train.epochs=null", "train.minutes=0.02"], True),
    ],
)
def test_a_short_training_is_not_measured(here, run, monkeypatch, options, measured):
    seen = []

    def noted(*_):
        seen.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr("twostage.run.stage.choose_plan", noted)
    run("train", *TINY, "classifier.share=0.9", "run=a", *options)
    assert bool(seen) is measured
