"""A table of photographs that are to be read: what is known of them goes along, into the table that is written."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.data.table import Table, boxes_in, locate, number, read_csv
from twostage.errors import DataError, some
from twostage.files import given_path

__all__ = ["beside", "for_spreadsheet", "read_new"]

log = logging.getLogger("twostage")

FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""With these a spreadsheet lets a formula begin, in their wide forms as well."""


def read_new(
    source: str,
    image_column: str,
    target_column: str | None,
    usual: str,
    box_columns: Sequence[str] | None = None,
    usual_boxes: Sequence[str] = (),
) -> tuple[Table, pd.DataFrame]:
    """Read a table of photographs for prediction, every row of it.

    Args:
        target_column: With concentrations where they are known; None: the `usual` one, where the table has it.
        box_columns: With boxes (`twostage.data.boxes`), empty for none; None: the `usual_boxes`, where it has them.

    Returns:
        The photographs, with targets NaN where none is known, and the further columns, as text.

    Raises:
        DataError: There is no such table or column, a row names no photograph, or the named column holds something
            else than numbers.
    """
    path = given_path(source, "input")
    frame = read_csv(path, [name for name in (image_column, target_column, *(box_columns or ())) if name])
    images = frame[image_column]
    if (images == "").any():
        raise DataError(f"{path}: no photograph named in row {some(frame.index[images == ''])}")
    column = target_column or (usual if list(frame.columns).count(usual) == 1 else None)
    targets = np.full(len(frame), np.nan)
    if column and column != image_column:
        targets = _known(str(path), frame[column], named=target_column is not None)
    used = {image_column, column} if np.isfinite(targets).any() else {image_column}
    further = frame.loc[:, [name not in used for name in frame.columns]].reset_index(drop=True)
    boxes = _boxes(path, frame, box_columns, usual_boxes)
    return Table(list(images), [locate(path.parent, name) for name in images], targets, boxes=boxes), further


def _boxes(path: Path, frame: pd.DataFrame, named: Sequence[str] | None, usual: Sequence[str]) -> np.ndarray | None:
    """The boxes (N,), or None for whole photographs."""
    columns = usual if named is None else named
    lacking = [name for name in columns if list(frame.columns).count(name) != 1]
    if lacking:
        log.warning(
            "%s: the model has learned from boxes, and reads whole photographs here: there is no column %s",
            *(path, some(lacking)),
        )
    return boxes_in(path, frame, "box_columns", columns) if columns and not lacking else None


def _known(path: str, column: pd.Series, named: bool) -> np.ndarray:
    """Concentrations (N,), NaN where the cell is empty, or is no number in a column that nobody has named."""
    values = np.array([number(cell) for cell in column], np.float64)
    bad = column[np.isnan(values) & (column != "").to_numpy()]
    if len(bad):
        cells = some(f"row {row} '{' '.join(cell.split())[:40]}'" for row, cell in bad.items())
        what = f"{path}: column '{column.name}' should hold concentrations, and {len(bad)} cells are no number: {cells}"
        if named:
            raise DataError(f"{what}; correct or empty them")
        log.warning("%s; their target stays unknown", what)
    return values


def beside(frame: pd.DataFrame, further: pd.DataFrame) -> pd.DataFrame:
    """What was read (N rows), followed by the further columns of the user's table.

    One that is called as a column before it becomes ``table_NAME``: both are wanted.
    """
    taken, names = {*frame.columns, *further.columns}, []
    for name in further.columns:
        free = str(name)
        while free in frame.columns or (free != name and free in taken):
            free = f"table_{free}"
        names.append(free)
        taken.add(free)
    renamed = [f"{old} as {new}" for old, new in zip(further.columns, names, strict=True) if old != new]
    if renamed:
        log.warning("columns of the table that are called as those of a prediction are written as %s", some(renamed))
    return pd.concat([frame, further.set_axis(names, axis=1)], axis=1)


def for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which no text begins a formula: an apostrophe before it, which a spreadsheet does not show."""

    def safe(cell: Any) -> Any:
        formula = isinstance(cell, str) and cell.startswith(FORMULAS) and math.isnan(number(cell))
        return f"'{cell}" if formula else cell

    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]  # by position: two may be called alike
    columns = [one if pd.api.types.is_numeric_dtype(one) else one.map(safe) for one in columns]
    return pd.concat(columns, axis=1).set_axis([safe(name) for name in frame.columns], axis=1)
