"""Photographs that a model of an assay must not read as if they were of its kind: uint8 sRGB, of any size from 16 up.

`make` draws those of one name, `spoil` ruins valid photographs of any assay. Photograph i depends on (name, seed, i)
and its size alone.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from twostage.data.camera import photograph_scenes
from twostage.data.simulated import Assay, draw_scene, noise_free_light
from twostage.decoding.spaces import linear_to_srgb

RANGE = (80.0, 350.0)
"""Concentrations of the simulated assay as it is by default."""


def make(name, count, size, seed):
    """So many photographs of one kind of `FOREIGN` or `SIMULATED_SPOILED`: uint8 (N,size,size,3)."""
    draw = (FOREIGN | SIMULATED_SPOILED)[name]
    return np.stack([_levels(draw(_chance(name, seed, i), size)) for i in range(count)])


def make_assay(count, size, seed):
    """Valid photographs of the simulated assay, to compare with: uint8 (N,size,size,3)."""
    return np.stack([_levels(assay(_chance("assay", seed, i), size)) for i in range(count)])


def spoil(name, photographs, seed):
    """Valid photographs (N,H,W,3) of any assay, ruined as one name of `SPOILED` says."""
    return np.stack([_levels(SPOILED[name](_chance(name, seed, i), one / 255)) for i, one in enumerate(photographs)])


def _chance(name, seed, i):
    return np.random.default_rng([zlib.crc32(name.encode()), seed, i])


def _levels(photograph):
    return np.rint(255 * np.clip(photograph, 0, 1)).astype(np.uint8)


def _linear(photograph):
    return np.where(photograph <= 0.04045, photograph / 12.92, ((photograph + 0.055) / 1.055) ** 2.4)


def _taken(rng, light, noise=0.01):
    """What a camera makes of linear light (S,S,3): its noise, and the sRGB curve."""
    light = light + noise * np.sqrt(np.maximum(light, 0) + 0.001) * rng.standard_normal(light.shape)
    return linear_to_srgb(np.clip(light, 0, 1))


def _axes(size):
    axis = (np.arange(size) + 0.5) / size - 0.5
    return axis[None, :], axis[:, None]


def _slope(rng, size, spread=0.08):
    """A slightly uneven light (S,S,1) around 1."""
    x, y = _axes(size)
    along_x, along_y = rng.normal(0, spread, 2)
    return (1 + along_x * x + along_y * y)[..., None]


def _one_over_f(rng, size, power):
    """Noise (S,S) whose amplitude falls as frequency to a power, of mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[None, :], np.fft.fftfreq(size)[:, None])
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) / frequency**power).real
    return field / field.std()


def _paper(rng, size):
    """Linear light (S,S,3) of a white sheet: fibres, uneven light, a slight tint."""
    tint = rng.uniform(0.75, 0.95) * (1 + rng.normal(0, 0.02, 3))
    return tint * _slope(rng, size) * (1 + 0.015 * _one_over_f(rng, size, 0.5)[..., None])


def uniform_noise(rng, size):
    return rng.random((size, size, 3))


def gaussian_noise(rng, size):
    return rng.uniform(0.2, 0.8, 3) + rng.uniform(0.05, 0.3) * rng.standard_normal((size, size, 3))


def flat(rng, size):
    """One colour of any hue."""
    return np.broadcast_to(rng.random(3), (size, size, 3))


def black(rng, size):
    """The cap on the lens: sensor noise of a level or two."""
    return rng.uniform(0, 0.01) * np.abs(rng.standard_normal((size, size, 3)))


def white_sheet(rng, size):
    return _taken(rng, _paper(rng, size))


def printed_text(rng, size):
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     .,"))
    side = max(size, 64)
    page = Image.new("L", (side, side), 255)
    pen, height = ImageDraw.Draw(page), int(rng.integers(7, side // 4))
    for top in range(int(rng.integers(0, height)), side, round(1.3 * height)):
        pen.text((2, top), "".join(rng.choice(letters, 60)), fill=0, font=ImageFont.load_default(height))
    ink = np.asarray(page.resize((size, size), Image.Resampling.BOX))[..., None] / 255
    return _taken(rng, _paper(rng, size) * (0.05 + 0.95 * ink))


def checkerboard(rng, size):
    """Squares of two colours, turned."""
    x, y = _axes(size)
    turn, cells = rng.uniform(0, np.pi), rng.uniform(3, 12)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    odd = ((np.floor(cells * along) + np.floor(cells * across)) % 2)[..., None]
    one, other = rng.uniform(0, 0.3, 3), rng.uniform(0.5, 0.95, 3)
    return _taken(rng, (one + odd * (other - one)) * _slope(rng, size))


def code(rng, size):
    """A printed code as of QR: random cells, with three finder patterns."""
    cells = int(rng.choice([21, 25, 29]))
    dark = rng.random((cells, cells)) < 0.5
    finder = np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True)
    for top, left in ((0, 0), (0, cells - 7), (cells - 7, 0)):
        dark[top : top + 7, left : left + 7] = finder
    picture = Image.fromarray(np.where(np.pad(dark, 2), 0, 255).astype(np.uint8))
    ink = np.asarray(picture.resize((8 * (cells + 4),) * 2, Image.Resampling.NEAREST).resize((size, size)))
    return _taken(rng, _paper(rng, size) * (0.05 + 0.95 * ink[..., None] / 255))


def color_gradient(rng, size):
    """From one colour to another, in any direction."""
    x, y = _axes(size)
    turn = rng.uniform(0, 2 * np.pi)
    share = (0.5 + 0.7 * (x * np.cos(turn) + y * np.sin(turn)))[..., None]
    one, other = rng.random((2, 3))
    return one + share * (other - one)


def texture(rng, size):
    """As of nature: amplitudes fall with frequency, few colours."""
    power = rng.uniform(0.8, 1.6)
    fields = np.stack([_one_over_f(rng, size, power) for _ in range(3)], -1)
    mixed = fields @ (np.diag([1.0, 0.4, 0.3]) @ rng.normal(0, 0.15, (3, 3)))
    return rng.uniform(0.2, 0.8, 3) + mixed + 0.12 * fields[..., :1]


def random_scene(rng, size):
    """Coloured zones on anything, as the start of the networks was taught by."""
    return photograph_scenes(range(1), size, int(rng.integers(2**31))).pixels[0] / 255


def _assay_light(rng, size, target=None, shift=None, **changed):
    """Linear light (S,S,3) of the simulated assay, with other constants, or its disc at another place."""
    kind = replace(Assay(), **changed)
    scene = draw_scene(rng, size, kind)
    if shift is not None:
        scene.deviations[:2] = np.array(shift) / kind.center_sd
    return noise_free_light(rng.uniform(*RANGE) if target is None else target, scene, size, kind, card_visible=True)


def assay(rng, size, **changed):
    """A valid photograph of the simulated assay."""
    return _taken(rng, _assay_light(rng, size, **changed))


def empty_well(rng, size):
    """The blank of the assay without any reagent."""
    return assay(rng, size, target=0.0)


def plain_water(rng, size):
    """A well of a clear liquid, without the tint of the blank."""
    return assay(rng, size, target=0.0, blank=tuple(rng.uniform(0.85, 0.97) * (1 + rng.normal(0, 0.01, 3))))


def liquid_alone(rng, size):
    """The right liquid so near that nothing surrounds it."""
    return assay(rng, size, radius=3.0)


def plate(rng, size):
    """A plate of many wells of the right liquid."""
    each = int(rng.integers(2, 7))
    side = -(-size // each)
    rows = [np.concatenate([_assay_light(rng, side) for _ in range(each)], 1) for _ in range(each)]
    return _taken(rng, np.concatenate(rows)[:size, :size] * _slope(rng, size))


def half_as_large(rng, size):
    """The right well from twice as far."""
    return assay(rng, size, radius=0.19)


def twice_as_large(rng, size):
    """The right well from half as far: corners of the card are left at most."""
    return assay(rng, size, radius=0.66)


def off_center(rng, size):
    """The right well at the edge of the photograph."""
    turn, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.5)
    return assay(rng, size, shift=(distance * np.cos(turn), distance * np.sin(turn)))


def wrong_hue(rng, size):
    """The right well of another reagent: the channels are exchanged."""
    orders = [list(order) for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
    return assay(rng, size)[..., orders[rng.integers(len(orders))]]


FOREIGN = {
    "uniform noise": uniform_noise,
    "gaussian noise": gaussian_noise,
    "flat": flat,
    "black": black,
    "white sheet": white_sheet,
    "printed text": printed_text,
    "checkerboard": checkerboard,
    "code": code,
    "color gradient": color_gradient,
    "texture": texture,
    "random scene": random_scene,
    "empty well": empty_well,
    "plain water": plain_water,
    "liquid alone": liquid_alone,
    "plate": plate,
    "half as large": half_as_large,
    "twice as large": twice_as_large,
    "off center": off_center,
    "wrong hue": wrong_hue,
}
"""What draws one photograph (S,S,3) in [0, 1], by name: draw(rng, size)."""


def blurred(rng, photograph):
    """Far out of focus: a tenth of the width and more."""
    radius = rng.uniform(0.1, 0.2) * len(photograph)
    return np.asarray(Image.fromarray(_levels(photograph)).filter(ImageFilter.GaussianBlur(radius))) / 255


def half_covered(rng, photograph):
    """A finger or a sheet, of any even colour, in front of about one half."""
    x, y = _axes(len(photograph))
    turn = rng.uniform(0, 2 * np.pi)
    far = (np.cos(turn) * x + np.sin(turn) * y - rng.normal(0, 0.05)) * len(photograph)
    share = 1 / (1 + np.exp(-np.clip(far, -60, 60)))[..., None]
    return photograph + share * (rng.uniform(0.02, 0.95, 3) - photograph)


def overexposed(rng, photograph):
    """Two to six times the light: much of it is clipped."""
    return linear_to_srgb(np.clip(_linear(photograph) * rng.uniform(2, 6), 0, 1))


def underexposed(rng, photograph):
    """A tenth of the light or less."""
    return linear_to_srgb(_linear(photograph) * rng.uniform(0.01, 0.1))


def grayscale(rng, photograph):
    return np.repeat(photograph @ np.array([[0.299], [0.587], [0.114]]), 3, -1)


SPOILED = {
    "blurred": blurred,
    "half covered": half_covered,
    "overexposed": overexposed,
    "underexposed": underexposed,
    "grayscale": grayscale,
}
"""What ruins one square photograph (S,S,3) in [0, 1], by name: ruin(rng, photograph)."""


def _of_assay(ruin):
    return lambda rng, size: ruin(rng, assay(rng, size))


SIMULATED_SPOILED = {name: _of_assay(ruin) for name, ruin in SPOILED.items()}
"""As `FOREIGN`, of valid photographs of the simulated assay."""
