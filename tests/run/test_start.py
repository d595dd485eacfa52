"""What the networks of a run start from: a run that was trained before (start)."""

import shutil

import pytest
import torch
from helpers import TINY, TINY_TABLE, few

from twostage.bins import Bins
from twostage.errors import ConfigError
from twostage.model_folder import load_model
from twostage.options.compose import load_config
from twostage.orchestrator import train
from twostage.run.start import initialize, load_start
from twostage.stages.build import build_classifier, build_regressor

STILL = ["train.learning_rate=1e-8", "train.weight_decay=0", "train.refit=false", "train.ema_decay=0"]
TABLE = [*TINY_TABLE, "data.group_column=group", "split.duplicates=ignore", "split.calibration=0"]
MONDAY = ["split.column=day", "split.test_values=[tue]"]
TUESDAY = ["split.column=day", "split.test_values=[mon]"]


@pytest.fixture
def earlier(here, once):
    """outputs/earlier, trained on simulated photographs."""
    assert once("train", *TINY, "run=earlier", "method=direct", "seed=1")[0] == 0
    return here / "outputs" / "earlier"


def convolutions(stage):
    """All that gradients alone move."""
    parts = stage.network.backbone, stage.network.pooling
    return torch.cat([p.detach().flatten() for part in parts for p in part.parameters() if p.ndim == 4])


def started(stage, *options):
    config = load_config([*TINY, *options])
    built = {"classifier": build_classifier, "regressor": build_regressor}[stage](config, Bins([10.0, 20.0, 40.0]))
    note = initialize(built.network, config, stage, torch.full((3,), 0.8), torch.ones(3), load_start(config))
    return built, note


@pytest.mark.parametrize("stage", ["classifier", "regressor"])
def test_a_stage_starts_from_all_but_the_readout(earlier, stage):
    built, note = started(stage, "start=outputs/earlier")
    theirs = load_model(earlier, torch.device("cpu")).network.regressor.network
    for name, value in built.network.state_dict().items():
        same = torch.equal(value, theirs.state_dict()[name])
        assert same != name.startswith(("readout", "shift", "spread")), name
    assert note == ["backbone, pooling and normalisation start from outputs/earlier"]


@pytest.mark.slow
def test_each_stage_starts_from_its_own_where_there_are_two(here):
    own = ["+backbone@regressor.backbone=p4", "regressor.backbone.widths=[2,2,2,2,2,2]"]
    train(load_config([*TINY, "train.epochs=2", "run=both", *own]))
    model = load_model("outputs/both", torch.device("cpu")).network
    for stage in ("classifier", "regressor"):
        built, _ = started(stage, *own, "start=outputs/both")
        assert torch.equal(convolutions(built), convolutions(getattr(model, stage)))


@pytest.mark.parametrize("part", few(["/model"], ["", "/model"]))
def test_training_goes_on_from_there(earlier, photos, run, part):
    status, _, err = run("train", *TABLE, *STILL, f"start=outputs/earlier{part}", "run=later")
    assert status == 0
    assert "start from outputs/earlier\n" in err
    assert "nobody knows" not in err
    later, old = (load_model(f"outputs/{name}", torch.device("cpu")).network for name in ("later", "earlier"))
    for stage in (later.classifier, later.regressor):
        torch.testing.assert_close(convolutions(stage), convolutions(old.regressor), rtol=1e-3, atol=1e-5)


def test_once_stage_1_is_there_the_earlier_run_may_go(earlier, run):
    options = [*TINY, "seed=2", "run=later", "start=outputs/earlier"]
    assert run("train-classifier", *options)[0] == 0
    shutil.rmtree(earlier)
    assert run("train-regressor", *options)[0] == 0


@pytest.mark.slow
def test_frozen_stages_keep_what_they_started_from(here, run):
    own = [*TINY, "train.epochs=2", "runtime.precision=float32", "backbone=resnet10t"]
    assert run("train", *own, "method=direct", "run=earlier")[0] == 0
    options = [*own, "seed=2", "run=later", "start=outputs/earlier", "backbone.freeze=1"]
    assert run("train-classifier", *options)[0] == 0
    assert run("train", *options)[0] == 0  # stage 2 starts from stage 1
    later, old = (load_model(f"outputs/{name}", torch.device("cpu")).network for name in ("later", "earlier"))
    first = old.regressor.network.backbone.model.conv1[0].weight
    for stage in (later.classifier, later.regressor):
        assert torch.equal(stage.network.backbone.model.conv1[0].weight, first)
    assert not torch.equal(convolutions(later.classifier), convolutions(old.regressor))


@pytest.mark.slow
def test_an_earlier_run_that_was_trained_anew_is_noticed(earlier, run):
    options = [*TINY, "seed=2", "run=later", "start=outputs/earlier", "regressor.warm_start=false"]
    assert run("train-classifier", *options)[0] == 0
    shutil.rmtree(earlier)
    train(load_config([*TINY, "run=earlier", "method=direct", "seed=3"]))
    status, _, err = run("train-regressor", *options)
    assert status == 1
    assert "was trained anew since" in err


def test_what_cannot_be_started_from_gets_one_line(earlier, run):
    def refused(*options):
        status, _, err = run("train", *TINY, "run=later", "seed=2", *options)
        assert status == 1
        assert not (earlier.parent / "later").exists()
        return err.strip().splitlines()[-1]

    assert "no such run or model folder" in refused("start=outputs/earlyer")
    assert "is too long" in refused("start=" + "x" * 300)
    assert "is empty" in refused("start=")
    (earlier.parent / "begun").mkdir()
    assert "not a trained model" in refused("start=outputs/begun")
    assert "name the run itself" in refused("start=outputs/latest")
    from_it = "start=outputs/earlier"
    assert "this classifier is another network: give image.color=optical_density" in refused(
        from_it, "image.color=srgb"
    )
    assert "give pooling=masks" in refused(from_it, "pooling=flatten")
    assert "give backbone.strides=[2,1,2,1,1,1]" in refused(from_it, "backbone.strides=[1,2,2,1,1,1]")
    assert "give backbone=compact backbone.widths=[32,32," in refused(from_it, "backbone=p4")
    (earlier / "splits.csv").write_text("image;target\n")
    assert "splits.csv of start cannot be read" in refused(from_it)
    (earlier / "splits.csv").write_bytes(b"")
    assert "splits.csv of start cannot be read" in refused(from_it)


def test_weights_come_from_one_source():
    with pytest.raises(ConfigError, match=r"backbone\.weights and start=outputs/a exclude each other"):
        load_config(["backbone=resnet10t", "backbone.weights=x.safetensors", "start=outputs/a"])


def test_simulated_test_photographs_that_made_the_earlier_run_are_refused(earlier, run):
    again = [*TINY, "seed=1", "start=outputs/earlier"]
    assert run("train", *again, "run=same")[0] == 0  # the same split
    status, _, err = run("train", *again, "run=other", "split.test=0.3")
    assert status == 1
    assert "test photographs are among those that made start" in err
    assert not (earlier.parent / "other").exists()


@pytest.mark.slow
def test_test_photographs_that_made_the_earlier_run_or_one_before_it_are_refused(photos, run):
    assert run("train", *TABLE, *MONDAY, "run=monday")[0] == 0
    assert run("train", *TINY, "run=between", "start=outputs/monday")[0] == 0
    for start in ("monday", "between"):
        status, _, err = run("train", *TABLE, *TUESDAY, "run=tuesday", f"start=outputs/{start}")
        assert status == 1
        assert "28 test photographs are among those" in err
        assert "p00.png" in err
        assert not (photos / "outputs" / "tuesday").exists()
    (photos / "outputs" / "between" / "start.csv").unlink()
    status, _, err = run("train", *TABLE, *TUESDAY, "run=tuesday", "start=outputs/between")
    assert status == 0
    assert "start.csv is missing: nobody knows all" in err


@pytest.mark.slow
def test_specimens_of_the_same_name_are_told(photos, run):
    table = (photos / "photos.csv").read_text().splitlines()
    for name, rows in (("even", table[1::2]), ("odd", table[2::2])):
        (photos / f"{name}.csv").write_text("\n".join([table[0], *rows]) + "\n")
    assert run("train", *TABLE, *MONDAY, "run=even", "data.table=even.csv")[0] == 0
    odd = [*TABLE, *TUESDAY, "run=odd", "data.table=odd.csv", "start=outputs/even"]
    status, _, err = run("train", *odd)
    assert status == 0
    assert "groups that are called as some of the test set (g0, " in err


@pytest.mark.slow
def test_compare_says_at_once_which_network_cannot_start_from_it(earlier, photos, run):
    options = [*TABLE, "compare.minutes=null", "start=outputs/earlier"]
    status, _, err = run("compare", *options, "run=c", "compare.methods=[direct,direct@p4]")
    assert status == 1
    assert "another network" in err
    assert not list((photos / "outputs").glob("c/*/*/model"))
    assert run("compare", *options, "run=d", "compare.methods=[ridge,direct]", "split.folds=2")[0] == 0
