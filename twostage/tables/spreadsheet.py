"""Any file that holds a table, as programs write them, to a frame of text cells with its header found."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from twostage.errors import DataError, NotThereError, some
from twostage.tables.header import LONGEST_TITLE, Row, find_header, named_columns, without_header
from twostage.tables.numbers import Numbers, read_numbers
from twostage.tables.texts import Texts
from twostage.tables.workbook import NumberCell, read_parquet, read_workbook

__all__ = ["TABLE_SUFFIXES", "Sheet", "read_sheet"]

TABLE_SUFFIXES = frozenset(".csv .tsv .tab .txt .xlsx .xlsm .xls .ods .parquet .pq".split())
"""Endings, in lower case, of names by which a file is taken for a table."""
DELIMITERS = ",;\t|"
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
BLOCK = 4096
"""Rows that are lists of cells at a time: a frame holds them in a tenth of the memory."""


@dataclass(frozen=True)
class Sheet:
    """A table of text cells; the frame's index is each row's number in the file.

    `typed` (of the frame's shape) tells which cells are numbers in the file itself. `likely` is the decimal mark that
    goes with such a file, "" if unknown; `notes` say how it was read, where that is not as it is written.
    """

    path: Path
    frame: pd.DataFrame
    typed: np.ndarray
    likely: str
    notes: list[str]

    def column(self, name: str) -> pd.Series:
        """The cells of a column."""
        column = self.frame[name]
        assert isinstance(column, pd.Series)
        return column

    @property
    def rows(self) -> Texts:
        """Where each row is, for messages."""
        return Texts(f"row {row}" for row in self.frame.index)

    def numbers(self, name: str, decimal: str | None, option: str, of: Sequence[int] | None = None) -> Numbers:
        """The numbers of a column, or of some of its rows (`twostage.tables.numbers.read_numbers`).

        Raises:
            DataError: It can be read in two ways, or has several units.
        """
        cells, rows, typed = list(self.column(name)), self.rows, self.typed[:, list(self.frame.columns).index(name)]
        used = range(len(cells)) if of is None else of
        return read_numbers(
            [cells[i] for i in used],
            Texts(rows[i] for i in used),
            f"{self.path}: column '{name}'",
            decimal=decimal,
            likely=self.likely,
            option=option,
            typed=[bool(typed[i]) for i in used],
        )


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
    raw, notes, likely = path.read_bytes(), list[str](), ""
    rows: Iterable[Row]
    if raw.startswith(b"PK\3\4"):
        rows = read_workbook(path, raw, notes)
    elif raw.startswith(b"PAR1"):
        rows = read_parquet(path, raw)
    else:
        rows, delimiter = _text(path, _decode(path, raw), list(columns))
        likely = {",": ".", ";": ","}.get(delimiter, "")
    del raw
    rows = iter(rows)
    first = list(islice(rows, LONGEST_TITLE))
    sheets = "".join(f"; {note.removeprefix(f'{path}: ')}: put the table first" for note in notes)
    if not first:
        raise DataError(f"{path}: the table is empty; the first line must name the columns {some(columns)}{sheets}")
    try:
        names, begun = _header(path, first, columns, photograph, number, notes)
        frame, typed = _framed(names, _as_wide(path, names, chain(begun, rows)))
    except DataError as error:
        raise DataError(f"{error}{sheets}") from error
    if frame.empty:
        raise DataError(f"{path}: the table has a header and no rows")
    return Sheet(path, frame, typed, likely, notes)


def _header(
    path: Path, rows: list[Row], columns: dict[str, str], photograph: str, number: str, notes: list[str]
) -> tuple[list[str], list[Row]]:
    """The names of the columns, and the rows below them, of the first of a table."""
    at = find_header(rows, list(columns))
    if at is None:
        names, body = without_header(path, rows, columns, photograph, number, notes)
    else:
        names, body = rows[at][1], rows[at + 1 :]
        if at:
            passed = some((f"'{' '.join(filter(None, cells))[:60]}'" for _, cells in rows[:at]), 2)
            notes.append(f"{path}: the header is row {rows[at][0]}; what stands before it is passed over: {passed}")
    return named_columns(path, names, body, columns, photograph, notes), body


def _framed(names: list[str], body: Iterator[Row]) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows as a frame, and which of its cells are numbers in the file itself; not all are lists of cells at once."""
    frames, typed = [pd.DataFrame(columns=names, dtype=str)], [np.zeros((0, len(names)), bool)]
    while block := list(islice(body, BLOCK)):
        lines, cells = [line for line, _ in block], [cells for _, cells in block]
        frames.append(pd.DataFrame(cells, columns=names, index=lines, dtype=str))
        typed.append(np.array([[isinstance(cell, NumberCell) for cell in row] for row in cells], bool))
    return pd.concat(frames[1:] or frames), np.concatenate(typed)


def _as_wide(path: Path, names: list[str], body: Iterable[Row]) -> Iterator[Row]:
    """Rows as wide as the header; a cell without a name is refused, because it is a decimal comma more often than not.

    The first column may have none: so programs write the numbers of rows.
    """
    width = len(names)
    for line, cells in body:
        nameless = [cell for i, cell in enumerate(cells) if cell and i and (i >= width or not names[i])]
        if nameless:
            raise DataError(
                f"{path}: row {line} has '{' '.join(nameless[0].split())[:40]}' where the header names no column; put "
                f"a decimal comma in quotes, or separate the columns by semicolons; or name the column"
            )
        yield line, (cells + [""] * width)[:width]


def _text(path: Path, text: str, required: list[str]) -> tuple[Iterator[Row], str]:
    """The rows of a text file and what separates its cells: that which finds the header, or stands in it most often."""
    skipped, given = 0, ""
    if said := re.match(r"sep=([^\r\n])\r?\n", text, re.IGNORECASE):  # Excel's own way to say it
        text, skipped, given = text[said.end() :], 1, said[1]
    line = re.search(r"\S[^\r\n]*", text)
    tried = given or "".join(sorted(DELIMITERS, key=lambda mark: -line[0].count(mark) if line else 0))
    for delimiter in tried:
        if _finds(path, text, delimiter, skipped, required):
            break
    else:
        delimiter = tried[0]
        if (
            given
            and given != (other := _text(path, text, required)[1])
            and _finds(path, text, other, skipped, required)
        ):
            raise DataError(
                f"{path}: its first line says sep={given}, and '{other}' separates the columns: correct that line, or "
                f"remove it"
            )
    return _rows(path, text, delimiter, skipped), delimiter


def _finds(path: Path, text: str, delimiter: str, skipped: int, required: list[str]) -> bool:
    """Is there a header where cells are separated so?"""
    try:
        return find_header(list(islice(_rows(path, text, delimiter, skipped), LONGEST_TITLE)), required) is not None
    except DataError:
        return False


def _rows(path: Path, text: str, delimiter: str, skipped: int) -> Iterator[Row]:
    """Each row that holds anything, with the number of the line where it begins."""
    lines = (line[0] for line in LINE.finditer(text))
    reader, end = csv.reader(lines, delimiter=delimiter, strict=True), 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield end + 1 + skipped, [cell.strip() for cell in cells]
            end = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}: not a table: {error} (line {reader.line_num + skipped})") from error


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
