import itertools
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY_TABLE, one_line
from PIL import Image
from scipy.optimize import minimize

from twostage import load_config
from twostage.evaluation.confidence import resampled_rmse, rmse_interval
from twostage.evaluation.power_law import fit_power_law
from twostage.report.study_figures import learning_curve_figure
from twostage.studies.learning_curve import _outcome, _summary, _text

COUNT = np.array([250.0, 500.0, 1000.0, 2000.0])
CURVE = [*TINY_TABLE, "train.epochs=2", "bins.count=2", "data.group_column=group", "run=lc", "shares=[0.4,0.7,1]"]


@pytest.mark.parametrize(("floor", "factor", "exponent"), [(0.3, 20, 0.5), (0, 5, 0.3), (0.6, 200, 0.9), (0, 900, 1)])
def test_a_law_is_found_again_from_its_points(floor, factor, exponent):
    law = fit_power_law(COUNT, np.hypot(floor, factor * COUNT**-exponent))
    assert law.rmse(4000) == pytest.approx(np.hypot(floor, factor * 4000**-exponent), rel=1e-6)
    assert law.exponent == pytest.approx(exponent)


@pytest.mark.parametrize("rmse", [[0.5, 0.5, 0.5, 0.5], [0.5, 0.6, 0.55, 0.7], [0, 0, 0, 0]])
def test_an_error_that_does_not_fall_promises_nothing(rmse):
    law = fit_power_law(COUNT, np.array(rmse))
    assert law.rmse(4000) == pytest.approx(law.rmse(2000), abs=1e-12)
    assert min(rmse) <= law.rmse(4000) + 1e-12


def test_the_fit_is_the_best_that_an_optimizer_finds():
    rng = np.random.default_rng(0)
    rmse = np.hypot(0.3, 20 * COUNT**-0.5) * np.exp(0.1 * rng.normal(size=(8, 4)))
    laws = fit_power_law(COUNT, rmse)

    def deviance(fitted, values):
        ratio = values**2 / fitted
        return 2 * np.sum(ratio - 1 - np.log(ratio))

    for i, values in enumerate(rmse):

        def misfit(p, values=values):
            return deviance(p[0] + p[1] * (COUNT / 2000) ** (-2 * p[2]) + 1e-9, values)

        bounds = [(0, 9), (0, 9), (0.01, 1)]
        starts = itertools.product((0.01, 0.1), (0.01, 0.1), (0.1, 0.5, 0.9))
        least = min(minimize(misfit, start, bounds=bounds, tol=1e-12).fun for start in starts)
        own = np.hypot(laws.floor[i], laws.factor[i] * COUNT ** -laws.exponent[i]) ** 2
        assert deviance(own, values) <= least + 5e-4  # exponents are tried in steps of 0.01


def test_models_are_resampled_alike_and_in_bounded_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    errors, groups = rng.normal(size=(3, 90)), rng.integers(0, 12, 90)
    found = resampled_rmse(np.vstack([errors, errors[:1]]), groups)
    assert found.shape == (4, 2000)
    np.testing.assert_array_equal(found[0], found[3])
    assert np.quantile(found[1], [0.025, 0.975]) == pytest.approx(rmse_interval(errors[1], groups))
    monkeypatch.setattr("twostage.evaluation.confidence.AT_A_TIME", 100)
    np.testing.assert_array_equal(resampled_rmse(errors, groups), found[:3])
    assert np.isnan(resampled_rmse(errors, np.zeros(90))).all()


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_the_command_answers_and_goes_on_where_it_stopped(photos, run):
    status, out, err = run("learning-curve", *CURVE, "data.unit=mg/L")
    assert status == 0, err
    folder = photos / "outputs/lc"
    table, found = pd.read_csv(folder / "learning_curve.csv"), json.loads((folder / "learning_curve.json").read_text())
    assert table["share"].tolist() == [0.4, 0.7, 1]
    assert table["n_train"].is_monotonic_increasing
    assert (table["n_train"] == 4 * table["n_groups"]).all()
    for row in table.itertuples():
        metrics = json.loads((folder / f"share_{row.share:g}/metrics.json").read_text())
        assert metrics["rmse"] == pytest.approx(row.rmse)
        assert row.rmse_low_95 <= row.rmse <= row.rmse_high_95
        assert f"{row.rmse:.4g}" in out
    law = fit_power_law(table["n_train"].to_numpy(), table["rmse"].to_numpy())
    assert found["rmse_twice"] == pytest.approx(float(law.rmse(found["n_train_twice"])))
    assert found["n_train_twice"] == 2 * table["n_train"].max()
    assert "Twice the training photographs" in out
    assert "mg/L" in out
    assert ("No gain to be expected" in out) == (found["gain"] < 0.02 * found["rmse_now"])
    assert min(Image.open(folder / "learning_curve.png").size) > 400
    # nested, and the other parts as they were
    splits = [
        pd.read_csv(folder / f"share_{share:g}/splits.csv").set_index("image")["split"] for share in (0.4, 0.7, 1)
    ]
    assert set(splits[0]) == {"train", "validation", "calibration", "test", "unused"}
    for fewer, more in pairwise(splits):
        assert set(fewer.index[fewer == "train"]) < set(more.index[more == "train"])
        assert (fewer.replace("unused", "train") == more.replace("unused", "train")).all()
    assert "<td>unused</td>" in (folder / "share_0.4/report.html").read_text()
    assert "<td>unused</td>" not in (folder / "share_1/report.html").read_text()
    # resumed
    written = (folder / "share_0.4/model/regressor.safetensors").stat().st_mtime_ns
    before = (folder / "learning_curve.csv").read_bytes()
    for name in ("learning_curve.csv", "share_1/metrics.json", "share_1/predictions.csv"):
        (folder / name).unlink()
    assert run("learning-curve", *CURVE, "data.unit=mg/L")[0] == 0
    assert (folder / "learning_curve.csv").read_bytes() == before
    assert (folder / "share_0.4/model/regressor.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["shares=[0.1,0.5,1]"], ["split.train_share=0.1", "training groups leaves 0", "choose at least"]),
        (["shares=[0.5,1]"], ["three or more"]),
        (["shares=[0.5,0.5,1]"], ["three or more"]),
        (["shares=[0.5,1,1.5]"], ["0.01..1"]),
        (["shares=[a,b,c]"], ["shares"]),
        (["split.train_share=0.5"], ["leave it out"]),
        (["bins.cuont=3"], ["bins.count"]),
    ],
)
def test_mistakes_get_one_line(photos, run, options, words):
    status, out, err = run("learning-curve", *CURVE, *options)
    err = "".join(line for line in err.splitlines(True) if not line.startswith("training 1 of 3"))
    one_line((status, out, err), *words)
    assert not (photos / "outputs/lc").exists()


def test_shares_belong_to_the_learning_curve(here, run):
    assert load_config(["run=a", "backbone=vgg", "shares=[0.2,0.5,1]"], "learning-curve").shares == [0.2, 0.5, 1]
    one_line(run("train", "shares=[0.2,0.5,1]"), "shares")
    status, out, _ = run("learning-curve", "--help")
    assert status == 0
    for words in ("shares", "bins.count", "backbone=  "):
        assert words in out


def test_one_test_group_has_a_curve_without_intervals(drawn):
    points = pd.DataFrame({"share": [0.25, 0.5, 1], "n_groups": None, "n_train": [10, 20, 40]})
    points = points.assign(rmse_colour_baseline=3.0, train_seconds=1.0)
    found = _outcome(points, np.array([[2.0, -2.0], [1.5, -1.5], [1.2, -1.2]]), np.array(["a", "a"]))
    summary = _summary(found, load_config(["run=a"], "learning-curve"))
    assert json.loads(json.dumps(summary, allow_nan=False))["gain_low_95"] is None
    assert summary["rmse_twice"] < 1.2
    assert "interval not defined" in _text(found, load_config(["run=a"]), Path("a"))
    assert learning_curve_figure(found.points, found.law, (found.then, *found.then_interval), "")
