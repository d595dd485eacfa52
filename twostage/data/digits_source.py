"""``data=digits``: the handwritten digits that come with scikit-learn, each turned by several angles."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import scipy
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.datasets import load_digits

from twostage.data.photographs import Photographs, Request, refuse_impossible
from twostage.data.store import Rows, open_store
from twostage.data.turning import TURNING, copies_of, draw_angles
from twostage.tables.table import Table

__all__ = ["FORMS", "draw_digits", "load"]

FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)
"""The digit with which each filled-in form begins.

The 1,797 digits are the test set of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), of
which UCI says that 13 people wrote it, and not who wrote what. But the digits follow one another as on the form that
each person filled in: 30 in the order 0, 1, ..., 9, then 100 more, always the same. So the labels alone tell where a
form begins: 8 forms are whole, one has another label in one place, and 5 lack 2 to 8 digits. These are 14, so that one
person may have filled in two. It is assumed that each form is another person's; a split keeps it whole.
"""
LEVELS = 16
"""An original pixel counts the inked ones among 16."""
BLUR, BORDER = 0.7, 4
"""Standard deviation of the blur, and room for it around a digit, original pixels."""
SPAN = 13.5
"""So many original pixels fit across the result: turned by any angle, the 8x8 stay within its circle."""


def load(request: Request) -> Photographs:
    """Turned copies of the digits, and the upright ones, twice as fine."""
    data, size, seed = request.data, request.image.size, request.seed
    digits = _digits()
    count, copies = len(digits), data.copies
    names = [f"digit_{number:04d}" for number in range(count)]
    forms = np.searchsorted(FORMS, np.arange(count), "right")
    angles = draw_angles(names, copies, data.turn, seed)
    blocks = np.array([f"form_{form:02d}" for form in forms])
    table = copies_of(Table(names, [], np.zeros(count)), angles, np.array(names), blocks)
    refuse_impossible(table, data)

    def upright(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        return _colored(draw_digits(digits[rows.start : rows.stop], np.zeros(len(rows)), 2 * size)), {}

    def turned(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        fine = draw_digits(digits[np.array(rows) // copies], table.targets[rows.start : rows.stop], 2 * size)
        return _colored(fine.reshape(len(rows), size, 2, size, 2).mean((2, 4))), {}

    made_by = [TURNING, np.__version__, scipy.__version__]
    fine = open_store(request.cache_dir, {"made by": made_by, "digits": "upright"}, count, 2 * size, upright)
    content = {"made by": made_by, "digits": [data.turn, copies], "seed": seed}
    store = open_store(request.cache_dir, content, len(table), size, turned, request.progress)
    rows = np.arange(len(table))
    return Photographs(table, Rows(store.pixels, rows), [], store, {}, [], Rows(fine.pixels, rows // copies))


def draw_digits(digits: np.ndarray, degrees: np.ndarray, side: int) -> np.ndarray:
    """Digits (N,8,8) in 0..16 turned counter-clockwise and drawn, white on black: levels (N,side,side) in 0..255.

    The original pixels are blurred a little, and are then the coefficients of a cubic B-spline, not values that it
    passes through: each is drawn as a round spot. From drawings of noise within a round window the angle cannot be
    told. Noise that fills the square shows its outline, and so do digits, which were fitted into it.

    >>> digit = np.zeros((1, 8, 8))
    >>> digit[0, 1, 3:5] = 16  # a bar at the top, which a quarter turn brings to the left
    >>> above, left = (draw_digits(digit, np.array([angle]), 24)[0] for angle in (0.0, 90.0))
    >>> bool(np.allclose(left, np.rot90(above))), bool(left[:, :12].sum() > 100 * left[:, 12:].sum())
    (True, True)
    """
    axis = SPAN * ((np.arange(side) + 0.5) / side - 0.5)
    padded = np.pad(digits.astype(np.float64), ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    digits = gaussian_filter(padded, (0, BLUR, BLUR))
    x, y, middle = axis, axis[:, None], (digits.shape[1] - 1) / 2
    drawn = np.empty((len(digits), side, side))
    for one, digit, angle in zip(drawn, digits, np.radians(degrees), strict=True):
        cos, sin = math.cos(angle), math.sin(angle)
        at = [x * sin + y * cos + middle, x * cos - y * sin + middle]
        map_coordinates(digit, at, one, order=3, mode="grid-constant", prefilter=False)
    return 255 / LEVELS * drawn


def _colored(levels: np.ndarray) -> np.ndarray:
    """Levels (N,S,S) as uint8 (N,S,S,3)."""
    return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=3)


@cache
def _digits() -> np.ndarray:
    return np.asarray(load_digits().images)
