"""What is made by turning: an angle for each copy of an upright photograph, and the photograph turned by it, once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from twostage.decoding.area import to_square
from twostage.tables.locating import Paths
from twostage.tables.table import Table

__all__ = ["TURNING", "copies_of", "draw_angles", "outside_circle", "turn_square"]

TURNING = 1
"""To be raised when a change here changes pixels or angles: photographs are then turned again."""
FINE = 16
"""Interpolated values are kept as whole 16ths of a level until they are averaged."""
SURROUND = 128
"""Level of all that lies outside the circle: what a corner shows would tell the angle."""


def draw_angles(contents: Sequence[str], copies: int, turn: float, seed: int) -> np.ndarray:
    """Angles (M,copies), uniform in -turn..turn, for photographs of these contents (M,).

    Those of a photograph depend on seed and content alone: not on the others, and the first not on how many follow.

    >>> few, many = draw_angles(["a"], 2, 45, 0), draw_angles(["b", "a"], 3, 45, 0)
    >>> few[0].tolist() == many[1, :2].tolist(), bool((abs(many) <= 45).all())
    (True, True)
    """
    angles = np.empty((len(contents), copies))
    for row, content in zip(angles, contents, strict=True):
        key = hashlib.blake2b(content.encode(), digest_size=16).digest()
        row[:] = np.random.default_rng([seed, int.from_bytes(key)]).uniform(-turn, turn, copies)
    return angles


def copies_of(upright: Table, angles: np.ndarray, groups: np.ndarray, blocks: np.ndarray | None = None) -> Table:
    """The table of turned copies, those of a photograph side by side.

    Args:
        upright: M photographs.
        angles: Of their copies (M,copies), degrees: the targets.
        groups: Names of the specimens (M,).
        blocks: Names of what a split keeps whole (M,).
    """
    copies = angles.shape[1]
    each = np.repeat(np.arange(len(upright)), copies).tolist()
    return replace(
        upright,
        images=[f"{name}#{number}" for name in upright.images for number in range(1, copies + 1)],
        paths=Paths(upright.paths[i] for i in each) if upright.paths else [],
        targets=angles.ravel(),
        groups=groups[each],
        blocks=None if blocks is None else blocks[each],
    )


def turn_square(square: np.ndarray, degrees: Sequence[float] | np.ndarray, size: int) -> np.ndarray:
    """Turn a square photograph uint8 (S,S,3) counter-clockwise by each angle, and average over areas to `size`.

    It is resampled once (bicubic) and rounded once, at the end; quarter turns are exact. What lies outside the
    inscribed circle is gray.

    Returns:
        uint8 (n,size,size,3).

    >>> square = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> inside = ~outside_circle(4)
    >>> bool((turn_square(square, [90], 4)[0] == np.rot90(square))[inside].all())
    True
    """
    side, beyond = len(square), math.ceil(2 * len(square) / size) + 2  # the circle touches the edges, and goes on there
    padded = np.pad(square.astype(np.float32), ((beyond, beyond), (beyond, beyond), (0, 0)), mode="edge")
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(padded, 2, 0)]
    inner, turned = slice(beyond, beyond + side), np.empty((len(degrees), size, size, 3), np.uint8)
    for one, angle in zip(turned, degrees, strict=True):
        values = [np.asarray(channel.rotate(angle, Image.Resampling.BICUBIC))[inner, inner] for channel in channels]
        whole = np.rint(FINE * np.stack(values, axis=2)).clip(0, 255 * FINE)

        def read(top: int, bottom: int, left: int, right: int, whole: np.ndarray = whole) -> tuple[np.ndarray, int]:
            return whole[top:bottom, left:right], 255 * FINE

        one[:] = to_square(read, side, side, size, "crop")
    turned[:, outside_circle(size)] = SURROUND
    return turned


def outside_circle(size: int) -> np.ndarray:
    """Pixels (size,size) whose middle lies outside the circle that touches the four sides.

    >>> outside_circle(4).sum()
    np.int64(4)
    """
    axis = np.arange(size) - (size - 1) / 2
    return np.asarray(np.hypot(axis[:, None], axis) > size / 2)
