"""A sheet of photographs in the order of their concentrations, as the network will see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twostage.report.canvas import new_figure, png_of, text_of

__all__ = ["MOST_TILES", "contact_sheet", "rows_to_show"]

COLUMNS = 8
MOST_TILES = 40


def rows_to_show(targets: np.ndarray, most: int = MOST_TILES) -> np.ndarray:
    """One photograph of each level of the concentrations (N,), or of as many levels, evenly chosen: rows, by level.

    Of a level the middle one in the order of the table is taken: the first of a series is seldom typical.

    >>> rows_to_show(np.array([5.0, 1.0, 5.0, 5.0])).tolist()
    [1, 2]
    """
    levels = np.unique(targets)
    chosen = levels[np.unique(np.linspace(0, len(levels) - 1, min(most, len(levels))).round().astype(int))]
    of_each = [np.flatnonzero(targets == level) for level in chosen]
    return np.array([rows[len(rows) // 2] for rows in of_each], int)


def contact_sheet(photographs: np.ndarray, lines: Sequence[str], title: str) -> bytes:
    """The file's bytes, PNG: photographs uint8 (N,H,W,3), each with a line of text below, under one title."""
    columns = min(COLUMNS, len(photographs))
    rows = -(-len(photographs) // columns)
    figure = new_figure(max(4.5, 1.35 * columns), 0.5 + 1.6 * rows)
    tiles = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, photograph, line in zip(tiles, photographs, lines, strict=False):
        axes.imshow(photograph, interpolation="nearest")
        axes.set_xlabel(text_of(line, 40), fontsize="small")
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in tiles[len(photographs) :]:
        axes.set_axis_off()
    figure.suptitle(text_of(title), fontsize="medium")
    return png_of(figure)
