"""The pixels of a box: where it lies in a file as it is stored, and how it becomes a square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twostage.decoding.area import GRAINS, to_square
from twostage.decoding.boxes import ROUNDED, Box
from twostage.decoding.decoder import Photo
from twostage.decoding.limits import check_enough
from twostage.errors import ImageError

__all__ = ["smallest_side", "square_of"]

MAX_TURNED = 1 << 23
"""Pixels that are held at a time around a box at an angle."""
FINE = 16
"""Interpolated values are kept as whole 16ths of a level, because sums of whole numbers are exact."""

STORED = {
    2: lambda x, y, width, height: (width - x, y),
    3: lambda x, y, width, height: (width - x, height - y),
    4: lambda x, y, width, height: (x, height - y),
    5: lambda x, y, width, height: (y, x),
    6: lambda x, y, width, height: (y, height - x),
    7: lambda x, y, width, height: (width - y, height - x),
    8: lambda x, y, width, height: (width - y, x),
}
"""By EXIF orientation: where a point that a viewer shows at x, y lies in the file, which is so wide and high."""
MIRRORED = (2, 4, 5, 7)
TRANSPOSED = (5, 6, 7, 8)


def smallest_side(boxes: Sequence[Box], shorter: int) -> float:
    """The shortest side of these boxes, in pixels of a photograph with such a shorter side."""
    sides = [min(box.width, box.height) * (shorter if box.shares else 1) for box in boxes if box.has_area]
    return max(1.0, min(sides, default=shorter))


def square_of(photo: Photo, box: Box, size: int, fit: str) -> np.ndarray:
    """A box of a photograph, as it lies in the file, brought to size as if it were a photograph: (size,size,C).

    Without an angle, or at a multiple of 90 degrees, it is the exact average; otherwise the average of values between
    the pixels (bilinear), at least two in each direction for each pixel.

    Raises:
        ImageError: The box has no area, too few pixels or does not lie in the photograph, or cannot be decoded.
    """
    found = _stored(_checked(photo, box), photo)
    turns, rest = divmod(round(found.degrees % 360, 9), 90)
    if rest:
        return _at_an_angle(photo, found, size, fit)
    if turns % 2:
        found = _about_its_middle(found, found.height, found.width)
    corner = found.left, found.top
    square = to_square(photo.read, found.width, found.height, size, fit, photo.scale, corner, not photo.converts)
    return np.rot90(square, -int(turns))


def _checked(photo: Photo, box: Box) -> Box:
    """The box in pixels of the upright photograph, in which it lies (to within a 16th of a pixel, as shares may)."""
    if not box.has_area:
        raise ImageError("its box needs a left and top, and a width and height above 0, all of them numbers")
    width, height = (photo.height, photo.width) if photo.orientation in TRANSPOSED else (photo.width, photo.height)
    found = box.in_pixels(width, height)
    if min(found.width, found.height) < 1 - ROUNDED:
        raise ImageError("its box is smaller than a pixel; boxes are shares only where all of them lie within 0..1")
    check_enough(round(found.width, 2), round(found.height, 2))  # shares may have few digits
    x, y = _corners(found).T
    allowed = 0.5 / GRAINS
    if min(x.min(), y.min()) < -allowed or x.max() > width + allowed or y.max() > height + allowed:
        raise ImageError(f"its box does not lie in the photograph, which has {width}x{height} pixels")
    return found


def _corners(box: Box) -> np.ndarray:
    """The corners (4,2) as x, y."""
    cos, sin = math.cos(math.radians(box.degrees)), math.sin(math.radians(box.degrees))
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [box.width / 2, box.height / 2]
    middle = [box.left + box.width / 2, box.top + box.height / 2]
    return half @ np.array([[cos, -sin], [sin, cos]]) + middle  # y grows downwards


def _stored(box: Box, photo: Photo) -> Box:
    """The same box in the file, from which the viewer turns it upright."""
    orientation = photo.orientation
    if orientation not in STORED:
        return box
    ends = ((box.left, box.top), (box.left + box.width, box.top + box.height))
    (a, b), (c, d) = (STORED[orientation](*end, photo.width, photo.height) for end in ends)
    degrees = -box.degrees if orientation in MIRRORED else box.degrees
    return Box(min(a, c), min(b, d), abs(a - c), abs(b - d), degrees)


def _about_its_middle(box: Box, width: float, height: float) -> Box:
    left, top = box.left + (box.width - width) / 2, box.top + (box.height - height) / 2
    return replace(box, left=left, top=top, width=width, height=height)


def _at_an_angle(photo: Photo, box: Box, size: int, fit: str) -> np.ndarray:
    """Sample the box along its own directions, two values for each pixel, and average these over areas."""
    from scipy.ndimage import map_coordinates  # late: most photographs have no such box

    scale = photo.scale
    corners = _corners(box) / scale
    whole = [-(-photo.width // scale), -(-photo.height // scale)]
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, whole)
    if (right - left) * (bottom - top) > MAX_TURNED:
        raise ImageError(f"its box at an angle covers more than {MAX_TURNED // 10**6} million pixels; make it smaller")
    pixels, white = photo.read(top, bottom, left, right)
    channels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    columns, rows = math.ceil(2 * box.width / scale), math.ceil(2 * box.height / scale)
    origin, along, down = corners[0], (corners[1] - corners[0]) / columns, (corners[3] - corners[0]) / rows

    def read(first: int, last: int, begin: int, end: int) -> tuple[np.ndarray, int]:
        i, j = np.arange(first, last)[:, None, None] + 0.5, np.arange(begin, end)[:, None] + 0.5
        x, y = np.moveaxis(origin + j * along + i * down - 0.5 - [left, top], 2, 0)
        values = [map_coordinates(channel, [y, x], np.float32, order=1, mode="nearest") for channel in channels]
        return np.rint(FINE * np.stack(values, axis=2)), FINE * white

    return to_square(read, columns, rows, size, fit, rounded=not photo.converts)
