"""What tests of several folders use and no fixture is."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from twostage.data.simulated import Assay

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

# Both stages in about two seconds.
TINY = ["data.count=60", "image.size=32", "train.epochs=4", "bins.count=3", "combine.views=1", "runtime.progress=false"]
TINY_TABLE = [
    "data=csv",
    "data.table=photos.csv",
    *TINY[1:],
    "bins.min_images=1",
    "bins.min_groups=1",
    "train.final=part",
]

# the simulated assay without any of its disturbances
QUIET = Assay(
    radius_sd=0,
    center_sd=0,
    gradient_sd=0,
    exposure_sd=0,
    white_balance_sd=0,
    meniscus_sd=0,
    glare_spots=0,
    shot_noise=0,
    read_noise=0,
)


def statistics(images):
    """Mean and standard deviation of each channel (C,) of images (N,C,H,W)."""
    return images.mean((0, 2, 3)), images.std((0, 2, 3)).clamp_min(1e-3)


def few(quick, values):
    """Parameters of a test, of which only those in `quick` are tried where there is little time."""
    assert set(map(repr, quick)) <= set(map(repr, values))
    few = [*map(repr, quick)]
    return [value if repr(value) in few else pytest.param(*_each(value), marks=pytest.mark.slow) for value in values]


def _each(value):
    return value if isinstance(value, tuple) else (value,)


def one_line(result, *words):
    status, _, err = result
    assert status == 1, err
    assert err.startswith("twostage: ")
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


def levels(light):
    """The sRGB curve, as the standard states it, in 256 levels."""
    light = np.asarray(light, float)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def linear(photos):
    value = photos / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


class Parsed(HTMLParser):
    """What a browser would make of a page: tags with their attributes, and text; tags must be balanced."""

    WITHOUT_END = frozenset({"meta", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
