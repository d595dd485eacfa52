"""A table of photographs that are to be read: what is known of them goes along, into the table that is written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import DataError, number_of, some
from twostage.files import given_path
from twostage.tables.header import column_called
from twostage.tables.locating import Places
from twostage.tables.marks import DECIMALS
from twostage.tables.numbers import is_number
from twostage.tables.spreadsheet import Sheet, read_sheet
from twostage.tables.table import Table, boxes_in, images_folder, photographs_in
from twostage.tables.texts import Texts

__all__ = ["beside", "for_spreadsheet", "names_beside", "read_new", "with_what_was_tried"]

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
    *,
    images: str | None = None,
    decimal: str | None = None,
    usual_decimal: str | None = None,
) -> tuple[Table, pd.DataFrame]:
    """Read a table of photographs for prediction, every row of it.

    Args:
        target_column: With concentrations where they are known; None: the `usual` one, where the table has it.
        box_columns: With boxes (`twostage.decoding.boxes`), empty for none; None: the `usual_boxes`, where it has them.
        images: The folder where the names of the photographs start; None: the table's.
        decimal: The decimal mark of the concentrations, where it must be said; None: the `usual_decimal`, if any.

    Returns:
        The photographs, with targets NaN where none is known, and the further columns, as text.

    Raises:
        DataError: There is no such table or column, a row names no photograph, or the named column holds something
            else than numbers.
    """
    path = given_path(source, "input")
    columns = {image_column: "image_column"} | ({target_column: "target_column"} if target_column else {})
    columns |= {name: "box_columns" for name in box_columns or () if name not in columns}
    sheet = read_sheet(path, columns, image_column, target_column or usual)
    places, notes = Places(images_folder(path, images, "images")), list(sheet.notes)
    names, paths = photographs_in(sheet, image_column, places, notes)
    column = target_column or column_called(usual, list(sheet.frame.columns), sheet.path, notes)
    targets, used, marks = np.full(len(names), np.nan), {image_column}, (decimal, usual_decimal)
    if column and column != image_column:
        targets = _known(sheet, column, marks, target_column is not None, notes)
        whole = np.isfinite(targets) | (sheet.column(column).to_numpy(str) == "")  # nothing that was written is lost
        used |= {column} if whole.all() and np.isfinite(targets).any() else set()
    further = sheet.frame.loc[:, [name not in used for name in sheet.frame.columns]].reset_index(drop=True)
    boxes = _boxes(sheet, box_columns, usual_boxes, decimal or usual_decimal, notes)
    for note in notes:
        log.warning("%s", note)
    return Table(Texts(names), paths, targets, boxes=boxes, folder=places.folder), further


def with_what_was_tried(frame: pd.DataFrame, paths: Sequence[Path], folder: Path | None) -> pd.DataFrame:
    """What was read (N rows), where the reason of each missing photograph says where it was looked for."""
    if folder is None:
        return frame
    tried = f"; tried were that and photographs below {folder} called so: images=FOLDER says where names start"
    refused = frame["status"] == "refused"
    missing = np.array([no and not os.path.exists(path) for no, path in zip(refused, paths, strict=True)], bool)
    return frame.assign(reason=frame["reason"].where(~missing, frame["reason"] + tried))


def _boxes(
    sheet: Sheet, named: Sequence[str] | None, usual: Sequence[str], decimal: str | None, notes: list[str]
) -> np.ndarray | None:
    """The boxes (N,), or None for whole photographs."""
    called = {name: column_called(name, list(sheet.frame.columns), sheet.path, notes) for name in named or usual}
    columns = [] if named is not None and not named else list(called.values())
    if None in columns:
        lacking = some(name for name, column in called.items() if column is None)
        raise DataError(
            f"{sheet.path}: the model has learned from boxes, and there is no column {lacking}: name the columns with "
            f"box_columns=[...], or read whole photographs with box_columns=[]"
        )
    return boxes_in(sheet, "", [str(name) for name in columns], decimal, notes) if columns else None


def _known(
    sheet: Sheet, column: str, marks: tuple[str | None, str | None], named: bool, notes: list[str]
) -> np.ndarray:
    """Concentrations (N,), NaN where the cell is empty, or is no number in a column that nobody has named."""
    decimal, usual = marks
    cells, rows, what = list(sheet.column(column)), sheet.rows, f"{sheet.path}: column '{column}'"
    filled = [i for i, cell in enumerate(cells) if cell]
    values = np.full(len(cells), np.nan)
    try:
        numbers = sheet.numbers(column, decimal or usual, "decimal", filled)
    except DataError as error:
        if named:
            raise
        notes.append(f"{error}; the targets stay unknown")
        return values
    values[filled] = numbers.values
    notes += numbers.notes
    bad = [i for i in filled if np.isnan(values[i])]
    if bad:
        shown = some(f"{rows[i]} '{' '.join(cells[i].split())[:40]}'" for i in bad)
        said = (
            f"{what} should hold concentrations, and {number_of(len(bad), 'cell is', 'cells are')} no number: {shown}"
        )
        if usual and not decimal:
            other = DECIMALS.replace(usual, "")
            said += f" (read with the model's data.decimal={usual}; decimal={other} says otherwise)"
        if named:
            raise DataError(f"{said}; correct or empty them")
        notes.append(f"{said}; their target stays unknown")
    return values


def names_beside(columns: Sequence[str], further: Iterable[str]) -> list[str]:
    """How further columns are called beside those of a prediction: one of the same name becomes ``table_NAME``.

    >>> names_beside(["status"], ["lot", "status"])
    ['lot', 'table_status']
    """
    further = list(further)
    taken, names = {*columns, *further}, []
    for name in further:
        free = str(name)
        while free in columns or (free != name and free in taken):
            free = f"table_{free}"
        names.append(free)
        taken.add(free)
    return names


def beside(columns: Sequence[str], further: pd.DataFrame) -> pd.DataFrame:
    """The further columns of the user's table, called as `names_beside` says: both are wanted."""
    names = names_beside(columns, further.columns)
    renamed = [f"{old} as {new}" for old, new in zip(further.columns, names, strict=True) if old != new]
    if renamed:
        log.warning("columns of the table that are called as those of a prediction are written as %s", some(renamed))
    return further.set_axis(names, axis=1)


def for_spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which no text begins a formula: an apostrophe before it, which a spreadsheet does not show."""

    def safe(cell: Any) -> Any:
        formula = isinstance(cell, str) and cell.startswith(FORMULAS) and not is_number(cell)
        return f"'{cell}" if formula else cell

    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]  # by position: two may be called alike
    columns = [one if pd.api.types.is_numeric_dtype(one) else one.map(safe) for one in columns]
    return pd.concat(columns, axis=1).set_axis([safe(name) for name in frame.columns], axis=1)
