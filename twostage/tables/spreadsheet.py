"""Any file that holds a table, as programs write them, to a frame of text cells with its header found."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import DataError, NotThereError, some
from twostage.tables.header import LONGEST_TITLE, Row, find_header, named_columns, without_header

__all__ = ["TABLE_SUFFIXES", "Sheet", "read_sheet"]

TABLE_SUFFIXES = frozenset(".csv .tsv .tab .txt .xlsx .xlsm .xls .ods .parquet .pq".split())
"""Endings, in lower case, of names by which a file is taken for a table."""
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Sheet:
    """A table of text cells; the frame's index is each row's number in the file.

    `likely` is the decimal mark that goes with such a file, "" if unknown; `notes` say how it was read, where that is
    not as it is written.
    """

    path: Path
    frame: pd.DataFrame
    likely: str
    notes: list[str]

    def column(self, name: str) -> pd.Series:
        """The cells of a column."""
        column = self.frame[name]
        assert isinstance(column, pd.Series)
        return column


def read_sheet(path: Path, columns: dict[str, str], photograph: str = "", number: str = "") -> Sheet:
    """Read a table: CSV with any usual delimiter and encoding, Excel or Parquet, told by its content.

    Titles and comments before the header are passed over, and a header in other letter case is taken where one column
    alone is called so; both are said. Rows without any content are dropped.

    Args:
        columns: The columns that must be there, and the option that names each.
        photograph: The one among them that names the photograph, and
        number: the one that holds the concentration: a table without header that has just these needs none.

    Raises:
        DataError: The file is missing, empty, not a table, or lacks a required column.
    """
    if not path.is_file():
        raise NotThereError(f"{path}: no such table; give the path of a CSV, Excel or Parquet file")
    raw, notes = path.read_bytes(), list[str]()
    if raw.startswith(b"PK\3\4"):
        rows, likely = _excel(path, raw, notes), "."
    elif raw.startswith(b"PAR1"):
        rows, likely = _parquet(path, raw), "."
    else:
        rows, delimiter = _text(path, _decode(path, raw), list(columns))
        likely = {",": ".", ";": ","}.get(delimiter, "")
    if not rows:
        raise DataError(f"{path}: the table is empty; the first line must name the columns {some(columns)}")
    at = find_header(rows, list(columns))
    if at is None:
        names, body = without_header(path, rows, columns, photograph, number, notes)
    else:
        names, body = rows[at][1], rows[at + 1 :]
        if at:
            passed = some((f"'{' '.join(filter(None, cells))[:60]}'" for _, cells in rows[:at]), 2)
            notes.append(f"{path}: the header is row {rows[at][0]}; what stands before it is passed over: {passed}")
    names = named_columns(path, names, body, columns, photograph, notes)
    frame = _frame(path, names, body)
    if frame.empty:
        raise DataError(f"{path}: the table has a header and no rows")
    return Sheet(path, frame, likely, notes)


def _frame(path: Path, names: list[str], body: list[Row]) -> pd.DataFrame:
    """All cells as text; a cell beyond the header is refused, because it is a decimal comma more often than not."""
    width = len(names)
    for line, cells in body:
        if any(cells[width:]):
            raise DataError(
                f"{path}: row {line} has {len(cells)} cells, the header {width}; "
                f"put a decimal comma in quotes, or separate the columns by semicolons"
            )
    filled = [(cells + [""] * width)[:width] for _, cells in body]
    return pd.DataFrame(filled, columns=names, index=[line for line, _ in body], dtype=str)


def _text(path: Path, text: str, required: list[str]) -> tuple[list[Row], str]:
    """The rows of a text file and what separates its cells: that which finds the header, or stands in it most often."""
    skipped, given = 0, ""
    if said := re.match(r"sep=([^\r\n])\r?\n", text, re.IGNORECASE):  # Excel's own way to say it
        text, skipped, given = text[said.end() :], 1, said[1]
    line = re.search(r"\S[^\r\n]*", text)
    tried = given or "".join(sorted(DELIMITERS, key=lambda mark: -line[0].count(mark) if line else 0))
    for delimiter in tried:
        try:
            if find_header(list(islice(_rows(text, delimiter, skipped), LONGEST_TITLE)), required) is not None:
                break
        except csv.Error:
            continue
    else:
        delimiter = tried[0]
    try:
        return list(_rows(text, delimiter, skipped)), delimiter
    except csv.Error as error:
        raise DataError(f"{path}: not a table: {error}") from error


def _rows(text: str, delimiter: str, skipped: int) -> Iterator[Row]:
    """Each row that holds anything, with the number of the line where it begins."""
    reader, end = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True), 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield end + 1 + skipped, [cell.strip() for cell in cells]
            end = reader.line_num
    except csv.Error as error:
        raise csv.Error(f"{error} (line {reader.line_num + skipped})") from error


def _decode(path: Path, raw: bytes) -> str:
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{path}: an Excel file of the old kind (.xls); save it as .xlsx or CSV")
    head = raw[:4000]
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif 3 * head[1::2].count(0) > len(head):  # ASCII letters, each with a zero byte: UTF-16 without its mark
        encoding = "utf-16-le"
    elif 3 * head[::2].count(0) > len(head):
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise DataError(f"{path}: not a text file; export the table as CSV") from error
        text = raw.decode("cp1252", errors="replace")
    if "\0" in text:
        raise DataError(f"{path}: not a text file; export the table as CSV")
    return text


def _excel(path: Path, raw: bytes, notes: list[str]) -> list[Row]:
    """The rows of the first sheet."""
    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path}: an Excel file needs openpyxl: pip install 'twostage[excel]', or save it as CSV"
        ) from error
    try:
        book = pd.ExcelFile(BytesIO(raw), engine="openpyxl")
        sheet = book.parse(0, header=None, dtype=object, na_filter=False)
    except Exception as error:  # openpyxl raises whatever a damaged file leads to
        raise DataError(f"{path}: not an Excel file that can be read; save it as .xlsx or CSV") from error
    if len(book.sheet_names) > 1:
        left = some((f"'{name}'" for name in book.sheet_names[1:]), 3)
        notes.append(f"{path}: the first sheet, '{book.sheet_names[0]}', is read; {left} is not")
    return _filled(sheet.itertuples(index=False), 1)


def _parquet(path: Path, raw: bytes) -> list[Row]:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path}: a Parquet file needs pyarrow: pip install 'twostage[parquet]', or save it as CSV"
        ) from error
    try:
        frame = pd.read_parquet(BytesIO(raw), engine="pyarrow")
    except Exception as error:  # pyarrow raises whatever a damaged file leads to
        raise DataError(f"{path}: not a Parquet file that can be read; save it again, or as CSV") from error
    if any(frame.index.names):
        frame = frame.reset_index()
    columns = [frame.iloc[:, i].to_numpy() for i in range(frame.shape[1])]  # each keeps its own precision
    return [(0, [str(name).strip() for name in frame.columns]), *_filled(zip(*columns, strict=True), 1)]


def _filled(rows: Any, first: int) -> list[Row]:
    """The rows that hold anything, from `first` on, as text."""
    numbered = ((i, [_written(value) for value in row]) for i, row in enumerate(rows, first))
    return [(i, cells) for i, cells in numbered if any(cells)]


def _written(value: Any) -> str:
    """What a cell holds, as one would write it: a day without midnight, nothing for nothing."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value).strip()
