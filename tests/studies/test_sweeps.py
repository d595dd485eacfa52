import json

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE
from hydra import compose, initialize_config_dir
from scipy.stats import sem

from twostage import load_config
from twostage.options.flat import flatten, to_plain
from twostage.options.registry import conf_dir, register_schemas
from twostage.studies.sweep import leaderboard, seed_summary

SHORT = [*TINY, "train.epochs=2", "method=direct"]
SWEEPS = sorted(path.stem for path in (conf_dir() / "sweep").glob("*.yaml"))


def values_of(sweep):
    """What `twostage train -m sweep=NAME` goes through: {option: values}."""
    register_schemas()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("config", [f"sweep={sweep}"], return_hydra_config=True)
    return {key: str(values).split(",") for key, values in composed.hydra.sweeper.params.items()}


def test_there_is_a_sweep_for_each_choice():
    expected = {"augment", "backbones", "batch_size", "bins", "colors", "overlap", "resolution", "warm_start"}
    assert expected <= set(SWEEPS)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_value_of_every_sweep_is_allowed_and_changes_something(sweep):
    values = values_of(sweep)
    seen, budgets = [], set()
    first = {key: chosen[0] for key, chosen in values.items()}
    others = [first | {key: value} for key, chosen in values.items() for value in chosen[1:]]
    for chosen in (first, *others):
        overrides = [f"{key}={value}" for key, value in chosen.items()]
        config = load_config([f"sweep={sweep}", "run=a", *overrides])
        budgets.add((config.train.minutes, config.train.epochs))
        seen.append(str(flatten(to_plain(config))))
    assert len(set(seen)) == len(seen)
    assert len(budgets) == 1
    if sweep != "smoke":
        assert len(values["seed"]) > 1
    if sweep in ("backbones", "batch_size", "colors", "resolution"):  # of which some values cost more per image
        assert budgets.pop()[0]


def written(folder, runs):
    for i, (rmse, options) in enumerate(runs):
        (folder / str(i)).mkdir()
        content = {"rmse_validation": rmse, "rmse": 3 - rmse, "mae": 1.0, "train_seconds": 2.0}
        content["options"] = {"image.size": 64, **options}
        (folder / str(i) / "metrics.json").write_text(json.dumps(content))
    return leaderboard(folder)


def test_the_best_run_of_a_sweep_comes_first(tmp_path):
    table = written(tmp_path, [(value, {"seed": i}) for i, value in enumerate([2.0, 1.0, 3.0])])
    assert table["rmse_validation"].tolist() == [1, 2, 3]
    assert table["run"].tolist() == ["1", "0", "2"]
    assert "image.size" not in table  # it is the same for all


def test_the_seeds_of_a_setting_are_one_row_of_the_summary(tmp_path):
    few, many = [0.5, 0.9, 0.7], [0.6, 0.65, 0.63]
    runs = [(value, {"bins.edges": [1, 2], "seed": i}) for i, value in enumerate(few)]
    runs += [(value, {"bins.edges": [1, 2, 3], "seed": i}) for i, value in enumerate(many)]
    table = written(tmp_path, runs)
    found = seed_summary(table)
    assert list(found.columns) == ["bins.edges", "rmse_validation", "standard_error", "n", "rmse"]
    assert found["bins.edges"].tolist() == ["[1, 2, 3]", "[1, 2]"]  # best first
    assert found["rmse_validation"].tolist() == pytest.approx([np.mean(many), np.mean(few)])
    assert found["rmse"].tolist() == pytest.approx([3 - np.mean(many), 3 - np.mean(few)])
    assert found["standard_error"].tolist() == pytest.approx([sem(many), sem(few)])
    assert found["n"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("runs", "rows"),
    [
        ([(1.0, {"bins.count": 3, "seed": 1}), (2.0, {"bins.count": 4, "seed": 1})], 0),
        ([(1.0, {"seed": 1}), (2.0, {"seed": 2})], 1),
        ([(1.0, {"seed": 1})], 0),
        ([(1.0, {"bins.edges": None, "seed": 1}), (2.0, {"bins.edges": [1, 2], "seed": 2})], 2),
    ],
)
def test_the_summary_has_a_row_per_setting_and_none_for_one_seed(tmp_path, runs, rows):
    found = seed_summary(written(tmp_path, runs))
    assert len(found) == rows
    if rows == 1:
        assert found.loc[0].to_dict() == pytest.approx(
            {"rmse_validation": 1.5, "standard_error": 0.5, "n": 2, "rmse": 1.5}
        )


@pytest.mark.slow
def test_a_sweep_is_ranked_by_validation_and_says_how_often_the_test_set_was_opened(photos, run):
    options = [*TINY_TABLE, "train.epochs=2", "method=direct", "start=none", "run=s"]
    status, out, err = run("train", "-m", *options, "backbone=compact,vgg")
    assert status == 0, err
    table = pd.read_csv(photos / "outputs/s/leaderboard.csv", dtype={"run": str})
    assert list(table.columns[:2]) == ["run", "rmse_validation"]
    assert table["rmse_validation"].is_monotonic_increasing
    assert table["n_test_openings_in_sweep"].tolist() == [2, 2]
    assert "The test set was opened 2 times in this sweep: choose by rmse_validation" in out
    first, second = (json.loads((photos / f"outputs/s/{i}/metrics.json").read_text()) for i in (0, 1))
    assert [metrics["n_test_openings_of_others"] for metrics in (first, second)] == [0, 1]
    (photos / "outputs/s/0/test_openings.json").write_text("damaged")
    assert len(leaderboard(photos / "outputs/s")) == 2


def test_runs_that_have_no_error_on_validation_come_last(tmp_path):
    written(tmp_path, [(0.5, {"a": 1}), (0.3, {"a": 2}), (0.4, {"a": 3})])
    for i, content in (("1", {"rmse_validation": None}), ("2", {})):
        metrics = json.loads((tmp_path / i / "metrics.json").read_text())
        del metrics["rmse_validation"]
        (tmp_path / i / "metrics.json").write_text(json.dumps(metrics | content))
    assert leaderboard(tmp_path)["run"].tolist() == ["0", "1", "2"]


def test_a_sweep_over_seeds_prints_and_saves_both_tables(here, run):
    status, out, err = run("train", "-m", *SHORT, "bins.count=2,3", "seed=0,1", "run=s")
    assert status == 0, err
    runs, summary = (pd.read_csv(here / f"outputs/s/{name}.csv") for name in ("leaderboard", "summary"))
    assert len(runs) == 4
    assert summary["n"].tolist() == [2, 2]
    for figure in ("rmse_validation", "rmse"):
        by_hand = runs.groupby("bins.count")[figure].mean()
        assert summary[figure].tolist() == pytest.approx(by_hand[summary["bins.count"]].tolist())
    assert summary["rmse_validation"].is_monotonic_increasing
    assert "Mean over the seeds, best rmse_validation first (outputs/s/summary.csv)" in out
    assert "2 test sets were opened 4 times in this sweep, the same one up to 2" in out


@pytest.mark.slow
def test_a_sweep_of_cross_validations_has_its_table(photos, run):
    options = [*TINY_TABLE, *SHORT[-2:], "data.group_column=group", "split.folds=2", "start=none", "run=cvs"]
    status, out, err = run("crossval", "-m", *options, "bins.count=2,3")
    assert status == 0, err
    table = pd.read_csv(photos / "outputs/cvs/leaderboard.csv", dtype={"run": str})
    assert set(table["bins.count"]) == {2, 3}
    for row in table.itertuples():
        metrics = json.loads((photos / "outputs/cvs" / row.run / "metrics.json").read_text())
        assert metrics["rmse"] == pytest.approx(row.rmse)
        assert metrics["n"] == 40
        assert metrics["rmse_validation"] == pytest.approx(row.rmse_validation)
        folds = [json.loads(file.read_text()) for file in (photos / f"outputs/cvs/{row.run}").glob("*/metrics.json")]
        squares = [fold["n_validation"] * fold["rmse_validation"] ** 2 for fold in folds]
        total = sum(fold["n_validation"] for fold in folds)
        assert metrics["rmse_validation"] == pytest.approx(np.sqrt(sum(squares) / total))
        assert row.n_test_openings_in_sweep == 2
    assert table["rmse_validation"].is_monotonic_increasing
    assert "The sweep so far" in out


def test_a_sweep_is_ranked_by_decades_where_all_runs_have_them(tmp_path):
    for k, (unit, decades) in enumerate([(9.0, 0.1), (1.0, 0.2)]):
        metrics = {"rmse_validation": unit, "rmse_validation_decades": decades, "rmse": 1.0, "options": {"seed": k}}
        (tmp_path / str(k)).mkdir()
        (tmp_path / str(k) / "metrics.json").write_text(json.dumps(metrics))
    assert leaderboard(tmp_path)["run"].tolist() == ["0", "1"]
    (tmp_path / "2").mkdir()
    (tmp_path / "2/metrics.json").write_text(json.dumps({"rmse_validation": 4.0, "rmse": 1.0, "options": {"seed": 2}}))
    assert leaderboard(tmp_path)["run"].tolist() == ["1", "2", "0"]  # decades are no units
