"""A simulated colorimetric assay with a known forward model.

Each photograph shows a round well of coloured liquid on a white card. In linear light, at pixel u and channel c::

    I = scale * (g * w_c * L(u) * [m(u) * b_c * 10^(-A_c(y) * l(u)) + (1 - m(u)) * card] + glare(u))

with y the concentration, A its absorbance, l the path length (meniscus), m the soft-edged well, L the lighting
gradient, g the exposure and w the white balance. Noise of variance ``a * I + r^2`` is added, then the sRGB curve
and 8 bits. By the Beer-Lambert law ``A_c = e_c * y``; a universal indicator has another (`LAWS`). Every constant and
spread is a field of `Assay`, so a physical limit can be derived from the same model.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from twostage.decoding.area import to_square
from twostage.decoding.spaces import linear_to_srgb

__all__ = [
    "DEVIATIONS",
    "LAWS",
    "SIMULATOR",
    "Assay",
    "Scene",
    "UniversalIndicator",
    "averaged",
    "draw_scene",
    "draw_spots",
    "noise_free_light",
    "photograph_rng",
    "render_photographs",
    "sample_targets",
]

SIMULATOR = 1
"""To be raised when a change here changes pixels: photographs that were simulated before are then made again."""


@dataclass(frozen=True)
class Assay:
    """Constants of the simulated assay; lengths in image widths, light as a fraction of full scale.

    `absorptivity` is per unit of concentration; each ``*_sd`` is the standard deviation of a normal spread
    between photographs.
    """

    absorptivity: tuple[float, float, float] = (0.96e-3, 2.52e-3, 5.28e-3)
    blank: tuple[float, float, float] = (0.92, 0.88, 0.80)
    card: float = 0.95
    radius: float = 0.38
    radius_sd: float = 0.015
    center_sd: float = 0.03
    edge_pixels: float = 1.0
    gradient_sd: float = 0.08
    exposure_sd: float = 0.06
    white_balance_sd: float = 0.03
    meniscus_sd: float = 0.10
    glare_spots: float = 1.5
    glare_height: tuple[float, float] = (0.1, 0.5)
    glare_width: tuple[float, float] = (0.01, 0.04)
    scale: float = 0.85
    shot_noise: float = 1e-4
    read_noise: float = 0.0

    def absorbance(self, concentration: float) -> np.ndarray:
        """Decimal absorbance of red, green and blue light at a path length of one, (3,): the Beer-Lambert law."""
        return np.array(self.absorptivity) * concentration


@dataclass(frozen=True)
class UniversalIndicator(Assay):
    """A mixture of four indicators: red, yellow, green, blue and violet as the pH rises.

    Each indicator has two forms and passes from one to the other around its own pK, as Henderson and Hasselbalch say.
    The concentration is the pH in units of a `decade`-th. Green light is absorbed at both ends and not between, red and
    blue light turn back before the last colour: no linear function of the absorbances rises throughout.

    `colors` are the absorbances (red, green, blue light) of the five colours, from acid to base; `pk` (4,) where one
    half of each indicator has changed; `decade` how many units of the concentration are a unit of pH. `absorptivity`
    plays no part.

    Source: Henderson 1908 and Hasselbalch 1916, the equation named after them.
    """

    colors: tuple[tuple[float, float, float], ...] = (
        (0.05, 0.90, 0.80),
        (0.03, 0.10, 0.90),
        (0.50, 0.15, 0.60),
        (0.90, 0.45, 0.10),
        (0.60, 0.90, 0.25),
    )
    pk: tuple[float, ...] = (110.0, 180.0, 250.0, 320.0)
    decade: float = 40.0

    def absorbance(self, concentration: float) -> np.ndarray:
        """Decimal absorbance of red, green and blue light at a path length of one, (3,)."""
        changed = 1.0 / (1.0 + 10.0 ** ((np.array(self.pk) - concentration) / self.decade))
        colors = np.array(self.colors)
        return np.asarray(colors[0] + changed @ np.diff(colors, axis=0))


LAWS = {"beer_lambert": Assay, "universal_indicator": UniversalIndicator}
"""By `data.law`."""

DEVIATIONS = 10


@dataclass(frozen=True)
class Scene:
    """What differs between two photographs of one concentration, noise aside.

    `deviations` (10,), standard normal, are in units of the assay's spreads: centre in x and y, radius, lighting
    gradient in x and y, meniscus, exposure, white balance of the three channels. `glare` (size, size) is the light of
    the specular spots.
    """

    deviations: np.ndarray
    glare: np.ndarray


def sample_targets(count: int, low: float, high: float, spacing: str, seed: int) -> np.ndarray:
    """Draw `count` concentrations between `low` and `high`, float64 (N,).

    Args:
        spacing: "uniform", or "log_uniform" for many low and few high concentrations.
    """
    u = np.random.default_rng([seed, 0]).uniform(size=count)
    if spacing == "log_uniform":
        return np.exp(np.log(low) + u * (np.log(high) - np.log(low)))
    return low + u * (high - low)


def render_photographs(
    targets: np.ndarray, size: int, seed: int, *, assay: Assay | None = None, card_visible: bool = True, first: int = 0
) -> np.ndarray:
    """Photograph every concentration once: uint8 sRGB (N, size, size, 3).

    Photograph i, counted from `first`, depends on (seed, i, its target) alone, whatever the number of photographs or
    of threads.
    """
    assay = assay or Assay()
    photos = np.empty((len(targets), size, size, 3), np.uint8)

    def render(i: int) -> None:
        rng = photograph_rng(seed, first + i)
        scene = draw_scene(rng, size, assay)
        light = noise_free_light(float(targets[i]), scene, size, assay, card_visible).astype(np.float32)
        sd = np.sqrt(assay.shot_noise * light + assay.read_noise**2)
        noisy = light + sd * rng.standard_normal(light.shape, dtype=np.float32)
        photos[i] = np.rint(linear_to_srgb(np.clip(noisy, 0.0, 1.0)) * 255.0)

    with ThreadPoolExecutor() as pool:
        list(pool.map(render, range(len(targets))))
    return photos


def averaged(photographs: np.ndarray, size: int) -> np.ndarray:
    """Photographs uint8 (N,P,P,3) brought to (N,size,size,3) by the averages over areas that files go through."""
    side = photographs.shape[1]
    if side == size:
        return photographs

    def one(photograph: np.ndarray) -> np.ndarray:
        def read(top: int, bottom: int, left: int, right: int) -> tuple[np.ndarray, int]:
            return photograph[top:bottom, left:right], 255

        return to_square(read, side, side, size, "crop")

    return np.stack([one(photograph) for photograph in photographs])


def photograph_rng(seed: int, i: int) -> np.random.Generator:
    """Where photograph i takes its chance from: first its scene, then its noise."""
    return np.random.default_rng([seed, 1, i])


def draw_scene(rng: np.random.Generator, size: int, assay: Assay) -> Scene:
    """What chance makes of one photograph of `size` pixels, before the noise."""
    deviations = rng.standard_normal(DEVIATIONS)
    return Scene(deviations, _glare(*_axes(size), draw_spots(rng, assay)))


def draw_spots(rng: np.random.Generator, assay: Assay) -> np.ndarray:
    """Specular spots of one photograph (n,4): position from the middle in x and y, height, width."""
    spots = [
        [*rng.uniform(-0.5, 0.5, 2), rng.uniform(*assay.glare_height), rng.uniform(*assay.glare_width)]
        for _ in range(rng.poisson(assay.glare_spots))
    ]
    return np.reshape(spots, (-1, 4))


def noise_free_light(target: float, scene: Scene, size: int, assay: Assay, card_visible: bool) -> np.ndarray:
    """The forward model: linear light of one photograph without noise, float64 (size, size, 3)."""
    x, y = _axes(size)
    deviations = scene.deviations
    center_x, center_y = assay.center_sd * deviations[:2]
    radius = assay.radius + assay.radius_sd * deviations[2]
    slope_x, slope_y = assay.gradient_sd * deviations[3:5]
    distance = np.hypot(x - center_x, y - center_y)
    well = 1.0 / (1.0 + np.exp(np.clip((distance - radius) * size / (0.5 * assay.edge_pixels), -60, 60)))
    lighting = 1.0 + slope_x * x + slope_y * y
    path = 1.0 + assay.meniscus_sd * deviations[5] * (distance / radius) ** 2
    exposure = 1.0 + assay.exposure_sd * deviations[6]
    white = 1.0 + assay.white_balance_sd * deviations[7:]
    transmitted = np.array(assay.blank) * 10.0 ** (-assay.absorbance(target) * path[..., None])
    surround = assay.card if card_visible else 0.0
    surface = well[..., None] * transmitted + (1.0 - well[..., None]) * surround
    light = exposure * white * lighting[..., None] * surface + scene.glare[..., None]
    return np.asarray(assay.scale * light)


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the pixels in image widths from the middle: x (1, size) and y (size, 1)."""
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    return axis[None, :], axis[:, None]


def _glare(x: np.ndarray, y: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """Light of specular spots: Gaussians, (size, size)."""
    light = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for spot_x, spot_y, height, width in spots:
        light += height * np.exp(-0.5 * ((x - spot_x) ** 2 + (y - spot_y) ** 2) / width**2)
    return light
