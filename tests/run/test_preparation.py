import numpy as np
import pytest
import torch
from helpers import TINY, TINY_TABLE
from safetensors.torch import save_file

from twostage import load_config
from twostage.backbones.timm_models import TimmBackbone
from twostage.data.color import to_color, to_srgb
from twostage.run.bins import beyond_training
from twostage.run.folder import RunFolder
from twostage.run.preparation import prepare
from twostage.scale import SCALES

CPU = torch.device("cpu")


@pytest.mark.parametrize("color", ["optical_density", "srgb"])
def test_the_normalization_is_that_of_all_training_photographs(here, monkeypatch, color):
    prepared = prepare(load_config([*TINY, "data.count=200", f"image.color={color}", "run=a"]), RunFolder(here / "a"))
    pixels = prepared.pixels(prepared.part("train"))[:]
    assert len(pixels) > 64
    at_once, seen = to_color(to_srgb(pixels, CPU), color), []

    def noted(some, device):
        seen.append(some)
        return to_srgb(some, device)

    monkeypatch.setattr("twostage.stages.reading.to_srgb", noted)
    mean, std = prepared.normalization()
    torch.testing.assert_close(mean, at_once.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(std, at_once.std((0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert max(map(len, seen)) <= 64  # never all in memory at once


def test_an_augmentation_that_moves_the_colour_is_among_the_warnings(here):
    prepared = prepare(load_config([*TINY, "augment=founding", "data.unit=mg/L", "run=a"]), RunFolder(here / "a"))
    (note,) = [note for note in prepared.notes if "move the colour" in note]
    assert float(note.split("shift by ")[1].split(" mg/L")[0]) > 1
    assert not any(
        "move the colour" in note for note in prepare(load_config([*TINY, "run=a"]), RunFolder(here / "a")).notes
    )


def test_bins_of_few_groups_are_merged_where_groups_are_known(photos):
    def prepared(*more):
        return prepare(load_config([*TINY_TABLE, "run=a", "bins.range=null", *more]), RunFolder(photos / "a"))

    assert prepared("bins.min_groups=3").bins.count == 3  # without groups it is not asked for
    merged = prepared("data.group_column=group", "bins.min_groups=3")
    train = merged.photos.table.select(merged.training_rows)
    held = [np.unique(train.groups[merged.bins.index(train.targets) == k]).size for k in range(merged.bins.count)]
    assert 1 <= merged.bins.count < 3
    assert merged.bins.count == 1 or min(held) >= 3
    assert len([note for note in merged.notes if "of 3 groups (bins.min_groups)" in note and "merged" in note]) == 1


@pytest.mark.parametrize("count", [6, 12])
def test_few_photographs_make_few_bins_and_one_line(here, count):
    prepared = prepare(
        load_config([*TINY, f"data.count={max(20, count)}", "bins.count=9", "run=a"]), RunFolder(here / "a")
    )
    assert prepared.bins.count < 9
    assert len([note for note in prepared.notes if "merged" in note]) == 1


def test_photographs_beyond_the_training_range_are_told():
    targets, parts = np.array([10.0, 20, 50, 60, 21]), np.array(["train", "train", "test", "validation", "test"])
    (note,) = beyond_training(SCALES["linear"], targets, parts)
    assert "beyond 10..20" in note
    assert "1 in validation, 2 in test" in note
    assert beyond_training(SCALES["linear"], np.array([10.0, 20, 20.4]), np.array(["train", "train", "test"])) == []
    assert beyond_training(SCALES["log"], np.array([1.0, 100, 120]), np.array(["train", "train", "test"])) == []


@pytest.mark.parametrize(("epochs", "gently"), [(0, True), (4, False)])
def test_few_specimens_are_left_out_in_turn_where_trained_weights_stay_as_they_are(here, epochs, gently):
    save_file(TimmBackbone(3, "resnet10t").model.state_dict(), here / "w.safetensors")
    weights = ["backbone=resnet10t", "backbone.weights=w.safetensors", "pooling=mean", "image.color=srgb"]
    options = ["data.count=60", "image.size=32", "bins.count=3", *weights, f"train.epochs={epochs}", "run=a"]
    prepared = prepare(load_config(options), RunFolder(here / "a"))
    assert prepared.few
    assert prepared.gently == gently


@pytest.mark.parametrize(("limit", "told"), [("none", 0), ("clip", 1), ("logistic", 1)])
def test_photographs_that_a_limit_never_reads_are_told(here, limit, told):
    options = [*TINY, "bins.range=[100,330]", f"combine.limit={limit}", "run=a"]
    notes = [note for note in prepare(load_config(options), RunFolder(here / "a")).notes if "never says" in note]
    assert len(notes) == told
    assert all(f"beyond 100..330, which combine.limit={limit} never says" in note for note in notes)


def test_too_few_photographs_for_intervals_are_said_before_anything_is_trained(here):
    (said,) = [
        note for note in prepare(load_config([*TINY, "run=a"]), RunFolder(here / "a")).notes if "interval" in note
    ]
    assert said.startswith("no intervals: the calibration part has 8 photographs, and a confidence of 0.9 needs 9")
    for enough in ("intervals.confidence=0.8", "intervals.method=none"):
        notes = prepare(load_config([*TINY, enough, "run=a"]), RunFolder(here / "a")).notes
        assert not any("interval" in note for note in notes)


@pytest.mark.parametrize(("options", "said"), [(["augment=none"], True), (["augment=turns"], True), ([], False)])
def test_a_network_that_is_blind_to_what_augmentation_tells_apart_is_said(here, options, said):
    prepared = prepare(load_config([*TINY, "backbone=p4m", *options, "run=a"]), RunFolder(here / "a"))
    assert any("blind to turns and mirroring" in note for note in prepared.notes) == said


@pytest.mark.parametrize("method", ["two_stage", "direct"])
def test_targets_outside_the_bins_are_said(here, method):
    prepared = prepare(load_config([*TINY, f"method={method}", "bins.range=[80,300]", "run=a"]), RunFolder(here / "a"))
    assert any("training targets lie outside 80..300" in note for note in prepared.notes)
