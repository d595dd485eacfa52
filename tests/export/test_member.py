"""What a graph's stages say is what `TwoStage.read` says, for every backbone, pooling and method."""

import numpy as np
import pytest
import torch

from twostage import Bins, load_config
from twostage.backbones.pooling import MaskPooling
from twostage.data.simulated import render_photographs
from twostage.export.graph import Member
from twostage.options.backbones import BACKBONES
from twostage.options.choices import POOLINGS
from twostage.stages.build import build_stage
from twostage.stages.two_stage import TwoStage

CPU = torch.device("cpu")
BINS = Bins([80, 110, 180, 350])
PIXELS = render_photographs(np.linspace(90, 340, 3), 32, 0)


def stages(*overrides, names=("classifier", "regressor"), fitted=("classifier", "regressor"), bins=BINS):
    """Stages that have learned nothing and use all their columns; `fitted` are those that read fitted ones."""
    config = load_config(["run=x", "image.size=32", *overrides])
    built = {}
    for number, name in enumerate(names):
        stage = built[name] = build_stage(name, config, bins).eval()
        torch.manual_seed(number)
        with torch.no_grad():
            for parameter in stage.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
            stage.network.normalize(torch.full((3,), 0.4), torch.full((3,), 0.2))
            width = stage.network.pooling.fitted if name not in fitted else 0
            stage.network.readout.weight[:, stage.network.pooled_width - width :] = 0
        stage.to(stage.network.reading_dtype(CPU))
    return TwoStage(bins, built.get("classifier"), built.get("regressor"), config.image.color), config


def same(member, views):
    expected = member.read(PIXELS, views=views)
    with torch.no_grad():
        found = Member(member, views).eval()(torch.from_numpy(PIXELS))
    for name in ("probabilities", "offsets", "log_scales", "first"):
        values = found[name].numpy()
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-4, atol=1e-4, err_msg=name)
    return found


@pytest.mark.parametrize("backbone", [*(name for name in BACKBONES if name != "timm"), "resnet10t"])
def test_every_backbone(backbone):
    member, config = stages(f"backbone={backbone}")
    found = same(member, config.views)
    torch.testing.assert_close(found["masks"].sum((2, 3)), torch.ones(3, 8))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("fitted", [("classifier",), ("regressor",), (), ("classifier", "regressor")])
def test_every_pooling_with_stages_that_read_fitted_columns_or_not(pooling, fitted):
    member, config = stages(f"pooling={pooling}", fitted=fitted)
    found = same(member, config.views)
    assert ("masks" in found) == isinstance(member.regressor.network.pooling, MaskPooling)


@pytest.mark.parametrize("names", [("classifier",), ("regressor",)])
@pytest.mark.parametrize("fitted", [(), ("classifier", "regressor")])
def test_one_stage_alone(names, fitted):
    bins = BINS if "classifier" in names else Bins([80, 350])
    member, config = stages(names=names, fitted=fitted, bins=bins)
    assert "masks" in same(member, config.views)


@pytest.mark.parametrize("encoding", ["soft_bins", "codes"])
def test_learned_codes(encoding):
    member, config = stages("method=classifier", f"classifier.encoding={encoding}", names=("classifier",))
    assert same(member, config.views)["first"].isnan().all()


@pytest.mark.parametrize("overrides", [["combine.views=1"], ["augment=flips"], ["augment=mirror"]])
def test_views_that_were_declared(overrides):
    member, config = stages(*overrides)
    assert len(config.views) < 8
    same(member, config.views)


@pytest.mark.parametrize("overrides", [["+backbone@regressor.backbone=p4m"], ["+backbone@classifier.backbone=p4m"]])
def test_stages_with_backbones_of_their_own(overrides):
    member, config = stages(*overrides)  # of which one reads in float64
    same(member, config.views)


@pytest.mark.parametrize("color", ["srgb", "linear", "optical_density"])
def test_colours(color):
    member, config = stages(f"image.color={color}", "pooling=mean")
    same(member, config.views)
