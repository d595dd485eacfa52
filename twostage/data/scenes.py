"""Random scenes: coloured zones of any shape, number and reagent, on any background, as any phone photographs them.

They resemble no assay in particular. What a network can learn from them is *where* to look, in any photograph of a
reaction; what the colours mean it must then learn from the laboratory's own photographs. For every pixel it is known
what it shows, so that this can be taught pixel by pixel.

In linear light a zone shows ``blank * 10^(-density * path)`` of its material (Beer-Lambert law), in front of or on a
support; lighting, shadows and glare follow, then the camera: exposure, white balance, blur, noise, denoising, JPEG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["Drawn", "Spreads", "draw_scene"]


@dataclass(frozen=True)
class Spreads:
    """What differs from scene to scene: ranges of uniform draws, standard deviations (sd) of normal ones, chances.

    Lengths are in image widths, light is a fraction of full scale.
    """

    layouts: tuple[tuple[str, float], ...] = (
        ("zone", 0.35),
        ("strip", 0.25),
        ("cuvette", 0.1),
        ("droplets", 0.12),
        ("alone", 0.18),
    )
    half_size: tuple[float, float] = (0.1, 0.47)
    density: tuple[float, float] = (0.02, 1.0)
    second_absorber: float = 0.35
    blank: tuple[float, float] = (0.6, 0.97)
    tint_sd: float = 0.05
    material: tuple[float, float] = (0.15, 0.98)
    card: float = 0.6
    texture: tuple[float, ...] = (0.0, 0.02, 0.06, 0.15)
    rim: float = 0.35
    meniscus_sd: float = 0.12
    bubbles: float = 0.6
    blotches: float = 0.3
    shadow: float = 0.35
    gradient_sd: float = 0.1
    glare_spots: float = 1.2
    glare_height: tuple[float, float] = (0.05, 0.6)
    glare_width: tuple[float, float] = (0.008, 0.06)


@dataclass(frozen=True)
class Drawn:
    """One scene of S pixels before the camera: `light` (S,S,3) linear, and what each pixel shows, (S,S) in [0, 1].

    `zones` is the share of a pixel that is reagent without glare, `support` that is the material around it, `main`
    that belongs to the largest of the zones.
    """

    light: np.ndarray
    zones: np.ndarray
    support: np.ndarray
    main: np.ndarray


class _Canvas:
    """A scene while it is drawn."""

    def __init__(self, rng: np.random.Generator, size: int, density: float, spreads: Spreads) -> None:
        self.rng, self.size, self.density, self.spreads = rng, size, density, spreads
        axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
        self.x, self.y = np.meshgrid(axis, axis)
        self.light = np.zeros((size, size, 3), np.float32)
        self.zones = np.zeros((size, size), np.float32)
        self.support = np.zeros((size, size), np.float32)
        self.each: list[np.ndarray] = []

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def within(self, limits: tuple[float, float]) -> float:
        return float(self.rng.uniform(*limits))

    def tinted(self, gray: float) -> np.ndarray:
        """A nearly neutral colour (3,)."""
        color = gray * (1 + self.rng.normal(0, self.spreads.tint_sd, 3))
        return np.asarray(np.clip(color, 0.01, 1.0), np.float32)

    def shape(
        self, center: Sequence[float] | np.ndarray, half: Sequence[float], power: float, turn: float
    ) -> np.ndarray:
        """Distance (S,S) from a center, 1 on the outline: an ellipse (power 2) to a rectangle (20)."""
        (x, y), cos, sin = map(float, center), math.cos(turn), math.sin(turn)  # a float64 would make all of it one
        along = ((self.x - x) * cos + (self.y - y) * sin) / float(half[0])
        across = ((self.y - y) * cos - (self.x - x) * sin) / float(half[1])
        return np.asarray((np.abs(along) ** power + np.abs(across) ** power) ** (1 / power))

    def inside(self, distance: np.ndarray, half: tuple[float, float], edge: float = 0.7) -> np.ndarray:
        """Share (S,S) of each pixel inside an outline whose edge is so many pixels wide."""
        return 1 / (1 + np.exp(np.clip((distance - 1) * float(min(half) * self.size / edge), -60, 60)))

    def uneven(self, cells: int) -> np.ndarray:
        """A smooth random field (S,S) of standard deviation about one."""
        coarse = self.rng.standard_normal((cells, cells)).astype(np.float32)
        return np.asarray(Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BICUBIC))

    def cover(self, share: np.ndarray, color: np.ndarray, *, support: bool = False) -> None:
        """Lay a material (3,) or (S,S,3) over what is there; it hides zones, and may be their new support."""
        self.light += share[..., None].astype(np.float32) * (color - self.light)
        self.zones *= 1 - share
        self.support *= 1 - share
        if support:
            self.support = share.astype(np.float32)


def draw_scene(rng: np.random.Generator, size: int, density: float, spreads: Spreads | None = None) -> Drawn:
    """Draw a scene of `size` pixels from random numbers.

    Args:
        density: Optical density of the reagent, mean over the channels; where there are several zones, each has a
            colour of its own.
    """
    canvas = _Canvas(rng, size, density, spreads or Spreads())
    names, chances = zip(*canvas.spreads.layouts, strict=True)
    layout = str(rng.choice(names, p=np.array(chances) / sum(chances)))
    _background(canvas, alone=layout == "alone")
    for center, half, power, turn in LAYOUTS[layout](canvas):
        _zone(canvas, center, half, power, turn, alone=layout == "alone")
    _light(canvas)
    seen = [zone * canvas.zones for zone in canvas.each]
    return Drawn(canvas.light, canvas.zones, canvas.support, max(seen, key=np.sum))


def _background(canvas: _Canvas, *, alone: bool) -> None:
    """A table, tray or cloth, and maybe a card on it; nothing but darkness around a zone that stands alone."""
    spreads, rng = canvas.spreads, canvas.rng
    everywhere = np.ones_like(canvas.x)
    if alone:
        canvas.cover(everywhere, canvas.tinted(canvas.within((0.0, 0.03))))
        return
    canvas.cover(everywhere, canvas.tinted(canvas.within(spreads.material)), support=True)
    amount = float(rng.choice(spreads.texture))
    if amount and canvas.chance(0.5):  # cloth, wood: stripes
        turn, waves, phase = rng.uniform(0, np.pi), rng.uniform(5, 40), rng.uniform(0, 6)
        field = np.sin(2 * math.pi * waves * (canvas.x * math.cos(turn) + canvas.y * math.sin(turn)) + phase)
    else:
        field = canvas.uneven(int(rng.integers(3, 40)))
    canvas.light *= np.maximum(1 + amount * field, 0.05)[..., None]
    if canvas.chance(spreads.card):
        half = (canvas.within((0.3, 0.8)), canvas.within((0.3, 0.8)))
        distance = canvas.shape(rng.normal(0, 0.06, 2), half, 12, rng.normal(0, 0.3))
        canvas.cover(canvas.inside(distance, half), canvas.tinted(canvas.within((0.75, 0.97))), support=True)


Outline = tuple[tuple[float, float], tuple[float, float], float, float]
"""Of a zone: center, half axes, power of the ellipse, turn."""


def _one(canvas: _Canvas) -> list[Outline]:
    """A well, spot or pad near the middle."""
    rng, size = canvas.rng, canvas.within(canvas.spreads.half_size)
    aspect = float(rng.choice([1.0, 1.0, rng.uniform(0.5, 1)]))
    room = max(0.0, 0.5 - size)
    center = tuple(np.clip(rng.normal(0, 0.08, 2), -room, room))
    return [(center, (size, size * aspect), float(rng.choice([2, 2, 2, 4, 12])), rng.uniform(0, np.pi))]


def _strip(canvas: _Canvas) -> list[Outline]:
    """One to four pads in a row on a strip, which may run out of the photograph and lie in a dark holder."""
    rng = canvas.rng
    count, turn = int(rng.integers(1, 5)), rng.uniform(0, 2 * np.pi)
    across = canvas.within((0.08, 0.25))
    pitch = across * canvas.within((2.1, 3.2))
    axis, middle = np.array([np.cos(turn), np.sin(turn)]), rng.normal(0, 0.1, 2)
    length = pitch * count / 2 + canvas.within((0.0, 0.5))
    if canvas.chance(0.3):
        half = (length + 0.04, across * 1.3 + 0.04)
        canvas.cover(
            canvas.inside(canvas.shape(middle, half, 12, turn), half), canvas.tinted(canvas.within((0.01, 0.3)))
        )
    half = (length, across * canvas.within((1.02, 1.3)))
    strip = canvas.inside(canvas.shape(middle, half, 12, turn), half)
    canvas.cover(strip, canvas.tinted(canvas.within((0.7, 0.97))), support=True)
    along = np.clip(pitch * canvas.within((0.3, 0.46)), 0.05, None)
    centers = [middle + axis * (number - (count - 1) / 2) * pitch for number in range(count)]
    inside = [center for center in centers if np.abs(center).max() < 0.5] or [np.clip(middle, -0.3, 0.3)]
    power, less = float(rng.choice([4, 12, 20])), rng.uniform(0.5, 1, len(inside))
    less[rng.integers(len(inside))] = 1.0  # one pad is as large as the strip lets it be
    return [((c[0], c[1]), (along * k, across * k), power, turn) for c, k in zip(inside, less, strict=True)]


def _cuvette(canvas: _Canvas) -> list[Outline]:
    """A vessel with walls, filled to some height."""
    rng, turn = canvas.rng, float(canvas.rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]) + canvas.rng.normal(0, 0.1))
    half = (canvas.within((0.25, 0.47)), canvas.within((0.1, 0.3)))
    center = rng.normal(0, 0.04, 2)
    canvas.cover(
        canvas.inside(canvas.shape(center, half, 16, turn), half) * canvas.within((0.2, 0.8)),
        canvas.tinted(canvas.within((0.4, 0.95))),
    )
    filled = canvas.within((0.4, 1.0))
    shift = half[0] * (1 - filled) * np.array([np.cos(turn), np.sin(turn)])
    return [(tuple(center + shift), (half[0] * filled * 0.95, half[1] * 0.9), 16.0, turn)]


def _droplets(canvas: _Canvas) -> list[Outline]:
    """One to six drops or wells of one size."""
    rng, count = canvas.rng, int(canvas.rng.integers(1, 7))
    size = canvas.within((0.05, 0.2)) if count > 1 else canvas.within((0.08, 0.25))
    centers = [rng.uniform(-0.5 + size, 0.5 - size, 2)]
    for _ in range(20):
        center = rng.uniform(-0.5 + size, 0.5 - size, 2)
        if len(centers) < count and all(np.hypot(*(center - other)) > 2.1 * size for other in centers):
            centers.append(center)
    return [((c[0], c[1]), (size, size * canvas.within((0.8, 1.0))), 2.0, rng.uniform(0, np.pi)) for c in centers]


LAYOUTS = {"zone": _one, "strip": _strip, "cuvette": _cuvette, "droplets": _droplets, "alone": _one}


def _zone(
    canvas: _Canvas,
    center: tuple[float, float],
    half: tuple[float, float],
    power: float,
    turn: float,
    *,
    alone: bool,
) -> None:
    """Reagent in an outline: absorbers over a blank, meniscus, rim, bubbles, blotches."""
    rng, spreads = canvas.rng, canvas.spreads
    if alone:
        half = (max(half[0], 0.3), max(half[1], 0.28))
    distance = canvas.shape(center, half, power, turn)
    share = canvas.inside(distance, half, canvas.within((0.3, 2.5) if alone else (0.3, 1.2)))
    density = _reagent(canvas)
    path = 1 + float(spreads.meniscus_sd * rng.normal()) * np.minimum(distance, 1.3) ** 2
    if canvas.chance(spreads.blotches):
        path = path * np.maximum(1 + 0.15 * canvas.uneven(int(rng.integers(3, 9))), 0.1)
    if canvas.chance(spreads.rim):
        ring = canvas.inside(distance / 1.12, half) * (1 - share)
        canvas.cover(ring * canvas.within((0.2, 0.9)), canvas.tinted(canvas.within((0.02, 0.9))))
    blank = canvas.tinted(canvas.within(spreads.blank))
    canvas.cover(share, blank * np.exp(-math.log(10) * density * path[..., None].astype(np.float32)))
    canvas.zones = np.maximum(canvas.zones, share)
    canvas.each.append(share)
    for _ in range(rng.poisson(spreads.bubbles)):
        place = np.array(center) + rng.uniform(-0.8, 0.8, 2) * min(half)
        radius = (canvas.within((0.005, 0.03)),) * 2
        bubble = canvas.inside(canvas.shape(place, radius, 2, 0), radius) * canvas.within((0.2, 0.9))
        canvas.cover(bubble, canvas.tinted(canvas.within((0.1, 0.95))))


def _reagent(canvas: _Canvas) -> np.ndarray:
    """Optical density (3,) of a reagent of any colour, of one or two absorbers."""
    rng, spreads = canvas.rng, canvas.spreads
    absorbers = [rng.uniform(0.05, 1, 3) ** 1.5 for _ in range(1 + canvas.chance(spreads.second_absorber))]
    shares = rng.dirichlet(np.ones(len(absorbers)))
    spectrum = sum(share * one / one.mean() for share, one in zip(shares, absorbers, strict=True))
    return np.asarray(canvas.density * spectrum, np.float32)


def _light(canvas: _Canvas) -> None:
    """Lighting gradient, shadows, and specular spots, which hide what they fall on."""
    rng, spreads = canvas.rng, canvas.spreads
    slope_x, slope_y = (float(rng.normal(0, spreads.gradient_sd)) for _ in range(2))
    lighting = np.maximum(1 + slope_x * canvas.x + slope_y * canvas.y, 0.2)
    if canvas.chance(spreads.shadow):  # of a hand, the phone, a wall
        turn, place = rng.uniform(0, 2 * np.pi), rng.normal(0.2, 0.25)
        edge = (canvas.x * math.cos(turn) + canvas.y * math.sin(turn) - place) / canvas.within((0.01, 0.2))
        lighting = lighting * (1 - canvas.within((0.05, 0.5)) / (1 + np.exp(-np.clip(edge, -60, 60))))
    if canvas.chance(spreads.shadow):
        lighting = lighting * np.maximum(1 + 0.12 * canvas.uneven(int(rng.integers(3, 6))), 0.2)
    canvas.light *= lighting[..., None].astype(np.float32)
    glare = np.zeros_like(canvas.x)
    for _ in range(rng.poisson(spreads.glare_spots)):
        x, y = rng.uniform(-0.5, 0.5, 2)
        width, height = canvas.within(spreads.glare_width), canvas.within(spreads.glare_height)
        long = width * canvas.within((1.0, 3.0)) if canvas.chance(0.3) else width
        glare += height * np.exp(-0.5 * canvas.shape((x, y), (width, long), 2, rng.uniform(0, np.pi)) ** 2)
    canvas.light += glare[..., None].astype(np.float32)
    canvas.zones *= glare < 0.02
    canvas.support *= glare < 0.02
