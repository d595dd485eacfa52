import json

import numpy as np
import pandas as pd
import pytest
from helpers import SHARED, TINY_TABLE, one_line
from scipy.stats import norm

from twostage import load_config
from twostage.data.splits import split_table
from twostage.evaluation.confidence import rmse_interval
from twostage.studies.cross_validation import _metrics
from twostage.tables.table import Table

CROSS = [*TINY_TABLE, "train.epochs=2", "data.group_column=group", "split.folds=3", "run=cv"]


def parts_of(groups, folds, count=60):
    targets = np.random.default_rng(0).uniform(80, 350, count)
    table = Table([f"{i}" for i in range(count)], [], targets, groups)
    options = {"validation": 0.1, "calibration": 0.1, "test": 0.1, "seed": 3, "folds": folds}
    return targets, [split_table(table, **options, fold=fold) for fold in range(folds)]


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_hold_every_photograph_once_in_a_test_set(grouped):
    groups = np.array([f"g{i // 3}" for i in range(60)]) if grouped else None
    targets, parts = parts_of(groups, 4)
    tests = np.array([part == "test" for part in parts])
    assert (tests.sum(0) == 1).all()
    for test in tests:
        assert abs(targets[test].mean() - targets.mean()) < 30  # concentrations of all kinds: the spread is 78
        if grouped:
            assert not set(groups[test]) & set(groups[~test])
    assert all((part == "train").sum() > 25 for part in parts)


def test_the_interval_of_an_rmse_is_that_of_its_groups():
    rng = np.random.default_rng(0)
    error = rng.normal(size=2000)
    low, high = rmse_interval(error)
    # the RMSE of n normal errors is itself normal with a standard deviation of 1 / sqrt(2 n)
    half = norm.ppf(0.975) / np.sqrt(2 * 2000)
    assert (low, high) == pytest.approx(
        (np.sqrt(np.mean(error**2)) - half, np.sqrt(np.mean(error**2)) + half), abs=0.01
    )
    shots = np.repeat(rng.normal(size=50), 40)  # 40 photographs of each specimen err alike
    low, high = rmse_interval(shots, np.repeat(np.arange(50), 40))
    assert (high - low) > 4 * np.diff(rmse_interval(shots))[0]
    assert np.isnan(rmse_interval(error, np.zeros(2000))).all()


def test_crossval_reads_every_photograph_once_and_goes_on_where_it_stopped(photos, run):
    status, out, err = run("crossval", *CROSS)
    assert status == 0, err
    folder = photos / "outputs/cv"
    predictions, metrics = pd.read_csv(folder / "predictions.csv"), json.loads((folder / "metrics.json").read_text())
    table = pd.read_csv(photos / "photos.csv")
    assert predictions["image"].tolist() == table["image"].tolist()
    assert predictions["group"].tolist() == table["group"].tolist()
    assert predictions.groupby("group")["fold"].nunique().eq(1).all()
    error = predictions["concentration"] - predictions["target"]
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert metrics["rmse_low_95"] < metrics["rmse"] < metrics["rmse_high_95"]
    assert f"{metrics['rmse']:.4g}" in out
    written = (folder / "fold_0/model/regressor.safetensors").stat().st_mtime_ns
    before = (folder / "predictions.csv").read_bytes()
    for name in ("metrics.json", "predictions.csv", "fold_2/metrics.json", "fold_2/predictions.csv"):
        (folder / name).unlink()  # as if it had been killed in the evaluation of the last fold
    assert run("crossval", *CROSS)[0] == 0
    assert (folder / "predictions.csv").read_bytes() == before
    assert (folder / "fold_0/model/regressor.safetensors").stat().st_mtime_ns == written


def test_a_fold_counts_as_often_as_it_has_photographs_that_were_read():
    columns = {"status": ["ok"] * 4 + ["refused"], "target": 1.0, "concentration": [2.0, 3.0, 1.0, 1.0, np.nan]}
    names = ("rmse", "rmse_mixture", "rmse_argmax", "rmse_oracle", "rmse_colour_baseline", "rmse_mean_baseline")
    folds = [
        {"n_test": count, "n_refused": refused, "train_seconds": 1.0, **dict.fromkeys(names, value)}
        for count, refused, value in ((3, 0, 2.0), (2, 1, 6.0))
    ]
    found = _metrics(pd.DataFrame(columns), folds, load_config(["run=a"]))
    assert found["rmse_oracle"] == pytest.approx(np.sqrt((3 * 2**2 + 6**2) / 4))
    assert found["rmse"] == pytest.approx(np.sqrt((1 + 4) / 4))
    assert (found["n"], found["n_refused"], found["train_seconds"]) == (5, 1, 2.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["split.folds=20"], ["10 groups", "at most 10"]),
        (["split.fold=3"], ["split.fold=3", "split.folds=3"]),
        (["split.column=day", "split.test_values=[tue]"], ["give one of them"]),
    ],
)
def test_folds_that_cannot_be_get_one_line(photos, run, options, words):
    status, out, err = run("crossval", *CROSS, *options)
    one_line((status, out, err.removeprefix("fold 1 of 20\n")), *words)


@pytest.mark.parametrize("option", ["split.column=day", "data.split_column=day", "split.fold=1"])
def test_a_test_set_of_its_own_does_not_go_with_all_folds(photos, run, option):
    common = [text for text in CROSS if option == "split.fold=1" or "folds" not in text]
    one_line(run("crossval", *common, option), "all folds", option.split("=")[1])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photographs are not beside this checkout")
def test_nitrite_by_group_has_the_known_baseline(here, nitrite, run):
    status, _, err = run(
        "crossval",
        *nitrite,
        "data.group_column=group",
        "run=n",
        "train.epochs=2",
        "image.size=32",
        "combine.views=1",
        "runtime.progress=false",
    )
    assert status == 0, err
    metrics = json.loads((here / "outputs/n/metrics.json").read_text())
    assert 6 < metrics["rmse_colour_baseline"] < 13  # known: about 9 ug/L with specimens left out


@pytest.mark.slow
def test_on_a_logarithmic_scale_figures_are_in_the_unit_and_in_decades(photos, run):
    status, out, err = run("crossval", *CROSS, "data.scale=log", "split.folds=2", "data.unit=mg/L")
    assert status == 0, err
    folder = photos / "outputs/cv"
    read, metrics = pd.read_csv(folder / "predictions.csv"), json.loads((folder / "metrics.json").read_text())
    decades = np.log10(read["concentration"] / read["target"])
    assert metrics["rmse"] == pytest.approx(np.sqrt(((read["concentration"] - read["target"]) ** 2).mean()))
    assert metrics["rmse_decades"] == pytest.approx(np.sqrt((decades**2).mean()))
    assert metrics["rmse_low_95"] <= metrics["rmse_decades"] <= metrics["rmse_high_95"]
    assert (metrics["unit"], metrics["error_unit"]) == ("mg/L", "decades")
    assert f"{metrics['rmse_decades']:.4g} decades" in out
