"""The smallest networks that train as the real ones do, and photographs for them."""

import functools

import numpy as np
import torch
from helpers import statistics
from torch import nn

from twostage import Bins, load_config
from twostage.data.color import to_color, to_srgb
from twostage.data.simulated import render_photographs
from twostage.training.course import Examples

CPU = torch.device("cpu")
BINS = Bins.uniform(80, 350, 3)
TINY = (
    "train.refit=false",
    "image.size=32",
    "bins.count=3",
    "backbone.widths=[8,8]",
    "backbone.strides=[2,2]",
    "backbone.dilations=[1,1]",
)


class Line(nn.Module):
    """The smallest stage: a line through the mean colour. Targets are the concentrations; it notes what it sees."""

    def __init__(self, start=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 1), float(start)))
        self.bias = nn.Parameter(torch.tensor([float(start)]))
        self.seen = []

    def forward(self, images):
        return (images.mean((2, 3)) @ self.weight + self.bias)[:, 0]

    def loss(self, images, targets, mean_of_batch=torch.mean):
        self.seen.append(targets.tolist())
        return (self(images) - targets).square().mean()

    def estimate(self, images, targets):
        return self(images)


def line_examples(count=12, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    values = np.arange(count, dtype=np.float64)
    return Examples([f"p{i}" for i in range(count)], pixels, values, torch.from_numpy(values).float())


def parts(stage, config, count=30, held_out=12):
    """Simulated photographs for a stage, to learn from and to validate on."""
    targets = np.random.default_rng(5).uniform(80, 350, count + held_out)
    pixels = render_photographs(targets, 32, 5)
    learned = stage.targets(targets)
    srgb = to_srgb(pixels[:count], CPU)
    stage.network.normalize(*statistics(to_color(srgb, config.image.color)))
    return [
        Examples([f"p{i}" for i in range(len(targets))][rows], pixels[rows], targets[rows], learned[rows])
        for rows in (slice(None, count), slice(count, None))
    ]


@functools.cache
def options_of(*overrides):
    return load_config([*TINY, *overrides])


def differing(one, other):
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]
