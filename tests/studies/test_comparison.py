import contextlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE, few, one_line
from PIL import Image

from twostage import load_config
from twostage.evaluation.baselines import BASELINES, color_statistics
from twostage.evaluation.ranking import rank_methods, ranking_text
from twostage.report.study_figures import ranking_figure

EPOCHS = ["compare.minutes=null"]  # as many as TINY says
FEW = "compare.methods=[mean,ridge,direct,two_stage_argmax,two_stage_mixture]"


def test_statistics_of_a_colour_are_those_of_its_definition():
    photos = np.zeros((3, 4, 4, 3), np.uint8)
    photos[0], photos[1] = (255, 0, 0), 255
    red, white, black = color_statistics(photos)
    means = slice(0, 9)
    # Lab of pure red: Lindbloom's calculator, D65
    assert red[means] == pytest.approx([1, 0, 0, 0.53241, 0.80092, 0.67203, 0, 3.518, 3.518], abs=1e-3)
    assert white[means] == pytest.approx([1, 1, 1, 1, 0, 0, 0, 0, 0], abs=1e-4)
    assert black[means] == pytest.approx([0, 0, 0, 0, 0, 0, 3.518, 3.518, 3.518], abs=1e-3)
    assert np.isfinite(color_statistics(photos)).all()


def test_a_statistic_that_never_varied_in_training_does_not_explode():
    rng = np.random.default_rng(0)
    known, targets = rng.normal(size=(40, 90)), rng.uniform(80, 350, 40)
    known[:, 7] = 0.5 + 1e-9 * rng.normal(size=40)
    new = rng.normal(size=(5, 90))
    new[:, 7] = 0.52
    predicted = BASELINES["ridge"](0).fit(known, targets).predict(new)
    assert np.abs(predicted - targets.mean()).max() < 1000


def test_methods_are_ranked_by_their_error_and_paired(drawn):
    rng = np.random.default_rng(0)
    target, noise = rng.uniform(80, 350, 300), rng.normal(size=300)
    predicted = pd.DataFrame({"worse": target + 1.05 * noise, "best": target + noise, "bad": target + 50})
    table = rank_methods(target, predicted.sub(target, axis=0))
    assert table.index.tolist() == ["best", "worse", "bad"]
    for name, row in table.iterrows():
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean((predicted[name] - target) ** 2)), rel=1e-9)
        assert row["low"] <= row["rmse"] <= row["high"]
    # the same photographs are hard for both: their intervals overlap, that of the difference does not hold 0
    assert table.loc["worse", "low"] < table.loc["best", "high"]
    assert 0 < table.loc["worse", "behind_low"] < 0.05 * table.loc["best", "rmse"] < table.loc["worse", "behind_high"]
    assert table.loc["best", ["behind", "behind_low", "behind_high"]].tolist() == [0, 0, 0]
    assert "best" in ranking_text(table, "mg/L").splitlines()[1]
    assert min(Image.open(io.BytesIO(ranking_figure(table, "mg/L"))).size) > 300
    one_group = rank_methods(target, predicted.sub(target, axis=0), np.zeros(300))
    assert one_group[["low", "behind_high"]].isna().all(axis=None)
    assert one_group["rmse"].tolist() == table["rmse"].tolist()


@pytest.mark.slow
def test_compare_ranks_networks_and_colours_on_the_same_photographs(photos, run):
    options = [*TINY_TABLE, "train.epochs=2", "data.group_column=group", "split.folds=2", FEW, *EPOCHS, "run=c"]
    status, out, err = run("compare", *options)
    assert status == 0, err
    assert "5 methods, 2 rounds: 4 trainings" in err
    folder = photos / "outputs/c"
    table, found = pd.read_csv(folder / "comparison.csv"), pd.read_csv(folder / "predictions.csv")
    assert sorted(found["image"]) == sorted(pd.read_csv(photos / "photos.csv")["image"])  # 2 folds: each one once
    assert table["rmse"].is_monotonic_increasing
    for row in table.itertuples():
        assert row.rmse == pytest.approx(np.sqrt(np.mean((found[row.method] - found["target"]) ** 2)), rel=1e-9)
    for fold, name in ((0, "direct"), (1, "two_stage")):
        alone = pd.read_csv(folder / f"{name}/seed_0_fold_{fold}/predictions.csv").set_index("image")["concentration"]
        mine = found[found["fold"] == fold]
        column = "direct" if name == "direct" else "two_stage_mixture"
        assert mine[column].tolist() == pytest.approx(alone[mine["image"]].tolist(), rel=1e-9)
    with Image.open(folder / "comparison.png") as figure:
        assert figure.size[0] > 800
    metrics = json.loads((folder / "direct/seed_0_fold_0/metrics.json").read_text())
    mine = found[found["fold"] == 0]
    for method, key in (("ridge", "rmse_colour_baseline"), ("mean", "rmse_mean_baseline"), ("direct", "rmse")):
        assert np.sqrt(np.mean((mine[method] - mine["target"]) ** 2)) == pytest.approx(metrics[key], rel=1e-9)
    before = {name: (folder / name).read_bytes() for name in ("comparison.csv", "comparison.json", "predictions.csv")}
    for name in (*before, "two_stage/seed_0_fold_1/metrics.json", "two_stage/seed_0_fold_1/combinations.csv"):
        (folder / name).unlink()  # as if it had been killed in the last evaluation
    status, again, err = run("compare", *options)
    assert status == 0, err
    assert "1 trainings (3 more are finished already)" in err
    assert again == out
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_colours_alone_need_no_training_and_say_what_leaks(photos, run):
    for i in range(0, 40, 4):  # as if one photograph of each specimen had been copied
        shutil.copy(photos / f"p{i:02d}.png", photos / f"p{i + 1:02d}.png")
    options = [text for text in TINY_TABLE if not text.startswith("train")]
    status, out, err = run("compare", *options, "compare.methods=[mean,ridge]", "split.folds=2", "run=c")
    assert status == 0, err
    assert "0 trainings\n" in err
    assert "split.duplicates=group" in err
    assert "minutes" not in out
    assert "ridge" in out


@pytest.mark.slow
def test_fine_bins_classifier_and_other_backbones_are_compared(here, run):
    methods = "compare.methods=[classifier,fine_bins,soft_bins,label_codes,two_stage_top2@p4]"
    options = [*TINY, "train.epochs=2", methods, *EPOCHS, "compare.seeds=[3,4]", "bins.edges=[80,200,350]"]
    status, _, err = run("compare", *options, "run=c")
    assert status == 0, err
    folder = here / "outputs/c"
    found = pd.read_csv(folder / "predictions.csv")
    assert found["seed"].unique().tolist() == [3, 4]
    assert set(found["classifier"].round(6)) <= {140.0, 275.0}  # bin centers
    assert all(found[name].nunique() > 10 for name in ("fine_bins", "soft_bins", "label_codes"))
    described = json.loads((folder / "two_stage_p4/seed_3/model/model.json").read_text())["config"]
    assert described["backbone"]["name"] == "p4"
    rounds = json.loads((folder / "comparison.json").read_text())
    assert [len(row["rmse_of_rounds"]) for row in rounds["methods"]] == [2] * 5


QUICK = ["compare.methods=[mean]", *TINY_TABLE[:3], "split.folds=2"]


def test_a_folder_of_something_else_is_left_alone(photos, run):
    assert run("train", *TINY_TABLE, "train.epochs=2", "method=direct", "run=a")[0] == 0
    before = (photos / "outputs/a/predictions.csv").read_bytes()
    one_line(run("compare", *QUICK, "run=a"), "outputs/a", "another command")
    one_line(run("crossval", *TINY_TABLE, "run=a"), "outputs/a", "another command")
    assert (photos / "outputs/a/predictions.csv").read_bytes() == before
    one_line(run("compare", *QUICK, "run=latest"), "latest")
    assert (photos / "outputs/latest").resolve() == (photos / "outputs/a").resolve()
    assert run("compare", *QUICK, "run=c")[0] == 0
    one_line(run("compare", *QUICK, "seed=1", "run=c"), "other options", "seed: 0 -> 1")
    assert run("compare", *QUICK[1:], "compare.methods=[mean,ridge]", "run=c")[0] == 0


@pytest.mark.parametrize("command", few(["crossval"], ["crossval", "learning-curve"]))
def test_a_specimen_may_be_called_na(photos, run, command):
    table = pd.read_csv(photos / "photos.csv").replace({"group": {"g1": "NA", "g2": "None"}})
    table.to_csv(photos / "photos.csv", index=False)
    shares = ["shares=[0.6,0.8,1]", "split.test=0.3", "split.calibration=0"]
    more = ["split.folds=2"] if command == "crossval" else shares
    options = [*TINY_TABLE, "data.group_column=group", "train.epochs=2", "method=direct", *more]
    status, _, err = run(command, *options, "run=x")
    assert status == 0, err
    if command == "crossval":
        found = pd.read_csv(photos / "outputs/x/predictions.csv", keep_default_na=False)
        assert found["group"].tolist() == table["group"].tolist()


@pytest.mark.slow
def test_fine_bins_span_the_range_of_the_others(here, run):
    options = ["data.low=0", "data.high=50", "bins.edges=[0,20,50]", "compare.methods=[fine_bins]", "run=c"]
    assert run("compare", *TINY, *EPOCHS, *options)[0] == 0
    edges = json.loads((here / "outputs/c/fine_bins/seed_0/metrics.json").read_text())["edges"]
    assert (edges[0], edges[-1], len(edges)) == (0, 50, 61)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["compare.methods=[direct@]"], ["direct@", "no backbone"]),
        (["compare.methods=[classifier]", "+backbone@classifier.backbone=inception_v3"], ["inception_v3"]),
        (["compare.seeds=[5000000000]"], ["compare.seeds"]),
        (["train=thorough"], ["train.images", "compare.minutes=null"]),
        (["compare.methods=[ridge,two_stage_mixtur]"], ["two_stage_mixtur", "did you mean two_stage_mixture"]),
        (["compare.methods=[ridge@p4]"], ["ridge@p4", "direct"]),
        (["compare.methods=[ridge,ridge]"], ["twice"]),
        (["compare.methods=[direct@no_such_net]"], ["no_such_net"]),
        (["method=direct"], ["method=direct", "compare.methods"]),
        (["train.minutes=1"], ["compare.minutes"]),
        (["train.epochs=4"], ["compare.minutes=null"]),
        (["split.folds=3", "split.fold=1"], ["all split.folds"]),
        (["compare=slow"], ["compare=slow", "full, quick"]),
        (["compare.seeds=[a]"], ["compare.seeds"]),
        (["compare.seeds=[]"], ["compare.seeds"]),
        (["compare.seeds=[-1]"], ["compare.seeds"]),
    ],
)
def test_what_cannot_be_compared_gets_one_line(here, run, options, words):
    one_line(run("compare", "data.count=60", "image.size=32", "run=c", *options), *words)
    assert not (here / "outputs/c").exists()


def test_the_profiles_say_what_they_compare():
    quick, full = (load_config([f"compare={name}"], "compare").compare for name in ("quick", "full"))
    assert set(quick.methods) < set(full.methods)
    assert quick.minutes < full.minutes == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["compare", "crossval"])
def test_killed_again_and_again_it_ends_with_the_same_table(tmp_path, command):
    options = [
        "data.count=300",
        "image.size=32",
        "train.epochs=12",
        "bins.count=4",
        "split.folds=2",
        "runtime.threads=1",
        "runtime.progress=false",
        "runtime.precision=float32",
    ]
    options += [FEW, *EPOCHS] if command == "compare" else []

    def work(name, seconds):
        words = [sys.executable, "-m", "twostage", command, *options, f"run={name}"]
        with contextlib.suppress(subprocess.TimeoutExpired):  # which is SIGKILL
            return subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=seconds).returncode == 0
        return False

    assert work("undisturbed", 600)
    waits = (4.0 + 0.7 * (n % 7) + 0.2 * n for n in range(60))
    kills = next(n for n, seconds in enumerate(waits) if work("killed", seconds))
    assert kills > 0
    files = [(tmp_path / "outputs" / name / "predictions.csv").read_bytes() for name in ("killed", "undisturbed")]
    assert files[0] == files[1]
    if command == "compare":
        tables = [pd.read_csv(tmp_path / f"outputs/{name}/comparison.csv") for name in ("killed", "undisturbed")]
        pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables))
