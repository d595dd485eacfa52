"""Boxes: many specimens in one photograph, each a rectangle in it that is read as if it were a photograph."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import ConfigError, DataError, some

__all__ = [
    "ROUNDED",
    "Box",
    "boxes_of",
    "check_box_columns",
    "pieces",
    "read_boxes",
    "refuse_repeated",
    "same_photograph",
    "windows",
]

ROUNDED = 1e-6
"""Shares that were written with few digits may add up to a little more than 1."""


@dataclass(frozen=True)
class Box:
    """A rectangle in a photograph as a viewer shows it: left, top, width and height, then turned about its middle.

    In pixels, or in shares of the photograph's width and height. `degrees` count against the clock. `row` is the line
    of the table that names it.

    >>> print(Box(48, 0, 48.5, 48), Box(0.25, 0, 0.5, 1, 30, shares=True))
    [48,0,48.5,48] [0.25,0,0.5,1,30]
    """

    left: float
    top: float
    width: float
    height: float
    degrees: float = 0.0
    shares: bool = False
    row: int | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        numbers = [self.left, self.top, self.width, self.height, *([self.degrees] if self.degrees else [])]
        return f"[{','.join(f'{number:.10g}' for number in numbers)}]"

    @property
    def has_area(self) -> bool:
        """Is it five finite numbers, and wider and higher than nothing?"""
        numbers = (self.left, self.top, self.width, self.height, self.degrees)
        return all(map(math.isfinite, numbers)) and self.width > 0 and self.height > 0

    def in_pixels(self, width: int, height: int) -> Box:
        """The same box in pixels of a photograph that is so large."""
        if not self.shares:
            return self
        x, y = width, height
        return Box(self.left * x, self.top * y, self.width * x, self.height * y, self.degrees)


def check_box_columns(option: str, columns: Sequence[str]) -> None:
    """Refuse names of columns that are no four or five different ones.

    Raises:
        ConfigError: They are not.
    """
    if len(columns) not in (4, 5) or len(set(columns)) != len(columns):
        raise ConfigError(
            f"{option}=[{','.join(columns)}] must name the columns of a box's left, top, width and height, and of the "
            f"degrees where boxes are turned: such as {option}=[x,y,w,h]"
        )


def read_boxes(rows: Sequence[int], columns: Sequence[str], values: np.ndarray) -> tuple[np.ndarray, str]:
    """The boxes of a table's N rows from the numbers in its columns (N,4 or 5), `Box` (N,); how they were understood.

    They are shares where all of them lie within 0..1, else pixels.
    """
    found = boxes_of(values, _are_shares(values), rows)
    unit = "shares of the photograph's width and height, because all lie within 0..1" if found[0].shares else "pixels"
    return found, f"boxes ({', '.join(columns)}) are understood as {unit}"


def _are_shares(values: np.ndarray) -> bool:
    """Whether all boxes (N,4 or 5), as far as they are numbers, lie within 0..1."""
    left, top, width, height = values[np.isfinite(values).all(1)].T[:4]
    ends = np.concatenate([left + width, top + height])
    return len(left) > 0 and min(left.min(), top.min()) >= 0 and bool(ends.max() <= 1 + ROUNDED)


def boxes_of(values: Any, shares: bool = False, rows: Sequence[int] | None = None) -> np.ndarray:
    """Boxes from numbers (N,4), or (N,5) with degrees: `Box` (N,); of these they are themselves.

    Raises:
        ConfigError: They are no numbers, or not so many.
    """
    given = np.asarray(values, object)
    if given.ndim == 1 and all(isinstance(one, Box) for one in given):
        return given
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"boxes must be numbers (N,4), or (N,5) with degrees: {error}") from error
    if numbers.ndim != 2 or numbers.shape[1] not in (4, 5):
        raise ConfigError(f"boxes must be numbers (N,4), or (N,5) with degrees, not {numbers.shape}")
    degrees = numbers[:, 4] if numbers.shape[1] == 5 else np.zeros(len(numbers))
    found = np.empty(len(numbers), object)
    for i, (left, top, width, height) in enumerate(numbers[:, :4].tolist()):
        found[i] = Box(left, top, width, height, float(degrees[i]), shares, None if rows is None else rows[i])
    return found


def refuse_repeated(path: Path, rows: Iterable[int], paths: Sequence[Path], boxes: np.ndarray) -> None:
    """Refuse a table that lists one box of one photograph twice.

    Raises:
        DataError: It does; the message names rows.
    """
    frame = pd.DataFrame({"photograph": same_photograph(paths), "box": boxes}, index=list(rows))
    repeated = frame[frame.duplicated(keep=False)]
    if len(repeated):
        first = repeated[(repeated == repeated.iloc[0]).all(axis=1)]
        one = list(frame.index).index(first.index[0])
        raise DataError(
            f"{path}: {len(repeated.drop_duplicates())} boxes are listed more than once, for instance "
            f"{paths[one].name} {boxes[one]} in rows {some(first.index)}; keep one row for each box"
        )


def same_photograph(paths: Sequence[Any]) -> np.ndarray:
    """Numbers (N,) that are equal where the photographs are, counted from 0 in the order in which they come.

    >>> same_photograph(["b.jpg", "a.jpg", "./b.jpg"]).tolist()
    [0, 1, 0]
    """
    known: dict[Any, int] = {}
    keys = (os.path.realpath(path) if isinstance(path, str | Path) else id(path) for path in paths)
    return np.array([known.setdefault(key, len(known)) for key in keys], int)


def pieces(photograph: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows (N,) of boxes, photograph after photograph, in pieces of about `most` of which no two share one.

    >>> [piece.tolist() for piece in pieces(np.array([0, 1, 0, 1, 2, 2]), 3)]
    [[0, 2], [1, 3], [4, 5]]
    """
    order = np.argsort(photograph, kind="stable")
    piece: list[int] = []
    for rows in np.split(order, np.flatnonzero(np.diff(photograph[order])) + 1):
        if piece and len(piece) + len(rows) > most:
            yield np.array(piece)
            piece = []
        piece += rows.tolist()
    if piece:
        yield np.array(piece)


def windows(photograph: np.ndarray, least: int, most: int) -> Iterator[list[np.ndarray]]:
    """Rows (N,) of boxes in their order, cut where no photograph goes on, each part in `pieces` of about `least` rows.

    A part has `least` rows or more, and is cut after `most` where photographs go on all the time.

    >>> [[piece.tolist() for piece in part] for part in windows(np.array([0, 1, 0, 1, 2, 2, 3]), 2, 100)]
    [[[0, 2], [1, 3]], [[4, 5]], [[6]]]
    """
    last = np.zeros(len(photograph), int)  # of each photograph's rows
    last[photograph] = np.arange(len(photograph))
    start = 0
    while start < len(photograph):
        end, looked = min(start + least, len(photograph)), start
        while looked < end:
            reach = min(int(last[photograph[looked:end]].max()) + 1, start + max(least, most))
            looked, end = end, max(end, reach)
        yield [start + rows for rows in pieces(photograph[start:end], least)]
        start = end
