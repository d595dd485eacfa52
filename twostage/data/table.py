"""Which photographs there are and what they show: from a CSV, from folders, or from a list of files."""

from __future__ import annotations

import csv
import glob
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from twostage.data.boxes import check_box_columns, read_boxes, refuse_repeated, same_photograph
from twostage.data.kinds import SUFFIXES
from twostage.errors import DataError, NotThereError, some, suggest
from twostage.files import given_path

__all__ = ["Table", "boxes_in", "find_photographs", "locate", "number", "read_csv", "read_folder", "read_table"]


NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?P<exponent>[eE][+-]?[0-9]+)?")


def number(text: str, exponent: bool = True) -> float:
    """What a cell or a folder's name says as a number: digits with a decimal point or comma; NaN where it is none.

    Python and pandas read more than people mean: ``12_5`` as 125, ``nan``, ``inf`` and the digits of other scripts.

    Args:
        exponent: Is ``1.2e-05`` a number? Programs write it into cells; as a person's name for a folder it is a code.

    >>> [number("12,5"), number("1e3"), number("1e3", exponent=False), number("12_5")]
    [12.5, 1000.0, nan, nan]
    """
    found = NUMBER.fullmatch(text)
    if not found or (found["exponent"] and not exponent):
        return math.nan
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else math.nan


@dataclass(frozen=True)
class Table:
    """N photographs: what the user calls them, where they are, and what is known of them.

    `targets` (N,) float64 in the table's unit, NaN where unknown; `groups` (N,) specimen names or None;
    `columns` holds further columns by name, as text (N,). `boxes` (N,) are the `Box` in it that each row is, or None.
    """

    images: list[str]
    paths: list[Path]
    targets: np.ndarray
    groups: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: np.ndarray) -> Table:
        """The table of the given rows (indices or a boolean mask)."""
        rows = np.arange(len(self))[rows]
        return Table(
            [self.images[i] for i in rows],
            [self.paths[i] for i in rows] if self.paths else [],
            self.targets[rows],
            None if self.groups is None else self.groups[rows],
            {name: values[rows] for name, values in self.columns.items()},
            None if self.boxes is None else self.boxes[rows],
        )


def read_csv(path: Path, required: list[str]) -> pd.DataFrame:
    """Read a table as text, whatever its delimiter (comma, semicolon, tab), byte order mark or encoding.

    The index is the row's line number in the file. Rows without any content are dropped.

    Raises:
        DataError: The file is missing, empty, not a table, or lacks a required column.
    """
    if not path.is_file():
        raise NotThereError(f"{path}: no such table; give the path of a CSV file")
    text = _decode(path)
    header = next((line for line in text.splitlines() if line.strip()), None)
    if header is None:
        raise DataError(f"{path}: the table is empty; the first line must name the columns {some(required)}")
    frame = _frame(path, text, max(",;\t", key=header.count))
    for name in required:
        if name not in frame.columns:
            found = f"its columns are {some(frame.columns, 8)}"
            if len(frame.columns) == 1:
                found = f"its header reads '{header[:80]}'; columns are separated by comma, semicolon or tab"
            near = f"; {suggest(name, frame.columns)}" if len(frame.columns) > 1 else ""
            raise DataError(f"{path}: no column '{name}'; {found}{near}")
        if list(frame.columns).count(name) > 1:
            raise DataError(f"{path}: two columns are named '{name}': rename one of them")
    if frame.empty:
        raise DataError(f"{path}: the table has a header and no rows")
    return frame


def _frame(path: Path, text: str, delimiter: str) -> pd.DataFrame:
    """All cells as text; a cell beyond the header is refused, because it is a decimal comma more often than not."""
    rows: list[list[str]] = []
    lines: list[int] = []
    reader, end = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True), 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append([cell.strip() for cell in cells])
                lines.append(end + 1)
            end = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}: not a table: {error} (line {reader.line_num})") from error
    width = len(rows[0])
    for line, cells in zip(lines, rows, strict=True):
        if any(cells[width:]):
            raise DataError(
                f"{path}: row {line} has {len(cells)} cells, the header {width}; "
                f"put a decimal comma in quotes, or separate the columns by semicolons"
            )
    filled = [(cells + [""] * width)[:width] for cells in rows[1:]]
    return pd.DataFrame(filled, columns=rows[0], index=lines[1:], dtype=str)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not a text file; export the table as CSV") from error
    if b"\0" in raw:
        raise DataError(f"{path}: not a text file; export the table as CSV")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def read_table(
    table: str | Path,
    image_column: str = "image",
    target_column: str | None = "target",
    group_column: str | None = None,
    extra_columns: tuple[str, ...] = (),
    box_columns: Sequence[str] = (),
) -> Table:
    """Read a table of photographs; paths in it are absolute or relative to the table's folder.

    Args:
        target_column: None where concentrations are not known (prediction).
        extra_columns: Further columns to keep, for splits.
        box_columns: Of a box's left, top, width, height and, where boxes are turned, degrees. Then each row is a box,
            is called after photograph and box, and its group is the photograph unless there is a column for that.

    Raises:
        DataError: Something in the table cannot be used; the message names rows as line numbers.
    """
    path = given_path(table, "data.table")
    columns = [name for name in (image_column, target_column, group_column, *extra_columns, *box_columns) if name]
    frame = read_csv(path, columns)
    images = frame[image_column]
    if (images == "").any():
        raise DataError(f"{path}: no photograph named in row {some(frame.index[images == ''])}")
    paths = [locate(path.parent, name) for name in images]
    boxes = boxes_in(path, frame, "data.box_columns", box_columns) if box_columns else None
    if boxes is not None:
        refuse_repeated(path, frame.index, paths, boxes)
    elif target_column:
        _refuse_duplicates(path, frame, paths)
    if target_column:
        targets = _numbers(path, frame[target_column])
    else:
        targets = np.full(len(frame), np.nan)
    groups = None
    if group_column:
        if (frame[group_column] == "").any():
            rows = some(frame.index[frame[group_column] == ""])
            raise DataError(f"{path}: column '{group_column}' is empty in row {rows}; every photograph needs its group")
        groups = frame[group_column].to_numpy(str)
    extra = {name: frame[name].to_numpy(str) for name in extra_columns}
    names = list(images)
    if boxes is not None:
        photograph = same_photograph(paths)
        firsts = np.unique(photograph, return_index=True)[1]
        groups = np.array(names)[firsts][photograph] if groups is None else groups
        names = [f"{name} {box}" for name, box in zip(names, boxes, strict=True)]
    return Table(names, paths, targets, groups, extra, boxes)


def boxes_in(path: Path, frame: pd.DataFrame, option: str, columns: Sequence[str]) -> np.ndarray:
    """The boxes that the named columns of a table hold, `Box` (N,).

    Raises:
        ConfigError: The columns are not four or five.
    """
    check_box_columns(option, columns)
    values = [[number(cell) for cell in row] for row in frame[list(columns)].to_numpy(str)]
    return read_boxes(path, list(frame.index), columns, np.array(values, np.float64))


def locate(folder: Path, name: str) -> Path:
    """Where a photograph is that a table in `folder` names; backslashes lead there as well, unless a name has them."""
    path = folder / (Path(os.path.expanduser(name)) if name.startswith("~/") else Path(name))
    if "\\" in name and not os.path.exists(path):  # unlike Path.exists, also where no file can be called that
        return folder / name.replace("\\", "/")
    return path


def _refuse_duplicates(path: Path, frame: pd.DataFrame, paths: list[Path]) -> None:
    resolved = pd.Series([os.path.realpath(p) for p in paths], index=frame.index)
    repeated = resolved[resolved.duplicated(keep=False)]
    if len(repeated):
        first = repeated[repeated == repeated.iloc[0]]
        photo = Path(first.iloc[0])
        raise DataError(
            f"{path}: {repeated.nunique()} photographs are listed more than once, for instance "
            f"{photo.parent.name}/{photo.name} in rows {some(first.index)}; keep one row for each photograph"
        )


def _numbers(path: Path, column: pd.Series) -> np.ndarray:
    """Concentrations as float64; a decimal comma is understood."""
    values = np.array([number(cell) for cell in column], np.float64)
    bad = np.isnan(values)
    if bad.any():
        cells = [f"row {row} '{' '.join(cell.split())}'" for row, cell in column[bad].items()]
        raise DataError(
            f"{path}: column '{column.name}' must hold a finite number in every row; {bad.sum()} do not: {some(cells)}"
        )
    return values


def read_folder(root: str | Path) -> Table:
    """Photographs from one folder per concentration: root/123.5/a.jpg (a decimal comma is understood).

    Raises:
        DataError: No such folder, a folder whose name is no number, or no photographs.
    """
    root = given_path(root, "data.root")
    if not root.is_dir():
        raise NotThereError(f"{root}: no such folder; data.root must hold one folder per concentration, such as 123.5/")
    paths: list[Path] = []
    targets: list[float] = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        target = number(folder.name, exponent=False)
        if math.isnan(target):
            raise DataError(
                f"{folder}: the folder's name must be a concentration, a finite number such as 123.5 (digits 0 to 9, "
                f"a decimal point or comma): rename the folder, or list the photographs in a table (data=csv)"
            )
        found = _images_in(folder)
        paths += found
        targets += [target] * len(found)
    if not paths:
        raise DataError(
            f"{root}: no photographs; expected files such as {root}/123.5/a.jpg ({some(sorted(SUFFIXES), 9)})"
        )
    return Table([str(p.relative_to(root)) for p in paths], paths, np.array(targets, np.float64))


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def find_photographs(source: str) -> Table:
    """Photographs to predict: one file, every photograph below a folder, or a glob pattern such as 'photos/*.png'.

    Raises:
        DataError: Nothing there.
    """
    path = given_path(source, "input")
    if path.is_dir():
        paths = _images_in(path)
        if not paths:
            raise DataError(f"{path}: no photographs in this folder ({some(sorted(SUFFIXES), 9)})")
    elif path.exists():
        paths = [path]
    else:
        paths = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if not paths:
            raise DataError(f"{source}: no such photograph, folder or table, and no file matches it as a pattern")
    return Table([str(p) for p in paths], paths, np.full(len(paths), np.nan))
