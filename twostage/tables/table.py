"""Which photographs there are and what is known of them; and what a table of them says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from twostage.decoding.boxes import check_box_columns, read_boxes, refuse_repeated, same_photograph
from twostage.errors import DataError, number_of, some
from twostage.files import given_path
from twostage.tables.header import is_photograph
from twostage.tables.locating import Places
from twostage.tables.spreadsheet import Sheet, read_sheet
from twostage.tables.texts import Paths, Texts

__all__ = ["Table", "boxes_in", "images_folder", "photographs_in", "read_table", "specimen_columns"]

USUAL_OF_BOXES = (("x", "left"), ("y", "top"), ("w", "width"), ("h", "height"))
"""How people call the columns of boxes."""


@dataclass(frozen=True)
class Table:
    """N photographs: what the user calls them, where they are, and what is known of them.

    `targets` (N,) float64 in the table's unit, NaN where unknown; `groups` (N,) specimen names or None; `blocks` (N,)
    names of what a split keeps whole though it is several specimens, or None: then it keeps specimens whole. `columns`
    holds further columns by name, as text (N,), `split_column` the one of them that names each photograph's part, where
    the photographs themselves say it. `boxes` (N,) are the `Box` that each row is in its photograph, or None. `rows`
    tell where each is in the file that lists them, `header` what columns that has, and `folder` where its names start,
    if there is one; `unit` is what its concentrations are written with. `skipped` maps the name of each row that was
    left out to the reason; `notes` are lines about how all this was read.
    """

    images: list[str] | Texts
    paths: Sequence[Path]
    targets: np.ndarray
    groups: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    boxes: np.ndarray | None = None
    blocks: np.ndarray | None = None
    split_column: str | None = None
    rows: list[str] | Texts = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    folder: Path | None = None
    unit: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: np.ndarray) -> Table:
        """The table of the given rows (indices or a boolean mask)."""
        rows = np.arange(len(self))[rows]
        return replace(
            self,
            images=[self.images[i] for i in rows],
            paths=Paths(self.paths[i] for i in rows) if self.paths else [],
            targets=self.targets[rows],
            groups=None if self.groups is None else self.groups[rows],
            blocks=None if self.blocks is None else self.blocks[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            boxes=None if self.boxes is None else self.boxes[rows],
            rows=[self.rows[i] for i in rows] if self.rows else [],
        )


def read_table(
    table: str | Path,
    image_column: str = "image",
    target_column: str | None = "target",
    group_column: str | None = None,
    extra_columns: tuple[str, ...] = (),
    *,
    images: str | None = None,
    day_column: str | None = None,
    decimal: str | None = None,
    on_target_error: str = "stop",
    box_columns: Sequence[str] = (),
) -> Table:
    """Read a table of photographs; paths in it are absolute or relative to the table's folder, or to `images`.

    Args:
        target_column: None where concentrations are not known (prediction).
        extra_columns: Further columns to keep, for splits.
        day_column: A further column to keep, without empty cells.
        decimal: The decimal mark of the concentrations, where it must be said.
        on_target_error: "skip" leaves out rows whose concentration is no number.
        box_columns: Of a box's left, top, width, height and, where boxes are turned, degrees. Then each row is a box,
            is called after photograph and box, and its group is the photograph unless there is a column for that.

    Raises:
        DataError: Something in the table cannot be used; the message names rows as line numbers.
    """
    path = given_path(table, "data.table")
    options = {
        "data.image_column": image_column,
        "data.target_column": target_column,
        "data.group_column": group_column,
        "data.day_column": day_column,
    }
    columns = {name: option for option, name in options.items() if name}
    sheet = read_sheet(
        path,
        columns
        | {name: "split.column" for name in extra_columns if name not in columns}
        | {name: "data.box_columns" for name in box_columns if name not in columns},
        image_column,
        target_column or "",
    )
    places, notes = Places(images_folder(path, images, "data.images")), list(sheet.notes)
    names, paths = photographs_in(sheet, image_column, places, notes)
    boxes = boxes_in(sheet, "data.", box_columns, decimal, notes) if box_columns else None
    targets, skipped, unit = np.full(len(names), np.nan), dict[int, str](), ""
    if boxes is not None:
        refuse_repeated(path, sheet.frame.index, paths, boxes)
    elif target_column:
        _refuse_duplicates(path, sheet.frame, paths)
    if target_column:
        numbers = sheet.numbers(target_column, decimal, "data.decimal")
        targets, unit, notes = numbers.values, numbers.unit, [*notes, *numbers.notes]
        skipped = _no_numbers(sheet, target_column, targets, on_target_error)
    groups, header = _filled(sheet, group_column, "group"), [str(name) for name in sheet.frame.columns]
    extra = {name: sheet.column(name).to_numpy(str) for name in extra_columns}
    if (days := _filled(sheet, day_column, "day")) is not None:
        extra[str(day_column)] = days
    notes += [] if group_column or not target_column else _unused_specimens(header)
    if boxes is not None:
        names, groups = _boxes_named(names, paths, boxes, groups, notes)
    whole = Table(
        names,
        paths,
        targets,
        groups,
        extra,
        boxes=boxes,
        rows=sheet.rows,
        header=header,
        folder=places.folder,
        unit=unit,
        skipped={names[i]: why for i, why in skipped.items()},
        notes=notes,
    )
    return whole.select(np.setdiff1d(np.arange(len(names)), list(skipped)))


def _unused_specimens(header: list[str]) -> list[str]:
    """Says that a column seems to name specimens, and is not used."""
    return [
        f"the table names specimens in a column '{name}': data.group_column={name} would keep "
        f"photographs of one specimen on one side of the split; without it the figures may be too good"
        for name in specimen_columns(header)[:1]
    ]


def specimen_columns(header: list[str]) -> list[str]:
    """Those of a table's columns that are called as if they named specimens.

    >>> specimen_columns(["image", "Specimen"])
    ['Specimen']
    """
    return [name for name in header if name.lower() in ("group", "specimen")]


def _filled(sheet: Sheet, column: str | None, meaning: str) -> np.ndarray | None:
    """What a column names, (N,), as the specimens or the days: every cell says something."""
    if not column:
        return None
    cells = sheet.column(column)
    empty = sheet.frame.index[cells == ""]
    if len(empty):
        raise DataError(
            f"{sheet.path}: column '{column}' is empty in row {some(empty)}; every photograph needs its {meaning}"
        )
    return cells.to_numpy(str)


def _boxes_named(
    names: list[str], paths: Sequence[Path], boxes: np.ndarray, groups: np.ndarray | None, notes: list[str]
) -> tuple[list[str], np.ndarray]:
    """What each row is called, after photograph and box, and its group: the photograph, unless there is another."""
    photograph = same_photograph(paths)
    firsts = np.unique(photograph, return_index=True)[1]
    if groups is None:
        notes.append(
            f"{len(names)} boxes in {len(firsts)} photographs: those of one photograph stay on one side of the split, "
            f"like one specimen; data.group_column=... would name the specimens instead"
        )
        groups = np.array(names)[firsts][photograph]
    rows = ["" if box.has_area else f" in row {box.row}" for box in boxes]  # what is no box has no other name
    return [f"{name} {box}{row}" for name, box, row in zip(names, boxes, rows, strict=True)], groups


def boxes_in(sheet: Sheet, prefix: str, columns: Sequence[str], decimal: str | None, notes: list[str]) -> np.ndarray:
    """The boxes that the named columns of a table hold, `Box` (N,).

    Args:
        prefix: Of the options that name columns and decimal mark: "data." in training.

    Raises:
        ConfigError: The columns are not four or five.
        DataError: A column has two readings, or a unit.
    """
    check_box_columns(f"{prefix}box_columns", columns)
    values = []
    for name in columns:
        found = sheet.numbers(name, decimal, f"{prefix}decimal")
        if found.unit or found.before:
            raise DataError(
                f"{sheet.path}: column '{name}' is written with '{found.before or found.unit}': boxes are "
                f"pixels, or shares of 0..1, as bare numbers"
            )
        values.append(found.values)
        notes += found.notes
    boxes, said = read_boxes(list(sheet.frame.index), columns, np.stack(values, 1))
    notes.append(f"{sheet.path}: {said}")
    return boxes


def images_folder(table: Path, images: str | None, option: str) -> Path:
    """Where the names of photographs in a table start: its own folder, or the one that `option` gives.

    Raises:
        DataError: There is no such folder.
    """
    folder = table.parent if images is None else given_path(images, option)
    if images is not None and not folder.is_dir():
        raise DataError(f"{option}={images}: no such folder; give the one where the names of the photographs start")
    return folder


def photographs_in(sheet: Sheet, column: str, places: Places, notes: list[str]) -> tuple[list[str], Paths]:
    """The names of the photographs in a table, and where they are.

    Raises:
        DataError: A row names none, or one that can be two.
    """
    names = sheet.column(column)
    if (names == "").any():
        empty = [
            f"{row} ({', '.join(repr(cell) for cell in sheet.frame.loc[row] if cell)[:60]})"
            for row in sheet.frame.index[names == ""]
        ]
        raise DataError(f"{sheet.path}: no photograph named in row {some(empty)}: name it, or remove the row")
    refused = [row for row, name in zip(sheet.rows, names, strict=True) if "\0" in name]
    if refused:
        raise DataError(f"{sheet.path}: no file can be called as in {some(refused)}: a character in the name is zero")
    if is_photograph(column) and os.path.isfile(places.written(column)):
        raise DataError(
            f"{sheet.path}: '{column}', which is to name a column, is a photograph: the table has no header; write one "
            f"into its first line, such as image,target"
        )
    paths, found = places.find(list(names), sheet.rows)
    notes += found
    return list(names), paths


def _no_numbers(sheet: Sheet, column: str, targets: np.ndarray, on_error: str) -> dict[int, str]:
    """Rows without a concentration, with the reason, where they are to be skipped."""
    bad, cells, rows = np.flatnonzero(np.isnan(targets)).tolist(), list(sheet.column(column)), sheet.rows
    if len(bad) and (on_error == "stop" or len(bad) == len(targets)):
        shown = [f"{rows[i]} '{' '.join(cells[i].split())[:40]}'" for i in bad]
        good = np.flatnonzero(np.isfinite(targets))
        like = f" (row {sheet.frame.index[good[0]]} '{cells[good[0]]}' does)" if len(good) else ""
        skip = ": correct them, or leave their rows out with data.on_target_error=skip" if on_error == "stop" else ""
        raise DataError(
            f"{sheet.path}: column '{column}' must hold a finite number in every row, in one unit; "
            f"{number_of(len(bad), 'does', 'do')} not{like}: {some(shown)}{skip}"
        )
    return {i: f"{rows[i]}: '{cells[i]}' is no concentration" for i in bad}


def _refuse_duplicates(path: Path, frame: pd.DataFrame, paths: Sequence[Path]) -> None:
    resolved = pd.Series([os.path.realpath(p) for p in paths], index=frame.index)
    repeated = resolved[resolved.duplicated(keep=False)]
    if len(repeated):
        first = repeated[repeated == repeated.iloc[0]]
        photo = Path(first.iloc[0])
        columns = _columns_of_boxes(list(frame.columns))
        boxes = (
            f"say with data.box_columns=[{','.join(columns)}] that its rows are boxes in them, or " if columns else ""
        )
        raise DataError(
            f"{path}: {number_of(repeated.nunique(), 'photograph is', 'photographs are')} listed more than once, for "
            f"instance {photo.parent.name}/{photo.name} in rows {some(first.index)}; {boxes}"
            f"keep one row for each photograph"
        )


def _columns_of_boxes(names: list[str]) -> list[str]:
    """The columns that are called as left, top, width and height of a box are, if there is one for each."""
    found = [[name for name in names if name.casefold() in usual] for usual in USUAL_OF_BOXES]
    return [names[0] for names in found] if all(len(names) == 1 for names in found) else []
