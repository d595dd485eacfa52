"""The start that ships: it fits the default network, and it looks where reagent is."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers import TINY, TINY_TABLE

from twostage.data.camera import photograph_scenes
from twostage.errors import ModelFolderError
from twostage.model_folder import load_model
from twostage.options.compose import load_config
from twostage.run.start import load_start
from twostage.stages.build import build_regressor
from twostage.stages.reading import batches
from twostage.starts import shipped, teach
from twostage.starts.scene_stage import CELLS, targets_of

CSV = ["data=csv", "data.table=photos.csv"]


def test_it_is_small_and_says_how_it_was_made():
    file = shipped.FOLDER / "scenes.safetensors"
    assert file.stat().st_size < 1_500_000
    told = json.loads(file.with_suffix(".json").read_text())
    assert told["kind"] == teach.kind()
    assert {"scenes", "epochs", "seed", "train_seconds", "sha256", "versions"} <= set(told)


@torch.no_grad()
def test_its_masks_lie_on_zones_and_on_what_surrounds_them():
    network, scenes = shipped.load_shipped().network.eval(), photograph_scenes(range(60), 64, seed=99, cells=CELLS)
    images = torch.cat(list(batches(scenes.pixels, "optical_density", torch.device("cpu"))))
    masks = network.pooling.look(*network.features(images))[0][:, :3].numpy()
    shown = (masks * scenes.maps).sum((2, 3))
    by_chance = scenes.maps.mean((2, 3))
    there = scenes.maps.sum((2, 3)) > 10
    for number, least in ((0, 0.8), (1, 0.7), (2, 0.6)):
        assert shown[there[:, number], number].mean() > max(least, 1.5 * by_chance[there[:, number], number].mean())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (CSV, "scenes"),
        ([*CSV, "pooling=surfaces"], "scenes"),
        ([*CSV, "start=none"], None),
        ([*CSV, "backbone=vgg"], None),
        ([*CSV, "image.color=srgb"], None),
        ([*CSV, "pooling=mean"], None),
        (TINY, None),
        ([*TINY, "start=scenes"], "scenes"),
    ],
    ids=lambda value: " ".join(value[-1:]) if isinstance(value, list) else str(value),
)
def test_auto_takes_it_for_photographs_from_files_where_it_fits(options, name):
    start = load_start(load_config(options))
    assert (start and start.name) == name


def test_a_stage_has_its_weights():
    config = load_config([*CSV, "pooling=surfaces"])
    regressor = build_regressor(config, shipped.Bins([80.0, 350.0]))
    load_start(config).give(regressor.network, config, "regressor")
    theirs = shipped.load_shipped().network.state_dict()
    for name, value in regressor.network.state_dict().items():
        assert torch.equal(value, theirs[name]) == name.startswith(("mean", "std", "backbone", "pooling")), name


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    for name in ("scenes.safetensors", "scenes.json"):
        (tmp_path / name).write_bytes((shipped.FOLDER / name).read_bytes())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shipped.load_shipped()
    (tmp_path / "scenes.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelFolderError, match="install twostage again"):
        shipped.load_shipped()


def test_instant_trains_nothing_but_the_readout(photos, run):
    options = [*TINY_TABLE[:2], "bins.min_images=1", "bins.min_groups=1", "bins.count=3", "runtime.progress=false"]
    status, out, err = run("train", *options, "data.group_column=group", "train=instant", "run=a")
    assert status == 0, err
    assert "each of " in err
    network = load_model("outputs/a", torch.device("cpu")).network.regressor.network
    theirs = shipped.load_shipped().network.state_dict()
    for name, value in network.state_dict().items():
        if name.startswith(("backbone", "pooling")):
            assert torch.equal(value, theirs[name]), name
    assert "RMSE" in out
    assert run("train", *options, "data.group_column=group", "train=instant", "run=a")[1] == out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["train=instant", "backbone=vgg"], "this classifier is another network: give backbone=compact"),
        (["train=instant", "start=none"], "train.epochs=0 leaves networks as they begin: give start=scenes"),
        (["train=instant", "train.refit=false"], "train.refit=false leaves out"),
        (["train.epochs=1"], "cannot be shared by two stages"),
        (["start=scene"], "no such run or model folder"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(photos, run, options, said):
    status, _, err = run("train", *CSV, "train.final=part", "run=a", *options)
    assert status == 1
    assert said in err
    assert "Traceback" not in err


def test_it_can_be_taught_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(teach, "VALIDATION", 8)
    words = ["--scenes", "24", "--epochs", "1", "--threads", "1", "--output", str(tmp_path / "new.safetensors")]
    monkeypatch.setattr(sys, "argv", ["teach", *words])
    teach.main()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert shipped.load_shipped("new").kind == teach.kind()


def test_the_maps_are_what_the_stage_learns():
    scenes = photograph_scenes(range(3), 32, seed=5, cells=CELLS)
    targets = targets_of(np.array([10.0, 20.0, 30.0]), scenes).numpy()
    np.testing.assert_allclose(targets[:, 0], [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(targets[:, 4:].reshape(scenes.maps.shape), scenes.maps)
