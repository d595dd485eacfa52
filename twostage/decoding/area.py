"""Bring pixels to the working size by exact averages over areas, with one rounding at the end.

A pixel of the result covers a rectangle of the photograph, whose edges may cut pixels. All edges are whole multiples of
a small fraction of a pixel, so the shares are integers and the weighted sums are exact: no order of summing changes
them, a turned photograph gives exactly the turned result, and no size is brighter than another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

__all__ = ["BAND", "Read", "to_square"]

BAND = 1 << 17
"""About so many pixels are held as numbers at a time; they stay in a processor's cache."""
CUBIC_ONE = 1 << 14
GRAINS = 8
"""The edges of a region lie at whole eighths of a pixel."""
EXACT_FLOAT32 = 1 << 24

Read = Callable[[int, int, int, int], tuple[np.ndarray, int]]
"""read(top, bottom, left, right) gives these pixels, integers (bottom-top,right-left,C), and the value of white."""


@dataclass(frozen=True, eq=False)
class _Axis:
    """Integer weights of the pixels along one direction.

    Output j is made of `weights[edges[j]:edges[j+1]]` at the pixels `pixels[...]`, which are `first[j]` to `stop[j]`;
    `totals` (size,), or (1,) where all are alike, are the sums of its weights, `most` the largest sum of their sizes.
    """

    weights: np.ndarray
    pixels: np.ndarray
    edges: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    totals: np.ndarray
    most: float

    def totals_of(self, rows: slice) -> np.ndarray:
        """The sums of these rows' weights."""
        return self.totals if len(self.totals) == 1 else self.totals[rows]

    def apply(self, values: np.ndarray, white: int, rows: slice, offset: int) -> np.ndarray:
        """Weighted sums, exact: (n,X) at the pixels from `offset` on become (rows,X)."""
        dtype = np.float32 if white * self.most < EXACT_FLOAT32 else np.float64
        matrix = _matrix(self, rows.start, rows.stop, offset, len(values), dtype)
        return np.asarray(matrix @ values.astype(dtype, copy=False))


@lru_cache(256)
def _matrix(axis: _Axis, start: int, stop: int, offset: int, count: int, dtype: Any) -> csr_matrix:
    part = slice(axis.edges[start], axis.edges[stop])
    weights, pixels = axis.weights[part], axis.pixels[part] - offset
    output = np.repeat(np.arange(stop - start), np.diff(axis.edges[start : stop + 1]))
    here = (pixels >= 0) & (pixels < count)
    content = weights[here].astype(dtype), (output[here], pixels[here])
    return csr_matrix(content, (stop - start, count))


def to_square(
    read: Read,
    width: float,
    height: float,
    size: int,
    fit: str,
    scale: int = 1,
    corner: tuple[float, float] = (0, 0),
    rounded: bool = True,
) -> np.ndarray:
    """Bring a photograph to a square, then average over areas.

    Along a direction in which the photograph is smaller than `size` it is interpolated (bicubic) instead; both
    commute with quarter turns and flips bit for bit. Halves are rounded to the even level, so none is favoured.

    Args:
        read: Gives the photograph's pixels.
        width, height: Of the photograph, or of a region of it that is to be brought to size as if it were all.
        fit: "crop" keeps the middle square; "stretch" the whole, out of proportion; "pad" the whole in proportion:
            its longer side fills the square, and beyond the others it goes on as the average of their edge.
        scale: `read` gives pixels that are so many times as wide and high as the photograph's (the last ones may lie
            over the edge, and count as far as they do not).
        corner: Left and top of the region, in pixels. Its edges may cut pixels; they are rounded to eighths of them.
        rounded: Else the averages stay as they are, in levels of [0, 255], for a conversion that follows.

    Returns:
        uint8 (float64 where not `rounded`) (size,size,C), C as `read` gives them.

    >>> image = np.array([[[0], [200]], [[100], [255]]], np.uint8)
    >>> to_square(lambda top, bottom, left, right: (image[top:bottom, left:right], 255), 2, 2, 1, "crop").item()
    139
    """
    (x, wide), (y, high) = (_grains(*one) for one in zip(corner, (width, height), strict=True))
    parts = {"stretch": (high, wide), "crop": (min(wide, high),) * 2}.get(fit, (max(wide, high),) * 2)
    pixel = GRAINS * scale  # axes begin within their first pixel, so that regions of one size share them
    down = _axis(y % pixel, high, parts[0], size, scale)
    across = _axis(x % pixel, wide, parts[1], size, scale)
    read = _moved(read, y // pixel, x // pixel)
    left, right = int(across.first.min()), int(across.stop.max())
    a_row = (right - left) * math.ceil((down.stop.max() - down.first.min()) / size)
    step = min(size, max(1, BAND // a_row))
    squares = []
    for start in range(0, size, step):
        rows = slice(start, min(start + step, size))
        top, bottom = int(down.first[rows].min()), int(down.stop[rows].max())
        sums, white = _down(read, down, rows, (top, bottom, left, right))
        channels = sums.shape[2]
        turned = np.ascontiguousarray(sums.transpose(1, 2, 0)).reshape(right - left, -1)
        # these are up to `most` of the first direction times as large as a pixel
        both = across.apply(turned, math.ceil(white * down.most), slice(0, size), left).reshape(size, channels, -1)
        whole = np.multiply.outer(across.totals, down.totals_of(rows))[:, None] * (white // 255)
        # both and whole are integers below 2**53 and whole is below 2**44: the quotient is a half only where it is one
        levels = (both / whole).clip(0, 255).transpose(2, 0, 1)
        squares.append(np.rint(levels).astype(np.uint8) if rounded else levels)
    return np.concatenate(squares)


def _grains(begin: float, length: float) -> tuple[int, int]:
    """Where a region begins and how long it is, in grains: both ends are rounded, so that neighbours still touch."""
    first = round(GRAINS * begin)
    return first, max(1, round(GRAINS * (begin + length)) - first)


def _moved(read: Read, rows: int, columns: int) -> Read:
    return lambda top, bottom, left, right: read(top + rows, bottom + rows, left + columns, right + columns)


def _down(read: Read, axis: _Axis, rows: slice, box: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """The first direction's sums (rows,columns,C), band after band, and the value of white."""
    top, bottom, left, right = box
    lines = max(1, BAND // (right - left))
    total: np.ndarray | None = None
    for begin in range(top, bottom, lines):
        pixels, white = read(begin, min(begin + lines, bottom), left, right)
        sums = axis.apply(pixels.reshape(len(pixels), -1), white, rows, begin)
        total = sums if total is None else total + sums
    assert total is not None
    return total.reshape(-1, right - left, pixels.shape[2]), white


@lru_cache(64)
def _axis(low: int, length: int, part: int, size: int, scale: int) -> _Axis:
    """The middle `part` of a length, or all of it and what goes on beyond, brought to `size`; all in grains.

    The length begins at `low` within its first pixel.
    """
    grid = _grid(low, length, size, scale)
    output, pixels, weights = (_area if GRAINS * size <= part else _cubic)(grid, part, size)
    table = csr_matrix((weights, (output, pixels)), (size, len(grid) - 1))  # adds up what is met again
    table.sort_indices()
    edges, weights = table.indptr[:-1], table.data // np.gcd.reduce(table.data)
    totals = np.add.reduceat(weights, edges).astype(np.float64)
    totals = totals[:1] if (totals == totals[0]).all() else totals
    most = float(np.add.reduceat(abs(weights), edges).max())
    first, stop = np.minimum.reduceat(table.indices, edges), np.maximum.reduceat(table.indices, edges) + 1
    return _Axis(weights.astype(np.float64), table.indices, table.indptr, first, stop, totals, most)


def _grid(low: int, length: int, size: int, scale: int) -> np.ndarray:
    """The pixels' edges, cut at both ends, from where the length begins, in units of 1 / (2 * size) grains."""
    count = -(-(low + length) // (GRAINS * scale))
    edges = np.arange(count + 1, dtype=np.int64) * GRAINS * scale - low
    return 2 * size * np.clip(edges, 0, length)


Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Outputs, the pixels that they are made of, and the weights, one for each such pair (or several that add up)."""


def _area(grid: np.ndarray, part: int, size: int) -> Entries:
    """The share of each pixel in each output's length, in the grid's units."""
    end = int(grid[-1])
    borders = end // 2 - part * size + 2 * part * np.arange(size + 1, dtype=np.int64)
    cuts = np.union1d(borders, grid[(borders[0] < grid) & (grid < borders[-1])])
    begin, weights = cuts[:-1], np.diff(cuts)
    owner = np.clip(np.searchsorted(grid, begin, "right") - 1, 0, len(grid) - 2)
    entries = np.searchsorted(borders, begin, "right") - 1, owner, weights
    return _continued(entries, begin < 0, begin >= end, grid, size, part)


def _cubic(grid: np.ndarray, part: int, size: int) -> Entries:
    """Keys' cubic convolution (1981) of the pixels within two of each output's middle, as integers."""
    unit, end, count = 2 * size * GRAINS, int(grid[-1]), len(grid) - 1
    start = int(grid[1]) - unit if count > 1 else 0  # where the first pixel begins that the region may cut
    middles = end // 2 - part * size + (2 * np.arange(size, dtype=np.int64) + 1) * part
    output, pixels = np.repeat(np.arange(size), 5), (((middles - start) // unit - 2)[:, None] + np.arange(5)).ravel()
    t = np.abs(middles[output] - start - pixels * unit - unit // 2) / unit
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weights = np.rint(CUBIC_ONE * np.where(t < 1, near, np.where(t < 2, far, 0))).astype(np.int64)
    before, after = pixels < 0, pixels >= count
    if 2 * size * part <= end:
        kept = (t < 2) & ~before & ~after
        return output[kept], pixels[kept], weights[kept]
    return _continued((output, pixels, weights), before, after, grid, size, part)


def _continued(
    entries: Entries, before: np.ndarray, after: np.ndarray, grid: np.ndarray, size: int, part: int
) -> Entries:
    """Let what lies before and after the photograph be the average of its outermost 16th, at least a pixel.

    A mirror image would show what it holds twice, and a plain colour would be another surround.
    """
    if not (before | after).any():
        return entries
    end, pixel = int(grid[-1]), 2 * size * GRAINS
    most = max(1, 2**44 // (4 * (part // GRAINS) ** 2 * 257))  # so that the sums stay exact
    strip = min(end, pixel * min(max(1, end // pixel // 16), most))
    output, pixels, weights = entries
    inside = ~(before | after)
    found = [(output[inside], pixels[inside], weights[inside] * strip)]
    for outside, low in ((before, 0), (after, end - strip)):
        shares = np.diff(np.clip(grid, low, low + strip))
        own = np.flatnonzero(shares)
        for_each = np.add.outer(np.zeros(outside.sum(), int), own)
        spread = np.multiply.outer(weights[outside], shares[own])
        found.append((np.repeat(output[outside], len(own)), for_each.ravel(), spread.ravel()))
    output, pixels, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    return output, pixels, weights
