import json

import pytest
from helpers import one_line

from twostage import load_config
from twostage.options.backbones import backbone_config
from twostage.studies.backbone_table import backbone_table, smallest_size

SMALL = ["image.size=32", "batch_size=2", "runtime.threads=1"]


def test_the_table_tells_what_a_network_costs(monkeypatch):
    table = backbone_table(load_config(["names=[compact,p4m]", *SMALL], "backbones"))
    assert table["name"].tolist() == ["compact", "p4m"]
    assert table["symmetry"].tolist() == ["none", "p4m"]
    assert table["smallest_size"].tolist() == [32, 32]
    assert (table[["train_ms", "predict_ms"]] > 0).all(axis=None)
    weights = [3 * 32, 32 * 32, 32 * 64, 64 * 64, 64 * 64, 64 * 64]
    backbone = sum(9 * count * side**2 for count, side in zip(weights, [16, 16, 8, 8, 8, 8], strict=True))
    masks = 64 * 8 * 8**2 + 3 * 8 * 16**2 + 8 * 3 * 16**2  # logits of the map and of the pixels, and colours under them
    readout = 24 + 64 + 3 * 24
    assert table["multiply_adds"][0] == backbone + masks + readout
    assert table["parameters"][0] == 9 * sum(weights) + 2 * 320 + 64 * 8 + 8 + 24 + 160 + 1


def test_the_command_prints_a_table_or_json(here, run):
    status, out, err = run("backbones", "names=[compact]", *SMALL)
    assert status == 0, err
    assert out.split()[:3] == ["name", "parameters", "multiply_adds"]
    status, out, _ = run("backbones", "names=[compact]", *SMALL, "--json")
    assert status == 0
    assert json.loads(out)[0]["name"] == "compact"


def test_the_smallest_size_is_found():
    assert smallest_size(backbone_config("compact"), "srgb") == 32
    assert smallest_size(backbone_config("inception_v3"), "srgb") == 75


def test_a_backbone_with_options_of_its_own():
    def parameters(*options):
        table = backbone_table(load_config(["backbone=inception", *SMALL, *options], "backbones"))
        assert table["name"].tolist() == ["inception"]
        return table["parameters"][0]

    assert 3 < parameters("backbone.width=2") / parameters() < 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["names=[resnt18]"], ["resnet18"]),
        (["nams=[compact]"], ["names"]),
        (["names=[]"], ["name backbones"]),
        (["backbone=inception", "backbone.depth=3"], ["backbone.depth"]),
        (["names=[timm]"], ["backbone=timm"]),
        (["names=[p4m]", "image.size=66"], ["64 or 68"]),
        (["names=[p4m]", "pooling=flatten"], ["masks or mean"]),
        (["image.size=16"], ["32..512"]),
        (["bins.count=3"], ["another command"]),
    ],
)
def test_mistakes_get_one_line(here, run, options, words):
    result = run("backbones", *options)
    err = "".join(line for line in result[2].splitlines(True) if not line.endswith(":\n"))
    one_line((result[0], result[1], err), *words)
