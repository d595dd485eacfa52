"""Excel and Parquet files to rows of text cells that know which of them are numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import DataError, some
from twostage.tables.header import Row

__all__ = ["NumberCell", "read_parquet", "read_workbook"]

NO_VALUE = "a formula without a value"


class NumberCell(str):
    """The text of a cell that is a number in the file itself."""


def read_workbook(path: Path, raw: bytes, notes: list[str]) -> list[Row]:
    """The rows of the first sheet; a note names the others.

    Raises:
        DataError: It cannot be read.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{path}: an Excel file needs openpyxl: pip install 'twostage[excel]', or save it as CSV"
        ) from error

    def cells(values: bool) -> list[Sequence[Any]]:
        book = openpyxl.load_workbook(BytesIO(raw), read_only=True, data_only=values, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write them wrong
        names[:] = [one.title for one in book.worksheets]
        return [tuple(row) for row in sheet.iter_rows()]

    names: list[str] = []
    try:
        found = cells(values=True)
        if any(cell.value is None and hasattr(cell, "coordinate") for row in found for cell in row):
            found = [_formulas_named(*rows) for rows in zip(found, cells(values=False), strict=True)]
        rows = _filled(([_in_workbook(cell) for cell in row] for row in found), 1)
    except Exception as error:  # openpyxl raises whatever a damaged file leads to
        raise DataError(f"{path}: not an Excel file that can be read; save it as .xlsx or CSV") from error
    if len(names) > 1:
        left = some((f"'{name}'" for name in names[1:]), 3)
        notes.append(f"{path}: the first sheet, '{names[0]}', is read; {left} is not")
    return rows


def _formulas_named(row: Sequence[Any], formulas: Sequence[Any]) -> Sequence[Any]:
    """A row in which formulas whose value was never computed say so, if the row holds anything else."""
    if all(cell.value is None for cell in row):
        return row
    pairs = zip(row, formulas, strict=True)
    return [NO_VALUE if cell.value is None and formula.data_type == "f" else cell for cell, formula in pairs]


def _in_workbook(cell: Any) -> Any:
    """What a cell of a workbook holds: percent as they are shown there, 50% for 0.5."""
    value = getattr(cell, "value", cell)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    shown = re.sub(r'"[^"]*"|\\.|\[[^\]]*\]', "", str(getattr(cell, "number_format", "")))
    if "%" in shown and isinstance(value, int | float) and not isinstance(value, bool):
        return NumberCell(f"{(Decimal(repr(value)) * 100).normalize():f}%")
    return value


def read_parquet(path: Path, raw: bytes) -> list[Row]:
    """The names of the columns and the rows below them.

    Raises:
        DataError: It cannot be read, or two columns are called alike.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{path}: a Parquet file needs pyarrow: pip install 'twostage[parquet]', or save it as CSV"
        ) from error
    try:
        names = pq.read_schema(BytesIO(raw)).names
        repeated = sorted({name for name in names if names.count(name) > 1})
        frame = pd.DataFrame() if repeated else pd.read_parquet(BytesIO(raw), engine="pyarrow")
    except Exception as error:  # pyarrow raises whatever a damaged file leads to
        raise DataError(f"{path}: not a Parquet file that can be read; save it again, or as CSV") from error
    if repeated:
        raise DataError(f"{path}: two columns are named '{repeated[0]}': rename one of them")
    if any(frame.index.names):
        frame = frame.reset_index()
    columns = [frame.iloc[:, i].to_numpy() for i in range(frame.shape[1])]  # each keeps its own precision
    return [(0, [str(name).strip() for name in frame.columns]), *_filled(zip(*columns, strict=True), 1)]


def _filled(rows: Iterable[Iterable[Any]], first: int) -> list[Row]:
    """The rows that hold anything, from `first` on, as text."""
    numbered = ((i, [_written(value) for value in row]) for i, row in enumerate(rows, first))
    return [(i, cells) for i, cells in numbered if any(cells)]


def _written(value: Any) -> str:
    """What a cell holds, as one would write it: a day without midnight, nothing for nothing."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, NumberCell):
        return value
    if isinstance(value, int | float | np.number | Decimal) and not isinstance(value, bool | np.timedelta64):
        return NumberCell(value)
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value).strip()
