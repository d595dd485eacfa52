import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pandas as pd
import pytest
from filelock import FileLock
from helpers import TINY, TINY_TABLE, few, one_line
from PIL import Image

from twostage.run.folder import RunFolder

COLUMNS = "image,concentration,lower,upper,bin_index,bin_low,bin_high,bin_probability,status,reason"
METRICS = (
    "n_train n_validation n_calibration n_test unit rmse mae r2 bias max_abs_error rmse_argmax rmse_mixture "
    "rmse_oracle bin_accuracy coverage_90 interval_width_90 n_refused parameters train_seconds images_per_second"
)


def test_train_leaves_the_run_folder_that_the_design_promises(here, drawn, run):
    status, out, err = run("train", *TINY, "run=a")
    assert status == 0, err
    folder = here / "outputs" / "a"
    for name in (
        "config.yaml splits.csv metrics.json predictions.csv classifier/history.csv regressor/history.csv "
        "model/model.json model/classifier.safetensors model/regressor.safetensors "
        "figures/predicted_against_measured.png report.html MODEL_CARD.md"
    ).split():
        assert (folder / name).is_file(), name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(METRICS.split()) <= set(metrics)
    assert f"{metrics['rmse']:.4g}" in out
    predictions = pd.read_csv(folder / "predictions.csv")
    assert list(predictions.columns) == [*COLUMNS.split(",")[:1], "target", *COLUMNS.split(",")[1:]]
    error = predictions["concentration"] - predictions["target"]
    assert (error**2).mean() ** 0.5 == pytest.approx(metrics["rmse"])
    assert (here / "outputs" / "latest").resolve() == folder.resolve()
    assert not list(folder.rglob("*.tmp"))


def test_stage_by_stage_equals_the_whole(here, once, run):
    assert once("train", *TINY, "run=a")[0] == 0
    assert run("train-classifier", *TINY, "run=parts")[0] == 0
    assert not (here / "outputs/parts/model/regressor.safetensors").exists()
    assert run("train-regressor", *TINY, "run=parts")[0] == 0
    # the last stage may also be told nothing but the run
    assert run("evaluate", "run=parts")[0] == 0
    for name in ("classifier", "regressor"):
        whole, parts = (here / f"outputs/{r}/model/{name}.safetensors" for r in ("a", "parts"))
        assert whole.read_bytes() == parts.read_bytes()
    whole, parts = (json.loads((here / f"outputs/{r}/metrics.json").read_text()) for r in ("a", "parts"))
    assert whole["rmse"] == parts["rmse"]


def test_a_finished_run_returns_at_once_and_other_options_are_refused(here, once, run):
    once("train", *TINY, "run=a")
    before = (here / "outputs/a/metrics.json").stat().st_mtime_ns
    status, out, err = run("train", *TINY, "run=a")
    assert status == 0
    assert "finished" in err
    assert "RMSE" in out
    assert (here / "outputs/a/metrics.json").stat().st_mtime_ns == before
    one_line(run("train", *TINY, "run=a", "bins.count=4"), "bins.count: 3 -> 4", "another run")
    one_line(run("evaluate", *TINY, "run=a", "seed=7"), "seed: 0 -> 7")
    assert run("train", *TINY, "run=a", "runtime.threads=1")[0] == 0  # how it runs does not count


def test_deleted_weights_are_made_again(here, once, run):
    once("train", *TINY, "run=a")
    model, predictions = here / "outputs/a/model", here / "outputs/a/predictions.csv"
    before = [(model / "classifier.safetensors").read_bytes(), predictions.read_bytes()]
    (model / "classifier.safetensors").write_bytes(before[0][:-5])
    one_line(run("predict", "run=a", "input=."), "damaged weights", "delete this file", "the run's command again")
    (model / "classifier.safetensors").unlink()
    assert run("train", *TINY, "run=a")[0] == 0
    assert [(model / "classifier.safetensors").read_bytes(), predictions.read_bytes()] == before


def test_a_run_that_is_held_is_known_before_anything_is_decoded(here, once, run, monkeypatch):
    assert once("train-classifier", *TINY, "run=a")[0] == 0
    monkeypatch.setattr("twostage.orchestrator.prepare", lambda *_: pytest.fail("prepared"))
    with FileLock(here / "outputs/a/.lock"):
        one_line(run("train", *TINY, "run=a"), "another process is at work")


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_gets_one_line(here, run, monkeypatch):
    write, full = tempfile.mkstemp, []

    def limited(**where):
        if where["prefix"] == f".{full[-1]}.":
            raise OSError(28, "No space left on device")
        return write(**where)

    monkeypatch.setattr("tempfile.mkstemp", limited)
    for name in ("predicted_against_measured.png", "report.html", "leaderboard.csv"):
        full.append(name)
        status, _, err = run("train", "-m", *TINY, "seed=1", "run=s")  # goes on where it was stopped
        one_line((status, "", err.splitlines(keepends=True)[-1]), name, "No space left on device")


def test_a_mistake_does_not_use_up_the_name_of_a_run(photos, run):
    one_line(run("train", *TINY_TABLE, "run=a", "data.target_column=nope"), "nope")
    assert not (photos / "outputs").exists()
    assert run("train-classifier", *TINY_TABLE, "run=a")[0] == 0


def test_a_table_that_changed_between_the_stages_is_refused(photos, once, run):
    assert once("train-classifier", *TINY_TABLE, "data.group_column=group", "run=a")[0] == 0
    text = (photos / "photos.csv").read_text().splitlines()
    (photos / "photos.csv").write_text("\n".join(text[:-1]) + "\n")
    one_line(run("train-regressor", "run=a"), "changed", "p39.png (no longer there)", "another run", "resume=force")
    text[5] = text[5].replace("p04.png,", "p04.png,1")
    (photos / "photos.csv").write_text("\n".join(text) + "\n")
    one_line(run("train-regressor", "run=a"), "p04.png (target ", "resume=force")


def test_a_photograph_that_changed_between_the_stages_is_refused_by_name(photos, once, run):
    assert once("train-classifier", *TINY_TABLE, "run=a")[0] == 0
    Image.open(photos / "p07.png").rotate(3).save(photos / "p07.png")
    one_line(run("train-regressor", "run=a"), "p07.png (content ", "resume=force")
    status, _, err = run("train-regressor", "run=a", "resume=force")
    assert status == 0
    assert "p07.png" in err


@pytest.mark.slow
def test_other_options_can_be_forced_on_a_run_that_is_not_finished(here, once, run):
    assert once("train-classifier", *TINY, "run=a")[0] == 0
    one_line(run("train", *TINY, "run=a", "train.batch_size=8"), "train.batch_size: 16 -> 8", "resume=force")
    status, _, err = run("train", *TINY, "run=a", "train.batch_size=8", "resume=force")
    assert status == 0
    assert "train.batch_size: 16 -> 8" in err
    assert json.loads((here / "outputs/a/metrics.json").read_text())["options"]["train.batch_size"] == 8
    one_line(run("train", *TINY, "run=a", "resume=force"), "is finished, with other options")


@pytest.mark.parametrize(
    "other",
    few(
        ["bins.count=2", "pooling=mean", "method=direct"],
        [
            "bins.count=2",
            "image.color=srgb",
            "pooling=mean",
            "backbone.widths=[8,8,8,8,8,8]",
            "classifier.smoothing=0.5",
            "method=direct",
            "bins.range=[80,400]",
        ],
    ),
)
def test_what_the_networks_are_and_mean_cannot_be_forced(here, once, run, other):
    saved = here / "outputs/a/config.yaml"
    assert once("train-classifier", *TINY, "run=a")[0] == 0
    before = saved.read_bytes()
    options = [*TINY, "run=a", "resume=force", other]
    status, out, err = run("train", *options)
    one_line((status, out, err), other.split("=")[0], "another run=NAME")
    assert "resume=force" not in err
    assert saved.read_bytes() == before


def test_photographs_that_move_the_bins_cannot_be_forced(photos, run):
    options = [*TINY_TABLE, "run=a", "bins.range=null"]
    assert run("train-classifier", *options)[0] == 0
    before = (photos / "outputs/a/splits.csv").read_bytes()
    text = (photos / "photos.csv").read_text().splitlines()
    rows = [line.replace(".png,", ".png,1") if line.startswith("p") else line for line in text]
    (photos / "photos.csv").write_text("\n".join(rows) + "\n")
    one_line(run("train", *options, "resume=force"), "move the edges of the bins", "another run=NAME")
    assert (photos / "outputs/a/splits.csv").read_bytes() == before


@pytest.mark.slow
def test_another_precision_is_another_run(here, run):
    assert run("train-classifier", *TINY, "run=a", "runtime.precision=bfloat16")[0] == 0
    shutil.rmtree(here / "outputs/a/model")
    status, _, err = run("train-classifier", *TINY, "run=a", "runtime.precision=float32")
    assert status == 1
    assert "begun with runtime.precision=bfloat16, now it is float32" in err.splitlines()[-1]
    assert run("train", *TINY, "run=a")[0] == 0  # auto keeps what the run began with
    assert json.loads((here / "outputs/a/metrics.json").read_text())["plan"]["classifier"].startswith("bfloat16")


def test_a_run_is_held_by_one_process_at_a_time(here, run):
    with RunFolder(here / "outputs" / "a").held():
        one_line(run("train", *TINY, "run=a"), "another process is at work on run 'a'", "run=NAME")
    assert run("train-classifier", *TINY, "run=a")[0] == 0


def test_a_store_and_a_checkpoint_that_were_damaged_are_made_good(here, once, run):
    assert once("train", *TINY, "run=a")[0] == 0
    weights = here / "outputs/a/model/regressor.safetensors"
    before = weights.read_bytes()
    for file in (*here.glob("outputs/.cache/*/pixels.npy"), here / "outputs/a/regressor/last.pt"):
        file.write_bytes(file.read_bytes()[:-100])
    for name in ("metrics.json", "model/regressor.safetensors"):
        (here / "outputs/a" / name).unlink()
    status, _, err = run("train", *TINY, "run=a")
    assert status == 0
    assert "is damaged: its photographs were decoded again" in err
    assert "last.pt is damaged" in err
    assert weights.read_bytes() == before


def test_where_the_photographs_are_is_said(photos, run):
    _, _, err = run("train-classifier", *TINY_TABLE, "run=a", "runtime.cache_dir=my cache")
    (pixels,) = photos.glob("my cache/*/pixels.npy")
    assert f"photographs: 40 at 32x32 pixels in my cache/{pixels.parent.name} (0.1 MB" in err
    assert not (photos / "outputs/.cache").exists()
    one_line(run("train", *TINY_TABLE, "run=b", "runtime.cache_dir=photos.csv"), "runtime.cache_dir=photos.csv")


def when_it_has(path, command, number, wait=90.0):
    """Start a program, send it a signal when a file is there; returns its exit status and standard error."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    end = time.monotonic() + wait
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_asked_to_stop_saves_and_says_how_to_go_on(here, once, run, number):
    options = [*TINY, "train.epochs=60", "runtime.precision=float32", "runtime.threads=1"]
    assert once("train", *options, "run=whole")[0] == 0
    command = [sys.executable, "-m", "twostage", "train", *options, "run=a"]
    status, err = when_it_has(here / "outputs/a/regressor/last.pt", command, number)
    assert status == 128 + number, err
    assert "regressor: stopped in epoch" in err
    assert "and saved; to go on, give the same command with run=a" in err
    assert "Traceback" not in err
    assert not list(here.rglob("*.tmp"))
    assert run("train", *options, "run=a")[0] == 0
    one, other = (here / f"outputs/{name}/model/regressor.safetensors" for name in ("a", "whole"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_a_disk_that_is_full_gets_one_line_and_the_run_goes_on_later(here, once, run):
    assert once("train", *TINY, "run=a")[0] == 0
    assert run("train-classifier", *TINY, "run=b")[0] == 0
    limit = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from twostage.cli import main; main(sys.argv[1:])"
    )  # a file cannot grow beyond that
    command = [sys.executable, "-c", limit, "train", *TINY, "run=b", "runtime.threads=1"]
    full = subprocess.run(command, capture_output=True, text=True)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith("twostage: outputs/b/regressor/last.pt: cannot be written (")
    assert "Traceback" not in full.stderr
    assert not list(here.rglob("*.tmp"))
    assert run("train", *TINY, "run=b")[0] == 0
    one, other = (here / f"outputs/{name}/model/regressor.safetensors" for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_direct_has_one_bin_no_classifier_and_all_the_epochs(here, run):
    assert run("train", *TINY, "run=d", "method=direct")[0] == 0
    folder = here / "outputs/d"
    assert not (folder / "classifier").exists()
    assert len(pd.read_csv(folder / "regressor/history.csv")) == 4
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["edges"] == [80.0, 350.0]
    assert metrics["rmse"] == metrics["rmse_oracle"]
    one_line(run("train-classifier", *TINY, "run=d2", "method=direct"), "direct", "no classifier")


@pytest.mark.slow
def test_a_classifier_alone_reads_bin_centers(here, run):
    status, _, err = run("train", *TINY, "run=c", "method=classifier", "combine.method=argmax")
    assert status == 0, err
    assert not (here / "outputs/c/model/regressor.safetensors").exists()
    predictions = pd.read_csv(here / "outputs/c/predictions.csv")
    centers = (predictions["bin_low"] + predictions["bin_high"]) / 2
    assert predictions["concentration"].tolist() == pytest.approx(centers.tolist())
    metrics = json.loads((here / "outputs/c/metrics.json").read_text())
    assert metrics["rmse_mixture"] != metrics["rmse_argmax"] == metrics["rmse"]
    assert len(pd.read_csv(here / "outputs/c/classifier/history.csv")) == 4  # all epochs, not a share of them
    one_line(run("train-regressor", "run=c"), "method=classifier", "no regressor")


def test_predict_file_folder_glob_and_table(photos, once, run):
    assert once("train", *TINY_TABLE, "data.group_column=group", "run=a")[0] == 0
    status, out, _ = run("predict", "input=p03.png")
    assert status == 0
    assert out.splitlines()[0] == COLUMNS
    assert len(out.splitlines()) == 2
    assert run("predict", "input=p0*.png", "output=glob.csv", "run=a")[0] == 0
    assert pd.read_csv(photos / "glob.csv")["image"].tolist() == [f"p0{i}.png" for i in range(10)]
    (photos / "all of them").mkdir()
    for i in range(40):
        shutil.copy(photos / f"p{i:02d}.png", photos / "all of them")
    assert run("predict", "input=all of them", "output=folder.csv", "run=outputs/a/model")[0] == 0
    whole = pd.read_csv(photos / "folder.csv")
    assert len(whole) == 40
    # a table, shuffled, with a missing and a broken photograph: every row answered, in order
    (photos / "broken.png").write_bytes((photos / "p05.png").read_bytes()[:300])
    (photos / "new.csv").write_text("image;target\np07.png;100\nbroken.png;1\nnowhere.png;2\np02.png;200,5\n")
    assert run("predict", "input=new.csv", "target_column=target", "output=sub/table.csv")[0] == 0
    table = pd.read_csv(photos / "sub/table.csv")
    assert table["image"].tolist() == ["p07.png", "broken.png", "nowhere.png", "p02.png"]
    assert table["target"].tolist() == [100, 1, 2, 200.5]
    assert table["status"].eq("refused").tolist() == [False, True, True, False]
    assert table["concentration"].isna().tolist() == [False, True, True, False]
    assert "it is cut off" in table["reason"][1]
    by_name = whole.set_index(whole["image"].str[-7:])["concentration"]
    assert table["concentration"][0] == pytest.approx(by_name["p07.png"], abs=1e-3)


def test_groups_stay_together_and_a_day_can_be_the_test_set(photos, run):
    assert run("train-classifier", *TINY_TABLE, "run=g", "data.group_column=group", "split.test=0.2")[0] == 0
    splits = pd.read_csv(photos / "outputs/g/splits.csv")
    assert (splits.groupby("group")["split"].nunique() == 1).all()
    options = ["data.group_column=group", "split.column=day", "split.test_values=[tue]"]
    assert run("train-classifier", *TINY_TABLE, "run=day", *options)[0] == 0
    splits = pd.read_csv(photos / "outputs/day/splits.csv")
    assert set(splits[splits["split"] == "test"]["group"]) == {"g7", "g8", "g9"}


def test_an_unused_column_of_specimens_is_pointed_out(photos, once):
    _, _, err = once("train-classifier", *TINY_TABLE, "run=a")
    assert "data.group_column=group" in err


def test_skipping_broken_photographs_lists_them(photos, run):
    (photos / "p05.png").write_bytes(b"nothing")
    (photos / "p06.png").unlink()
    one_line(run("train", *TINY_TABLE, "run=a"), "1 of 40", "p06.png", "on_error=skip")
    status, _, err = run("train-classifier", *TINY_TABLE, "run=b", "data.on_error=skip")
    assert status == 0
    assert "p05.png" in err
    splits = pd.read_csv(photos / "outputs/b/splits.csv")
    assert splits[splits["split"] == "skipped"]["image"].tolist() == ["p05.png", "p06.png"]
    assert len(splits) == 40


def test_folder_data(photos, run):
    for target, names in (("80.5", (0, 20)), ("300,25", (20, 40))):
        (photos / "by" / target).mkdir(parents=True)
        for i in range(*names):
            shutil.copy(photos / f"p{i:02d}.png", photos / "by" / target)
    status, _, err = run("train-classifier", "data=folder", "data.root=by", *TINY_TABLE[2:], "bins.count=2", "run=f")
    assert status == 0, err
    assert set(pd.read_csv(photos / "outputs/f/splits.csv")["target"]) == {80.5, 300.25}


SHORT = [*TINY, "train.epochs=2", "method=direct"]


@pytest.mark.slow
def test_a_sweep_leaves_a_sorted_table(here, run):
    status, out, err = run("train", "-m", *SHORT, "bins.count=2,3", "backbone=compact,p4", "run=s")
    assert status == 0, err
    table = pd.read_csv(here / "outputs/s/leaderboard.csv")
    assert len(table) == 4
    assert table["rmse_validation"].is_monotonic_increasing
    assert set(table["bins.count"]) == {2, 3}
    assert set(table["backbone.name"]) == {"compact", "p4"}
    assert "seed" not in table  # only what differs
    assert "leaderboard" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["bins.cuont=6"], ["bins.count"]),
        (["+train.batchsize=6"], ["train.batch_size"]),
        (["bins.count=0"], ["1..1000"]),
        (["bins.count=many"], ["bins.count", "Integer"]),
        (["bins.range=[350,80]"], ["lower first"]),
        (["backbone=resnet10"], ["resnet10t"]),
        (["backbone=compct"], ["compact"]),
        (["pooling=max"], ["flatten, masks, mean"]),
        (["experiment=smok"], ["smoke"]),
        (["data=csv"], ["data.table"]),
        (["data=csv", "data.table=nowhere.csv"], ["nowhere.csv", "no such table"]),
        (["data=folder", "data.root=nowhere"], ["no such folder"]),
        (["runtime.device=cuda:9"], ["cuda:9", "cpu"]),
        (["data.table=x.csv"], ["data.table", "data="]),
        (["bins=3"], ["bins"]),
        (["image.size=32", "backbone.strides=[2,1]"], ["equally long"]),
        (["split.column=day"], ["data=csv"]),
        (["run=latest"], ["another name"]),
        (["oops"], ["NAME=VALUE"]),
        (["split.validation=0.5", "split.calibration=0.5"], ["nothing to train on"]),
    ],
)
def test_mistakes_get_one_line(here, run, options, words):
    base = TINY[1:] if options[0].startswith("data=") else TINY
    one_line(run("train", *base, "run=a", *options), *words)
    assert not (here / "outputs/a/model").exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", ["empty"]),
        ("image,target\n", ["no rows"]),
        ("photo,target\np00.png,3\n", ["'image'", "photo"]),
        ("image,target\np00.png,abc\np01.png,nan\np02.png,3\n", ["row 2 'abc'", "row 3 'nan'"]),
        ("image,target\nno1.png,3\nno2.png,4\np02.png,5\n", ["2 of 3", "no1.png", "no2.png"]),
        ("image,target\np00.png,3\np01.png,4\np00.png,3\n", ["rows 2, 4"]),
        ("image,target\n" + "".join(f"p{i:02d}.png,7\n" for i in range(40)), ["all", "7"]),
        ("image,target\np00.png,1\np01.png,2\n", ["too few"]),
    ],
)
def test_bad_tables_get_one_line(photos, run, table, words):
    (photos / "photos.csv").write_text(table)
    one_line(run("train", *TINY_TABLE, "run=a"), *words)


@pytest.mark.slow
def test_mistakes_after_training_get_one_line(photos, once, run):
    one_line(run("predict", "input=p00.png"), "no run", "none was made yet")
    one_line(run("evaluate", "run=never"), "never")
    one_line(run("train-regressor", *TINY, "run=never"), "no run 'never'")
    once("train", *TINY, "run=a")
    run("train-classifier", *TINY, "run=half")
    one_line(run("predict", "input=p00.png", "run=half"), "not finished")
    one_line(run("evaluate", "run=half"), "train-regressor run=half")
    one_line(run("predict", "input=p00.png", "run=nevr"), "there are a, half")
    one_line(run("predict", "input=nowhere*.png", "run=a"), "nowhere")
    one_line(run("predict", "run=a"), "input")
    one_line(run("predict", "run=a", "input=p00.png", "bins.count=4"), "bins.count")
    (photos / "outputs/a/model/regressor.safetensors").write_bytes(b"123")
    one_line(run("predict", "input=p00.png", "run=a"), "regressor.safetensors", "damaged")


def test_usage_is_exit_status_2(run):
    assert run("trian")[0] == 2
    assert run()[0] == 2
    assert run("--help")[0] == 0
    status, out, _ = run("train", "--help")
    assert status == 0
    for option in ("bins.count", "train.epochs", "data (csv) table", "any timm name"):
        assert option in out


@pytest.mark.slow
def test_as_a_program_with_a_path_with_spaces(photos, once):
    """Through the shell, as a user would: quoting of paths, exit status, one line."""
    once("train", *TINY, "run=a")
    shutil.copy(photos / "p00.png", photos / "photo (1), copy.png")
    command = [sys.executable, "-m", "twostage", "predict", "run=a"]
    found = subprocess.run([*command, "input=photo (1), copy.png"], capture_output=True, text=True, env=os.environ)
    assert found.returncode == 0, found.stderr
    assert "photo (1), copy.png" in found.stdout
    wrong = subprocess.run([*command, "input=photo (2).png"], capture_output=True, text=True, env=os.environ)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "Traceback" not in wrong.stderr
