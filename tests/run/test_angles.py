"""Angles from table to reading: a gauge, data made by turning, and what can be asked wrongly of them."""

import json

import numpy as np
import pandas as pd
import pytest
from gauge import draw_gauge, write_gauges
from PIL import Image

from twostage import Predictor, load_config
from twostage.errors import ConfigError

MOVES = ["augment=none", "augment.rotation=180", "augment.moves_target=true"]
CIRCLE = [*MOVES, "bins.period=360", "start=none"]
TINY = [
    *("image.size=32", "backbone.widths=[8,8]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]"),
    *("train.epochs=2", "runtime.threads=1", "runtime.precision=float32", "runtime.progress=false", "bins.count=4"),
]
WRONG = {
    "augment.quarter_turns would turn": ["bins.period=360", "bins.range=null"],
    "augment.mirror would turn": ["regressor.align=turn", "augment=mirror"],
    "is for a line|not bins.period=360": [*MOVES, "bins.period=360", "bins.range=[0,350]"],
    "bins.period=-1 must be": [*MOVES, "bins.period=-1", "bins.range=null"],
    "is for data.scale=linear": [*MOVES, "bins.period=360", "bins.range=[1,361]", "data.scale=log"],
    "moves targets all the way around": ["augment.moves_target=true"],
    "needs what stage 1 says": [*MOVES, "regressor.align=turn", "method=direct"],
    "changes no target": ["augment=none", "augment.moves_target=false", "regressor.align=turn"],
    "knows no circle": [*CIRCLE, "bins.range=null", "method=classifier", "classifier.encoding=codes"],
    "leave these as they are": ["data=digits", "augment=quarter_turns"],
    "does not fill bins.period": ["data=digits", "data.turn=90", "bins.period=360"],
    "regressor.align=turm is not known": [*MOVES, "regressor.align=turm"],
    "has no ends": [*CIRCLE, "bins.range=null", "combine.limit=clip"],
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_asked_wrongly_of_angles_is_one_line(said):
    with pytest.raises(ConfigError, match=said) as told:
        load_config(["run=x", *WRONG[said]])
    assert "\n" not in str(told.value)


def test_a_target_that_turns_do_not_move_may_go_around():
    """The time of day, or a hue: told so, turns and mirroring are as safe as for a concentration."""
    config = load_config(["run=x", "bins.period=24", "bins.range=[0,24]", "augment.moves_target=false"])
    assert len(config.views) == 8
    assert load_config(["run=x", *CIRCLE, "bins.range=null"]).views == (0,)


@pytest.mark.parametrize("align", ["none", "turn"])
def test_a_run_with_a_period_goes_on_and_reads(tmp_path, run, monkeypatch, align):
    """Train, stop between the stages, go on, read, and read as exported; all of it on a circle."""
    monkeypatch.chdir(tmp_path)
    table = write_gauges(tmp_path / "gauges", 60, side=48)
    ways = [f"data.table={table}", "data=csv", *CIRCLE, *TINY, f"regressor.align={align}", "bins.min_images=1"]
    for command in ("train-classifier", "train-regressor", "evaluate"):
        status, _, err = run(command, "run=a", *ways)
        assert status == 0, err
    status, _, err = run("train", "run=b", *ways)
    assert status == 0, err
    one, other = (pd.read_csv(f"outputs/{name}/predictions.csv") for name in "ab")
    pd.testing.assert_frame_equal(one, other)
    metrics = json.loads((tmp_path / "outputs/a/metrics.json").read_text())
    assert 0 <= metrics["share_within_10"] <= 1
    assert metrics["max_abs_error"] <= 180
    status, _, err = run("predict", "run=a", f"input={table}", "output=read.csv", "runtime.progress=false")
    assert status == 0, err
    read = pd.read_csv("read.csv")
    assert read["concentration"].between(0, 360).all()
    assert (read["lower"].fillna(0) <= read["upper"].fillna(0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("align", ["none", "turn"])
def test_a_gauge_is_read_within_a_degree(tmp_path, run, monkeypatch, align):
    """From table to reading: the error of new photographs, drawn by another seed, and what their intervals hold."""
    monkeypatch.chdir(tmp_path)
    table = write_gauges(tmp_path / "gauges", 400)
    ways = ["data=csv", f"data.table={table}", *CIRCLE, "bins.count=8", f"regressor.align={align}", "data.unit=degrees"]
    status, _, err = run("train", "run=g", *ways, "train.images=24000", "runtime.progress=false")
    assert status == 0, err
    rng = np.random.default_rng(9)
    angles = rng.uniform(0, 360, 60)
    prediction = Predictor.load("outputs/g").predict([draw_gauge(angle, rng) for angle in angles])
    error = np.abs(prediction.bins.difference(prediction.concentration, angles))
    assert error.mean() < (1.0 if align == "turn" else 2.0)
    near = prediction.bins.scale.near(angles, prediction.concentration)
    assert np.mean((near >= prediction.lower) & (near <= prediction.upper)) > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("align", ["none", "turn"])
def test_noise_tells_no_angle(tmp_path, run, monkeypatch, align):
    """Neither corners nor the grid of pixels show by how much a photograph was turned."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "noise").mkdir()
    for number in range(120):
        pixels = rng.integers(0, 256, (128, 128, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{number}.png")
    status, _, err = run(
        "train",
        "run=n",
        "data=turned",
        "data.root=noise",
        "image.size=32",
        "train.images=24000",
        f"regressor.align={align}",
        "runtime.progress=false",
    )
    assert status == 0, err
    metrics = json.loads((tmp_path / "outputs/n/metrics.json").read_text())
    assert metrics["rmse"] > 0.93 * 90 / np.sqrt(12)
