"""Colour spaces of files, and how their numbers become sRGB: curves and matrices, or profiles by LittleCMS."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from twostage.errors import ImageError

__all__ = [
    "CURVES",
    "DAMAGED",
    "PRIMARIES",
    "SRGB",
    "Space",
    "linear_to_srgb",
    "nearest_primaries",
    "power",
    "profile_name",
    "to_srgb",
]

DAMAGED = "its ICC profile is damaged; save it as 8-bit sRGB"
Curve = Callable[[np.ndarray], np.ndarray]
D65, ILLUMINANT_C, DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)

PRIMARIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    "DCI-P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), DCI),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    "BT.470 M": ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), ILLUMINANT_C),
    "BT.601 625": ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    "BT.601 525": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
}
"""x and y of red, green, blue and white (CIE 1931)."""

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _from_srgb(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.04045) + 0.055) / 1.055) ** 2.4)


def _from_bt709(v: np.ndarray) -> np.ndarray:
    return np.where(v < 0.081243, v / 4.5, ((np.maximum(v, 0.081243) + 0.099297) / 1.099297) ** (1 / 0.45))


def _from_smpte240(v: np.ndarray) -> np.ndarray:
    return np.where(v < 0.0913, v / 4, ((np.maximum(v, 0.0913) + 0.1115) / 1.1115) ** (1 / 0.45))


def power(gamma: float) -> Curve:
    """The curve that raises numbers to `gamma`."""
    return lambda v: v**gamma


CURVES: dict[str, Curve] = {
    "sRGB": _from_srgb,
    "linear": lambda v: v,
    "BT.709": _from_bt709,
    "SMPTE 240M": _from_smpte240,
    "gamma 2.2": power(2.2),
    "gamma 2.8": power(2.8),
    "gamma 2.6": lambda v: v**2.6 * 52.37 / 48,
    "Adobe RGB": power(563 / 256),
}
"""From a file's numbers in [0, 1] to linear light."""


@dataclass(frozen=True)
class Space:
    """What a file's numbers mean: `primaries` and a `curve` to linear light, or an ICC `profile` instead.

    `name` is for people, `tag` is what says so in the file.
    """

    name: str
    tag: str = ""
    primaries: tuple[Any, ...] = PRIMARIES["sRGB"]
    curve: Curve = _from_srgb
    profile: bytes = b""

    @property
    def is_srgb(self) -> bool:
        """Whether nothing is to be converted."""
        return not self.profile and self.curve is _from_srgb and self.primaries == PRIMARIES["sRGB"]


SRGB = Space("sRGB")


def nearest_primaries(given: tuple[Any, ...]) -> str:
    """The name of the primaries that these are, to the digits that files give; "" for none that is known."""
    return next((name for name, known in PRIMARIES.items() if np.abs(np.subtract(known, given)).max() < 0.004), "")


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Encode linear light in [0, 1] with the sRGB curve; same shape."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def to_srgb(space: Space, levels: np.ndarray) -> np.ndarray:
    """Convert numbers of a space to uint8 sRGB (H,W,3), rounded once; colours outside of sRGB are clipped.

    Args:
        levels: (H,W,C), C = 1 (gray), 3 (RGB) or 4 (CMYK), in [0, 255], not rounded.

    Raises:
        ImageError: The profile is for other channels.
    """
    if space.profile:
        result = _by_profile(space.profile, levels)
    elif levels.shape[2] == 4:  # the formula of PostScript, where no profile says more
        result = (255 - levels[..., :3]) * (255 - levels[..., 3:]) / 255
    else:
        result = np.broadcast_to(levels, (*levels.shape[:2], 3))
    if not space.profile and not space.is_srgb:
        try:
            matrix = _to_linear_srgb(space.primaries)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise ImageError(f"its primary colours ({space.tag}) are not valid; save it as 8-bit sRGB") from error
        light = space.curve(result / 255) @ matrix.T
        result = 255 * linear_to_srgb(light.clip(0, 1))
    return np.rint(result).clip(0, 255).astype(np.uint8)


@lru_cache(64)
def _to_linear_srgb(primaries: tuple[Any, ...]) -> np.ndarray:
    """From linear light of these primaries to that of sRGB; another white is adapted to (Bradford)."""
    here, there = _to_xyz(primaries), _to_xyz(PRIMARIES["sRGB"])
    cones = BRADFORD @ here.sum(1), BRADFORD @ there.sum(1)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(cones[1] / cones[0]) @ BRADFORD
    return np.asarray(np.linalg.inv(there) @ adapt @ here)


def _to_xyz(primaries: tuple[Any, ...]) -> np.ndarray:
    """Columns are the primaries, which sum to a white of Y = 1."""
    x, y = np.array(primaries, float).T
    if not (y > 0).all():
        raise ValueError("y of a colour is not above zero")
    each = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return np.asarray(each[:, :3] * np.linalg.solve(each[:, :3], each[:, 3]))


def _by_profile(profile: bytes, levels: np.ndarray) -> np.ndarray:
    """Apply an ICC profile to numbers between levels: LittleCMS takes 8 bits, so neighbours are mixed."""
    transform, channels = _transform(profile)
    if levels.shape[2] == 1 and channels == 3:
        levels = np.repeat(levels, 3, 2)
    if levels.shape[2] != channels:
        kinds = {1: "gray", 3: "RGB", 4: "CMYK"}
        raise ImageError(f"its ICC profile is for {kinds[channels]}, its pixels are {kinds[levels.shape[2]]}")
    # from the corner below, one channel after another goes up, that with the largest share first (tetrahedra)
    levels = np.ascontiguousarray(levels, np.float32)
    pixels = np.minimum(levels, 254).astype(np.uint8)
    shares = levels - pixels
    order = np.argsort(-shares, 2)
    shares = np.take_along_axis(shares, order, 2)
    weights = -np.diff(shares, axis=2, prepend=1, append=0)
    result = np.zeros((*levels.shape[:2], 3), np.float32)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    for corner in range(channels + 1):
        if corner:
            one = order[..., corner - 1 : corner]
            np.put_along_axis(pixels, one, np.take_along_axis(pixels, one, 2) + 1, 2)
        image = Image.frombytes(mode, levels.shape[1::-1], pixels)
        result += weights[..., corner : corner + 1] * np.asarray(ImageCms.applyTransform(image, transform))
    return result


@lru_cache(16)
def _transform(profile: bytes) -> tuple[ImageCms.ImageCmsTransform, int]:
    """To sRGB, and the number of channels; photographs of one camera have one profile."""
    opened = _opened(profile)
    kind = opened.profile.xcolor_space.strip()
    if kind not in ("RGB", "CMYK", "GRAY"):
        raise ImageError(f"its ICC profile is for {kind}, not for RGB, gray or CMYK")
    mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}[kind]
    # optimized, the curve of a gray profile would be read at a few points
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)
    except ImageCms.PyCMSError as error:
        raise ImageError(DAMAGED) from error
    return transform, len(mode) if mode != "L" else 1


@lru_cache(64)
def profile_name(profile: bytes) -> str:
    """What an ICC profile calls itself."""
    return " ".join(ImageCms.getProfileDescription(_opened(profile)).split())[:60]


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except OSError as error:
        raise ImageError(DAMAGED) from error
