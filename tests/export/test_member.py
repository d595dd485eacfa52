"""What a graph's stages say is what `TwoStage.read` says, for every backbone, pooling and method."""

import numpy as np
import pytest
import torch
from small_model import BINS, stages

from twostage import Bins
from twostage.backbones.pooling import MaskPooling
from twostage.data.simulated import render_photographs
from twostage.export.graph import Member
from twostage.options.backbones import BACKBONES
from twostage.options.choices import POOLINGS

PIXELS = render_photographs(np.linspace(90, 340, 3), 32, 0)


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
