"""What the networks of a run start from: a model that was trained before (train.start_from)."""

import pytest
import torch
from conftest import TINY, TINY_TABLE

from twostage.bins import Bins
from twostage.compose import load_config
from twostage.errors import BackboneError
from twostage.initialization import initialize
from twostage.model_folder import load_model
from twostage.orchestrator import train
from twostage.stages.build import build_classifier, build_regressor

STILL = ["train.learning_rate=1e-8", "train.weight_decay=0", "train.refit=false", "train.ema_decay=0"]


@pytest.fixture
def earlier(here):
    """outputs/earlier, trained on simulated photographs."""
    train(load_config([*TINY, "run=earlier", "method=direct", "seed=1"]))
    return here / "outputs" / "earlier"


def convolutions(stage):
    """All that gradients alone move."""
    parts = stage.network.backbone, stage.network.pooling
    return torch.cat([p.detach().flatten() for part in parts for p in part.parameters() if p.ndim == 4])


def started(stage, folder, *options):
    config = load_config([*TINY, f"train.start_from={folder}", *options])
    built = {"classifier": build_classifier, "regressor": build_regressor}[stage](config, Bins([10.0, 20.0, 40.0]))
    note = initialize(built.network, config, stage, torch.full((3,), 0.8), torch.ones(3))
    return built, note


@pytest.mark.parametrize("stage", ["classifier", "regressor"])
def test_a_stage_starts_from_all_but_the_readout(earlier, stage):
    built, note = started(stage, earlier)
    theirs = load_model(earlier, torch.device("cpu")).network.regressor.network
    for name, value in built.network.state_dict().items():
        same = torch.equal(value, theirs.state_dict()[name])
        assert same != name.startswith(("readout", "shift", "spread")), name
    assert note == [f"backbone, pooling and normalisation start from {earlier}"]


@pytest.mark.parametrize("part", ["", "model"])
def test_training_goes_on_from_there(earlier, photos, run, part):
    options = [*TINY_TABLE, *STILL, "data.group_column=group", f"train.start_from={earlier / part}"]
    status, _, err = run("train", *options, "run=later")
    assert status == 0
    assert f"start from {earlier / part}" in err
    later, old = (load_model(f"outputs/{name}", torch.device("cpu")).network for name in ("later", "earlier"))
    for stage in (later.classifier, later.regressor):
        torch.testing.assert_close(convolutions(stage), convolutions(old.regressor), rtol=1e-3, atol=1e-5)


def test_what_cannot_be_started_from_gets_one_line(earlier, run):
    def refused(*options):
        status, _, err = run("train", *TINY, "run=later", "seed=2", *options)
        assert status == 1
        assert not (earlier.parent / "later").exists()
        return err.strip().splitlines()[-1]

    assert "no such run or model folder" in refused("train.start_from=outputs/earlyer")
    (earlier.parent / "begun").mkdir()
    assert "not a trained model" in refused("train.start_from=outputs/begun")
    here = "train.start_from=outputs/earlier"
    assert "give image.color=optical_density" in refused(here, "image.color=srgb")
    assert "another backbone and pooling" in refused(here, "backbone.widths=[8,8,8,8,8,16]")
    assert "(backbone=compact pooling=masks, see outputs/earlier/config.yaml)" in refused(here, "pooling=mean")
    with pytest.raises(BackboneError, match="exclude each other"):
        started("regressor", earlier, "backbone=resnet10t", "backbone.weights=x.safetensors")


def test_a_model_that_has_learned_from_the_test_photographs_is_refused(earlier, photos, run):
    assert run("train", *TINY, "run=same", "seed=1", f"train.start_from={earlier}")[0] == 0
    status, _, err = run("train", *TINY, "run=other", "seed=1", "split.test=0.3", f"train.start_from={earlier}")
    assert status == 1
    assert "test photographs are among those that made train.start_from" in err

    monday = ["split.column=day", "split.test_values=[tue]"]
    tuesday = ["split.column=day", "split.test_values=[mon]", "train.start_from=outputs/monday"]
    table = [*TINY_TABLE, "data.group_column=group", "split.duplicates=ignore", "split.calibration=0"]
    assert run("train", *table, *monday, "run=monday")[0] == 0
    status, _, err = run("train", *table, *tuesday, "run=tuesday")
    assert status == 1
    assert "28 test photographs are among those" in err
    assert "p00.png" in err
    assert not (photos / "outputs" / "tuesday").exists()

    assert run("train", *table, *monday, "run=again", "train.start_from=outputs/monday")[0] == 0
    (photos / "outputs" / "monday" / "splits.csv").unlink()
    status, _, err = run("train", *table, *tuesday, "run=tuesday")
    assert status == 0
    assert "splits.csv is missing: nobody knows" in err
