"""The cameras that photograph random scenes: exposure, white balance, blur, noise, denoising, JPEG."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from twostage.data.scenes import Drawn, Spreads, draw_scene
from twostage.decoding.area import to_square
from twostage.decoding.spaces import linear_to_srgb

__all__ = ["CAMERA", "Camera", "Photographed", "photograph_scenes", "scene_targets"]

CAMERA = 1
"""To be raised when a change here or of the scenes changes pixels: those drawn before are then made again."""


@dataclass(frozen=True)
class Camera:
    """What differs from photograph to photograph; standard deviations (sd), ranges and chances as of `Spreads`."""

    pixels: tuple[int, int] = (40, 400)
    exposure: float = 0.8
    exposure_sd: float = 0.15
    white_balance_sd: float = 0.06
    blur: float = 0.4
    noise: tuple[float, float] = (0.002, 0.025)
    denoised: float = 0.25
    jpeg: float = 0.5

    def photograph(self, rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
        """Photograph linear light (S,S,3): uint8 sRGB (S,S,3)."""
        white = 1 + rng.normal(0, self.white_balance_sd, 3)
        gain = self.exposure * np.exp(rng.normal(0, self.exposure_sd)) * white
        light = np.maximum(light * gain.astype(np.float32), 0)
        sd = float(rng.uniform(*self.noise)) * np.sqrt(light + 0.002)
        noisy = light + sd * rng.standard_normal(light.shape, dtype=np.float32)
        picture = Image.fromarray(np.rint(linear_to_srgb(np.clip(noisy, 0, 1)) * 255).astype(np.uint8))
        if rng.random() < self.blur:
            picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.006 * len(light) + 0.4)))
        if rng.random() < self.denoised:
            picture = picture.filter(ImageFilter.MedianFilter(3))
        if rng.random() < self.jpeg:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=int(rng.integers(60, 99)))
            picture = Image.open(file)
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class Photographed:
    """N photographs of random scenes brought to size, uint8 (N,size,size,3), and what is known of each.

    `densities` (N,3): optical density of the zones, per channel, beyond that of what surrounds them; NaN where nothing
    does. `maps` (N,3,cells,cells), float16: the share of each cell that shows a zone, what surrounds zones, and the
    largest zone.
    """

    pixels: np.ndarray
    densities: np.ndarray
    maps: np.ndarray


def scene_targets(rows: range, seed: int) -> np.ndarray:
    """100 times the mean optical density of the zones of each scene, (N,), without drawing it."""
    return np.array([100 * _begin(seed, row)[1] for row in rows])


def _begin(seed: int, row: int) -> tuple[np.random.Generator, float]:
    """Where a scene takes its chance from, and its density, which is the first that is drawn."""
    rng = np.random.default_rng([seed, 2, row])
    return rng, float(rng.uniform(*Spreads().density))


def photograph_scenes(rows: range, size: int, seed: int, cells: int = 1, camera: Camera | None = None) -> Photographed:
    """Draw and photograph scenes; scene i depends on (seed, i) alone, whatever the number of scenes or of threads.

    Args:
        cells: Side of the maps.
    """
    camera, count = camera or Camera(), len(rows)
    pixels, maps = np.empty((count, size, size, 3), np.uint8), np.empty((count, 3, cells, cells), np.float16)
    densities = np.empty((count, 3))

    def one(number: int) -> None:
        rng, density = _begin(seed, rows[number])
        side = round(np.exp(rng.uniform(*np.log(camera.pixels))))  # as often small as large
        drawn = draw_scene(rng, side, density)
        picture = camera.photograph(rng, drawn.light)
        pixels[number] = to_square(lambda t, b, left, right: (picture[t:b, left:right], 255), side, side, size, "crop")
        densities[number] = _relative_density(drawn)
        maps[number] = [_brought_to(cells, share) for share in (drawn.zones, drawn.support, drawn.main)]

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(count)))
    return Photographed(pixels, densities, maps)


def _relative_density(drawn: Drawn) -> np.ndarray:
    """Mean optical density of zones minus that of what surrounds them, (3,); NaN where one of them is hardly seen."""
    density = -np.log10(np.maximum(drawn.light, 1e-3))
    least = 0.003 * drawn.zones.size
    if min(drawn.zones.sum(), drawn.support.sum()) < least:
        return np.full(3, np.nan)
    zones, support = (np.average(density.reshape(-1, 3), 0, share.ravel()) for share in (drawn.zones, drawn.support))
    return np.asarray(zones - support)


def _brought_to(cells: int, share: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(share).resize((cells, cells), Image.Resampling.BOX))
