"""Where masks look: outlines over the photograph, as an array that a figure, a page or a file can show."""

from __future__ import annotations

import numpy as np
from PIL import Image

from twostage.report.canvas import BLUE, GREEN, PURPLE, RED

__all__ = ["colors_of", "enlarged", "half_weight", "masks_over"]

MASK_COLORS = (BLUE, RED, GREEN, PURPLE, "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's eight; further masks begin again with the first."""
OUTLINED = 0.3
"""A mask that needs more of the photograph than this share for half of its weight has no outline."""
LINE = 1 / 160
"""Of the photograph's side, the width of an outline; never less than a pixel."""

SHARP = 480
"""Pixels of an enlarged photograph's shorter side, at least."""


def colors_of(count: int) -> list[str]:
    """The colours of so many masks, "#rrggbb"."""
    return [MASK_COLORS[i % len(MASK_COLORS)] for i in range(count)]


def half_weight(mask: np.ndarray) -> float:
    """The level above which the pixels of a mask (h,w) hold half of its weight.

    >>> half_weight(np.array([[0.1, 0.2], [0.3, 0.4]]))
    0.3
    """
    ordered = np.sort(mask, axis=None)[::-1]
    return float(ordered[np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())])


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """A photograph uint8 (H,W,3) whose pixels are repeated, so that lines over it are thin."""
    times = -(-SHARP // min(pixels.shape[:2]))
    return pixels.repeat(times, 0).repeat(times, 1)


def masks_over(pixels: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A photograph uint8 (H,W,3) with the outlines of its masks (M,h,w), uint8 (H,W,3).

    Each outline, in the mask's colour of `colors_of`, holds half of the weight of the mask; one whose weight does not
    lie close together has none. The photograph may be larger than the masks: see `enlarged`.
    """
    drawn = pixels.astype(np.float64)
    for mask, color in zip(masks, colors_of(len(masks)), strict=True):
        inside = mask >= half_weight(mask)
        if inside.mean() <= OUTLINED and not inside.all():
            border = (mask[inside].min() + mask[~inside].max()) / 2
            rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
            line = _line(mask / border, pixels.shape[0], pixels.shape[1])[..., None]
            drawn += line * (rgb - drawn)
    return np.rint(drawn).astype(np.uint8)


def _line(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each pixel (height,width) a line covers that goes where the enlarged mask is one."""
    large = np.asarray(Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    slope = np.hypot(*np.gradient(large)) if min(height, width) > 1 else np.zeros_like(large)
    distance = np.abs(large - 1) / np.maximum(slope, 1e-9)  # in pixels, to first order
    return np.clip(max(1.0, LINE * min(height, width)) / 2 + 0.5 - distance, 0, 1)
