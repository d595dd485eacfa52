import json
import signal
import subprocess
import sys
import time
from functools import cache

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from helpers import TINY, TINY_TABLE, few, one_line
from PIL import Image

from twostage import load_config
from twostage.errors import ConfigError
from twostage.options.flat import flatten, options_that_count, to_plain
from twostage.options.registry import names_in_group
from twostage.report.search_figure import search_figure
from twostage.run.folder import RunFolder
from twostage.studies import search as searching
from twostage.studies.search_space import open_space
from twostage.studies.trials import Taken, Trials, pruner

SHORT = ["data.count=90", *TINY[1:], "method=direct", "train.epochs=2", "search=own", "runtime.threads=1"]
SPACE = ["train.learning_rate=0.001..0.01", "train.batch_size=8,16"]
SEARCH = ["search", *SHORT, *SPACE, "run=s", "search.trials=3"]
BY_FOLDS = [
    *TINY_TABLE,
    "method=direct",
    "train.epochs=1",
    "search=own",
    "data.group_column=group",
    "runtime.threads=1",
]
BY_FOLDS = ["search", *BY_FOLDS, "train.batch_size=16,8", "run=s", "search.trials=1", "search.folds=2"]


def table_of(folder):
    return pd.read_csv(folder / "trials.csv", dtype={"train.batch_size": str})


@pytest.fixture
def searched(here, once):
    status, out, err = once(*SEARCH)
    assert status == 0, err
    return here / "outputs/s", out, err


def test_a_search_ends_with_a_table_a_picture_and_the_best(searched):
    folder, out, err = searched
    table, found = table_of(folder), json.loads((folder / "search.json").read_text())
    assert sorted(table["trial"]) == [0, 1, 2]
    assert table["rmse"].is_monotonic_increasing
    assert set(table["state"]) == {"finished"}
    best = table.iloc[0]
    assert found["best"] | {"options": None} == {"trial": best["trial"], "rmse": best["rmse"], "options": None}
    for trial, rmse in zip(table["trial"], table["rmse"], strict=True):
        assert f"trial {trial}: RMSE {rmse:.4g}; train.learning_rate=" in err
        metrics = json.loads((folder / f"trial_{trial}" / "metrics.json").read_text())
        assert metrics["rmse_validation"] == rmse
        assert metrics["n_test"] == 0
        assert not (folder / f"trial_{trial}" / "predictions.csv").exists()
    assert f"{best['rmse']:.4g}" in out
    assert min(Image.open(folder / "search.png").size) > 60


def test_the_first_trial_has_the_options_as_they_are(searched):
    folder, out, _ = searched
    first = table_of(folder).set_index("trial").loc[0]
    assert (first["train.learning_rate"], first["train.batch_size"]) == (0.003, "16")
    assert f"The options as they are: {first['rmse']:.4g}" in out


def test_the_best_and_the_usual_options_open_the_test_set_once_each(searched):
    folder, out, _ = searched
    runs = sorted(file.parent.name for file in folder.glob("*/test_openings.json"))
    best = json.loads((folder / "search.json").read_text())["best"]["trial"]
    assert runs == (["default"] if best == 0 else [f"best_{best}", "default"])
    assert pd.read_csv(folder / "splits.csv")["split"].value_counts()["test"] == 12
    for name in runs:
        metrics = json.loads((folder / name / "metrics.json").read_text())
        assert metrics["n_test"] == 12
        assert f"{metrics['rmse']:.4g}" in out


def test_the_best_options_are_a_file_that_train_takes(searched):
    folder, _, _ = searched
    found = yaml.safe_load((folder / "best.yaml").read_text())
    assert not {"run", "search", "runtime.threads"} & set(found)
    best = table_of(folder).iloc[0]
    mine = options_that_count(load_config([f"@{folder}/best.yaml", "run=a"]))
    tried = options_that_count(RunFolder(folder / f"trial_{best['trial']}").saved_config())
    other = {key for key in tried if mine[key] != tried[key]}
    assert other == {"split.sealed", "train.final"}


def test_the_same_command_shows_it_again_and_takes_more_trials(searched, run, quick_space):
    folder, out, _ = searched
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    status, again, _ = run(*SEARCH)
    assert (status, again) == (0, out)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")} == before
    assert run(*SEARCH[:-1], "search.trials=4")[0] == 0
    assert sorted(table_of(folder)["trial"]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["train.epochs=3"], ["train.epochs: 2 -> 3"]),
        (["bins.range=[80,300]"], ["bins.range"]),
        (["train.learning_rate=0.001..0.02"], ["search.space.train.learning_rate: 0.001..0.01 -> 0.001..0.02"]),
        (["image.color=srgb,linear"], ["search.space.image.color: None -> srgb,linear"]),
        (["data.count=95"], ["data.count: 90 -> 95"]),
    ],
)
def test_a_search_of_other_options_is_refused(searched, run, change, words):
    one_line(run(*SEARCH, *change), "other options", "choose another run=NAME", *words)


def test_a_search_goes_into_no_other_folder(searched, run):
    one_line(run("train", *SHORT[:-2], "run=s"), "no run of this command")
    one_line(run("learning-curve", *TINY, "run=s"), "search.json")
    one_line(run("search", *SHORT, *SPACE, "run=s/default"), "results of another command")


@pytest.mark.slow
def test_interrupted_it_ends_as_if_it_never_was(searched, run, quick_space, monkeypatch):
    folder, _, _ = searched
    calls, train = [], searching.train

    def stopped(config, **more):
        calls.append(config.run)
        if len(calls) == 2:
            more["watch"] = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        return train(config, **more)

    again = [word.replace("run=s", "run=t") for word in SEARCH]
    monkeypatch.setattr(searching, "train", stopped)
    status, _, err = run(*again)
    assert status == 130
    assert err.splitlines()[-1] == "twostage: stopped; to go on, give the same command with run=t"
    assert run(*again)[0] == 0
    assert [name.split("/")[-1] for name in calls[:4]] == ["trial_0", "trial_1", "trial_1", "trial_2"]
    mine, other = (table_of(path).drop(columns="seconds") for path in (folder, folder.parent / "t"))
    pd.testing.assert_frame_equal(mine, other)


def test_a_trial_that_fails_or_is_stopped_early_is_not_the_end(here, run, quick_space, monkeypatch):
    train = searching.train

    def fails(config, **more):
        if config.run.endswith("trial_1"):
            raise searching.TrainingError("the loss is nan")
        if config.run.endswith("trial_2"):
            raise optuna.TrialPruned
        return train(config, **more)

    monkeypatch.setattr(searching, "train", fails)
    status, out, err = run(*SEARCH)
    assert status == 0, err
    assert "3 trials (1 finished, 1 failed, 1 stopped early)" in out
    assert "failed (the loss is nan)" in err
    assert "No trial was better than the options as they are" in out
    table = table_of(here / "outputs/s").set_index("trial")
    assert table.loc[1, "why"] == "the loss is nan"
    assert table["rmse"].notna().tolist() == [True, False, False]


def test_where_no_trial_has_finished_one_line_says_so(here, run, quick_space, monkeypatch):
    def fails(config, **more):
        raise searching.TrainingError("the loss is nan")

    monkeypatch.setattr(searching, "train", fails)
    status, _, err = run(*SEARCH)
    assert status == 1
    assert err.splitlines()[-1] == "twostage: none of 3 trials has finished: outputs/s/trials.csv says why"


@pytest.fixture
def quick_space(monkeypatch):
    """The space of SEARCH, which is not tried value by value again."""
    monkeypatch.setattr(searching, "open_space", lambda *_: small_space())


def values_of(command, run):
    status, _, err = run(*command)
    assert status == 0, err
    return pd.read_csv("outputs/s/trials.csv").set_index("trial")["rmse"]


@pytest.mark.slow
def test_few_specimens_are_cross_validated_and_the_test_photographs_change_nothing(photos, run, monkeypatch):
    before = values_of(BY_FOLDS, run)
    splits = pd.read_csv("outputs/s/splits.csv").set_index("image")
    held = splits.index[splits["split"].isin(["test", "calibration"])]
    assert len(held) >= 8
    read = []
    for fold in (0, 1):
        frame = pd.read_csv(f"outputs/s/trial_0/fold_{fold}/predictions.csv")
        read += list(frame["image"])
        assert not (photos / f"outputs/s/trial_0/fold_{fold}/report.html").exists()
    assert sorted(read) == sorted(set(splits.index) - set(held))
    errors = pd.concat([pd.read_csv(f"outputs/s/trial_0/fold_{fold}/predictions.csv") for fold in (0, 1)])
    rmse = np.sqrt(np.mean((errors["concentration"] - errors["target"]) ** 2))
    assert before[0] == pytest.approx(rmse, rel=1e-9)

    table, noise = pd.read_csv("photos.csv").set_index("image"), np.random.default_rng(0)
    for image in held:
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(photos / image)
        table.loc[image, "target"] = round(430 - table.loc[image, "target"], 3)
    table.reset_index().to_csv("photos.csv", index=False)
    one_line_of_change = run(*BY_FOLDS)
    assert one_line_of_change[0] == 1
    assert "other photographs or concentrations" in one_line_of_change[2]
    (photos / "outputs/s").rename(photos / "outputs/before")
    pd.testing.assert_series_equal(values_of(BY_FOLDS, run), before)


@cache
def small_space():
    return space_of(*SHORT, *SPACE)


def space_of(*words):
    words = ["run=s", *words]
    return open_space(load_config(words, "search"), words)


def opened(folder):
    return Trials(RunFolder(folder), small_space(), 0, pruner(True, by_folds=False))


def test_processes_share_the_trials_and_take_over_what_a_dead_one_left(here):
    first, second = opened(here), opened(here)
    with first.taken(3) as a:
        assert (a.number, dict(a.params)) == (0, {"train.learning_rate": 0.003, "train.batch_size": "16"})
        with second.taken(3) as b:
            assert b.number == 1
            drawn = dict(b.params)
            b.judge({3: 1.5})  # and it dies
        with second.taken(3) as again:
            assert (again.number, dict(again.params), again.told) == (1, drawn, {3})
            with first.taken(3) as c, second.taken(3) as d:
                assert c.number == 2
                assert d is None  # three, of all processes together
            again.finish(1.0)
        a.finish(2.0)
    assert (first.done, second.running) == (2, 1)
    assert second.best() == first.best() == (1, 1.0, drawn)


def test_without_time_left_trials_are_ended_and_none_begun(here):
    trials = opened(here)
    with trials.taken(9):
        pass
    with trials.taken(9, new=False) as left:
        assert left.number == 0
        left.finish(1.0)
    with trials.taken(9, new=False) as left:
        assert left is None


def test_what_is_tried_depends_on_the_seed_and_what_is_known_alone(tmp_path):
    drawn = []
    for name, processes in (("a", 1), ("b", 3)):
        (tmp_path / name).mkdir()
        mine = [opened(tmp_path / name) for _ in range(processes)]
        for number in range(14):
            with mine[number % processes].taken(14) as taken:
                taken.finish(abs(np.log(taken.params["train.learning_rate"] / 0.004)))
        drawn.append(mine[0].table())
    pd.testing.assert_frame_equal(*(one.drop(columns="seconds") for one in drawn))
    assert drawn[0]["train.learning_rate"].nunique() == 14


def test_a_line_that_a_full_disk_cut_off_is_no_obstacle(here):
    trials = opened(here)
    with trials.taken(3) as taken:
        taken.finish(1.0)
    with (here / "journal.log").open("a") as file:
        file.write('{"op_code": 6, "worker')
    again = opened(here)
    with again.taken(3) as taken:
        taken.finish(2.0)
    assert opened(here).done == 2
    (here / "journal.log").write_text("nonsense\n" * 2)
    with pytest.raises(searching.RunError, match=r"journal\.log cannot be read"):
        opened(here)


def test_who_is_worse_than_half_of_the_others_after_seven_tenths_of_the_epochs_is_stopped(here):
    trials, epochs = opened(here), np.linspace(2, 1, 20)
    for number in range(8):
        with trials.taken(20) as taken:
            taken.judge_epochs(pd.Series(epochs + 0.01 * number), 1.0)
            taken.finish(1.0)
    with trials.taken(20) as taken:
        worse = pd.Series(epochs + 1)
        taken.judge_epochs(worse[:13], 13 / 20)
        with pytest.raises(optuna.TrialPruned):
            taken.judge_epochs(worse[:14], 14 / 20)
        taken.stop()
    with trials.taken(20) as taken:
        taken.judge_epochs(pd.Series(epochs[1::2] + 0.001), 1.0)  # half as many epochs, as good
        taken.finish(1.0)


def test_by_folds_who_reads_the_same_specimens_worse_is_stopped(here):
    trials = opened(here)
    trials.study.pruner = pruner(True, by_folds=True)
    hard = np.linspace(9, 1, 10)
    with trials.taken(20) as taken:
        for specimen, error in enumerate(hard):
            taken.judge({specimen: error})
        taken.finish(5.0)
    with trials.taken(20) as taken:
        for specimen in range(4):
            taken.judge({specimen: hard[specimen] + 0.1})
        with pytest.raises(optuna.TrialPruned):
            taken.judge({4: hard[4] + 0.1})


@pytest.mark.parametrize("name", few(["quick"], sorted(set(names_in_group("search")) - {"own"})))
def test_every_ready_space_is_allowed_and_has_the_options_as_they_are(here, name):
    space = space_of(f"search={name}", "train.minutes=1")
    assert not space.outside
    both = [flatten(to_plain(space.run(params, "a"))) for params in ({}, space.usual)]
    assert both[0] == both[1]


def test_one_value_on_the_command_line_takes_an_option_out_of_a_ready_space(here):
    space = space_of("search=colors", "augment.exposure=0.02", "train.learning_rate=0.01", "image.color=srgb,linear")
    assert set(space.values) == {"image.color", "augment.white_balance"}
    assert space.values["image.color"] == ("srgb", "linear")
    assert space.outside == ["image.color"]
    assert space.run(space.usual, "a").augment.exposure == 0.02


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["nothing to search", "bins.count=4..12"]),
        (["train.learing_rate=0.001..0.01"], ["unknown option", "train.learning_rate"]),
        (["train.learning_rate=0.01..0.001"], ["empty range"]),
        (["bins.count=4..4"], ["empty range"]),
        (["bins.count=0..12"], ["bins.count=0 is out of range", "1..1000"]),
        (["train.learning_rate=0.001..20"], ["out of range", "10"]),
        (["bins.count=4.5..12"], ["bins.count", "wrong type"]),
        (["image.color=1..3"], ["image.color=1 is not known"]),
        (["train.refit=0..1"], ["train.refit is no number", "train.refit=A,B"]),
        (["image.color=srgb,lienar"], ["image.color=lienar", "linear"]),
        (["image.color=srgb,srgb"], ["none of them empty or twice"]),
        (["backbone=compact,compcat"], ["compcat"]),
        (["seed=0,1"], ["seed", "measured alike"]),
        (["split.test=0.1..0.2"], ["split.test", "measured alike"]),
        (["data=simulated,scenes"], ["data", "measured alike"]),
        (["experiment=smoke,assay_500"], ["experiment=smoke", "it changes data.count"]),
        (["train.final=part,all"], ["train.final", "measured alike"]),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(here, options, words):
    with pytest.raises(ConfigError) as refused:
        space_of("search=own", *options)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["bins.count=12..4"], ["empty range"]),
        (["bins.cuont=4..12"], ["did you mean bins.count?"]),
        (["search.space.bins.count=4..12"], ["write bins.count=4..12"]),
        (["bins.count=4..12", "-m"], ["leave -m out"]),
        (["bins.count=4..12", "split.folds=5"], ["search.folds"]),
        (["bins.count=4..12", "train.final=all"], ["train.final=all"]),
        (["bins.count=4..12", "split.test=0"], ["split.test=0"]),
        (["bins.count=4..12", "search.trials=0"], ["search.trials=0"]),
        (["search=quik"], ["quick"]),
        (["@nothing.yaml"], ["@nothing.yaml cannot be read"]),
    ],
)
def test_mistakes_get_one_line(here, run, options, words):
    one_line(run("search", *TINY[:2], "search=own", "run=s", *options), *words)
    assert not (here / "outputs/s").exists()


def test_without_optuna_one_line_names_the_extra(here, run, monkeypatch):
    monkeypatch.delitem(sys.modules, "twostage.studies.trials")
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delattr("twostage.studies.trials", raising=False)
    one_line(run(*SEARCH), "search needs optuna: pip install 'twostage[search]'")


def test_torchrun_is_refused(here, run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("twostage.studies.folder.join_processes", lambda: None)
    one_line(run(*SEARCH), "several times")


def test_the_picture_shows_options_of_either_kind(drawn):
    rng = np.random.default_rng(0)
    trials = pd.DataFrame({"trial": range(20), "rmse": rng.uniform(1, 9, 20)})
    trials["rmse"] = trials["rmse"].where(trials["trial"] % 5 > 0)
    trials["a"], trials["b"] = rng.uniform(1, 100, 20).astype(str), rng.choice(["x", "y$z$"], 20)
    for shares in ({"a": 0.7, "b": 0.3}, {}):
        png = search_figure(trials, {"a": (), "b": ("y$z$", "x")}, ["a"], shares, "mg/L")
        assert png.startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_end_one_search(here):
    command = [sys.executable, "-m", "twostage", *SEARCH[:-1], "search.trials=6", "train.epochs=40"]
    first, second = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    )
    end = time.monotonic() + 300
    while not list((here / "outputs").glob("s/trial_1/regressor/history.csv")):
        assert time.monotonic() < end
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    out, err = second.communicate(timeout=300)
    first.wait()
    assert second.returncode == 0, err
    assert sorted(table_of(here / "outputs/s")["trial"]) == list(range(6))
    assert "6 trials" in out


def test_a_checkpoint_within_the_first_epoch_judges_nothing():
    taken = object.__new__(Taken)
    taken.judge_epochs(pd.Series([], dtype=float), 0.0)
