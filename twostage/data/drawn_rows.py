"""Rows of numbers as pictures: each number a grey field on white, so that what reads photographs reads them too.

Nothing is gained by it over a regression on the numbers themselves. It is the door through which tools come that know
rows alone, such as the checks of scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twostage.errors import ConfigError

__all__ = ["BACKBONE_OF_ROWS", "OPTIONS_OF_ROWS", "DrawnRows"]

OPTIONS_OF_ROWS: dict[str, Any] = {
    "start": "none",
    "augment": "none",
    "pooling": "flatten",
    "image.color": "srgb",
    "split.duplicates": "ignore",
}
"""What a run must be told of drawn rows: each number has its place, and none looks like a photograph."""
BACKBONE_OF_ROWS = {"backbone.widths": [16, 4], "backbone.strides": [2, 2], "backbone.dilations": [1, 1]}
"""Of backbone=compact: so few places are left that the last layer can be solved."""

LEAST, MOST = 64.0, 192.0
"""Grey levels of the least and the greatest number of the training, so that there is room beyond them;"""
ENDS = 8.0, 246.0
"""where it ends."""


@dataclass(frozen=True)
class DrawnRows:
    """How rows of F numbers are drawn: the least and the greatest number of each column, (F,).

    >>> drawn = DrawnRows.fit(np.array([[0.0, 5.0], [1.0, 5.0], [0.5, 5.0]]))
    >>> pictures = drawn.draw(np.array([[0.25, 5.0]]), 32)
    >>> pictures.shape, float(pictures[0, :16, :16].mean()), float(pictures[0, :16, 16:].mean())
    ((1, 32, 32, 3), 96.0, 128.0)
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, rows: np.ndarray) -> DrawnRows:
        """Learn the range of each column of training rows (N,F)."""
        return cls(rows.min(0), rows.max(0))

    def draw(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Pictures of rows (N,F): uint8 (N,size,size,3).

        The mean over a field tells its number to a small part of a grey level: the pixels of a field are rounded up
        or down in turn. What lies far beyond the training's numbers is drawn as dark or as bright as there is room for.

        Raises:
            ConfigError: So many numbers have no place.
        """
        side = int(np.ceil(np.sqrt(rows.shape[1] + 1)))  # one field at least stays white: no picture is flat
        if side > size:
            raise ConfigError(
                f"rows of {rows.shape[1]} numbers need pictures of {side} pixels: set size={side} or more"
            )
        cell = size // side
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            share = np.where(self.high > self.low, (rows - self.low) / (self.high - self.low), 0.5)
        level = np.clip(np.nan_to_num(LEAST + (MOST - LEAST) * share, nan=(LEAST + MOST) / 2), *ENDS)
        rounding = (np.arange(cell * cell * 3).reshape(cell, cell, 3) + 0.5) / (cell * cell * 3)
        pictures = np.full((len(rows), size, size, 3), 255, np.uint8)
        for k, levels in enumerate(level.T):
            top, left = cell * (k // side), cell * (k % side)
            pictures[:, top : top + cell, left : left + cell] = np.floor(levels[:, None, None, None] + rounding)
        return pictures

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> DrawnRows:
        """The same as it was fitted."""
        return cls(np.array(content["low"], float), np.array(content["high"], float))
