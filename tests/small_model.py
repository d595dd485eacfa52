"""A model that has learned nothing and uses all its parts: quick to build, and no number of it is zero by chance."""

import numpy as np
import torch

from twostage import Bins, load_config
from twostage.model_folder import TrainedModel
from twostage.options.choices import INTERVALS
from twostage.options.family import resolve
from twostage.stages.build import build_stage
from twostage.stages.ensemble import Ensemble
from twostage.stages.reading import Reading
from twostage.stages.two_stage import TwoStage
from twostage.trust.dispersion import Dispersion
from twostage.trust.trust import Trust
from twostage.trust.typicality import Typicality

BINS = Bins([80, 110, 180, 350])
SIZE = 16
"""Of `pictures`."""


def pictures(rng, count):
    """Most are usual; every tenth is black, white, of one colour, or noise."""
    pixels = rng.integers(100, 132, (count, SIZE, SIZE, 3), dtype=np.uint8)
    for i, (low, high) in enumerate([(0, 3), (253, 256), (90, 93), (0, 256)]):
        pixels[i::10] = rng.integers(low, high, pixels[i::10].shape)
    return pixels


def said(rng, bins, count):
    """What stages may say: sure and unsure, alike and at odds, beyond the range, and nothing."""
    sharp = np.exp(rng.uniform(-2, 4, (count, 1)))
    probabilities = np.exp(sharp * rng.standard_normal((count, bins.count)))
    probabilities /= probabilities.sum(1, keepdims=True)
    middle = (bins.places[:-1] + bins.places[1:]) / 2
    width = np.ptp(bins.places)
    estimate = bins.places[0] + width * rng.uniform(-0.2, 1.2, (count, 1))
    apart = np.exp(rng.uniform(-12, 3, (count, 1))) * rng.standard_normal((count, bins.count))
    offsets = (estimate - middle) / bins.half_width + apart
    first = estimate[:, 0] + 0.1 * width * rng.standard_normal(count)
    reading = Reading(probabilities, offsets, rng.uniform(-4, 1, offsets.shape), first)
    for values in (probabilities, offsets):
        values[rng.random(count) < 0.03] = np.nan
    return reading


def trusted(rng, bins, method, **more):
    """Trust that was learned from numbers of no meaning; many specimens, so that bins have quantiles of their own."""
    usual = np.delete(pictures(rng, 100), np.arange(100) % 10 < 4, 0)
    typicality, _ = Typicality.fit(usual, np.arange(len(usual)).astype(str), 0.01)
    middle, spread = np.array([0.0, 0, -5, 0]), np.array([0.3, 1, 2, 1])
    base = np.log(0.02 * np.ptp(bins.places))
    dispersion = Dispersion(base, np.array([0.1, -0.3, 0.2, 0.05]), middle, spread)
    count = 0 if method == "none" else more.pop("specimens", 700)
    strangeness = rng.exponential(1, count) * (0.01 * np.ptp(bins.places) if method == "conformal" else 1)
    inside = np.minimum(rng.geometric(0.5, count) - 1, bins.count - 1)
    intervals = resolve(INTERVALS[method])(strangeness, np.ones(count), inside)
    return Trust(typicality, dispersion, intervals, method, **more)


def stages(*overrides, names=("classifier", "regressor"), fitted=("classifier", "regressor"), bins=BINS, seed=0):
    """Stages that have learned nothing and use all their columns; `fitted` are those that read fitted ones."""
    config = load_config(["run=x", "image.size=32", *overrides])
    built = {}
    for number, name in enumerate(names):
        stage = built[name] = build_stage(name, config, bins).eval()
        torch.manual_seed(seed + number)
        with torch.no_grad():
            for parameter in stage.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
            stage.network.normalize(torch.full((3,), 0.4), torch.full((3,), 0.2))
            width = stage.network.pooling.fitted if name not in fitted else 0
            stage.network.readout.weight[:, stage.network.pooled_width - width :] = 0
        stage.to(stage.network.reading_dtype(torch.device("cpu")))
    return TwoStage(bins, built.get("classifier"), built.get("regressor"), config.image.color), config


def small_model(*overrides, members=1, bins=BINS, **more):
    """A whole model with backbones of two layers; `more` goes to `trusted`."""
    tiny = ["backbone.widths=[4,4]", "backbone.strides=[2,2]", "backbone.dilations=[1,1]"]
    built = [stages(*tiny, *overrides, bins=bins, seed=10 * number) for number in range(members)]
    network = Ensemble([member for member, _ in built]) if members > 1 else built[0][0]
    trust = trusted(np.random.default_rng(0), bins, built[0][1].intervals.method, **more)
    return TrainedModel(network.eval(), bins, built[0][1], {"sha256": {}, "digest": "0"}, trust)
