"""Rows of a table as bytes, some after others: CSV, JSON lines or Parquet, which hold the same values."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from twostage.errors import ConfigError, DataError
from twostage.files import as_bytes

__all__ = ["ROW_FORMATS", "Csv", "JsonLines", "Parquet", "RowFormat", "row_format"]

OTHER_TABLES = (".xlsx", ".xls", ".ods", ".json", ".html")
ROW_GROUP = 65_536
"""Rows of a Parquet file that are read at once."""


class RowFormat(ABC):
    """How rows become bytes; those of all rows, one after another, are the table, or `finish` makes it of them."""

    name: str
    suffixes: tuple[str, ...]

    @abstractmethod
    def encode(self, frame: pd.DataFrame, first: bool) -> bytes:
        """The rows of a frame; `first`: with what stands before all rows."""

    def finish(self, part: Path, whole: Path) -> None:
        """Make the table at `whole` of all the bytes in `part`, which may be gone then."""
        os.replace(part, whole)

    def refuse(self, columns: Sequence[str], texts: Sequence[str]) -> None:
        """See that it can hold columns of these names, and these texts.

        Raises:
            DataError: It cannot.
        """
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise DataError(f"two columns are named '{repeated[0]}': rename one of them, or write format=csv")


class Csv(RowFormat):
    """Comma-separated; names that are no Unicode have the bytes that the system gave them."""

    name, suffixes = "csv", (".csv",)

    def encode(self, frame: pd.DataFrame, first: bool) -> bytes:
        """Lines, the header before the first."""
        return as_bytes(str(frame.to_csv(index=False, header=first)))

    def refuse(self, columns: Sequence[str], texts: Sequence[str]) -> None:
        """It holds anything."""


class JsonLines(RowFormat):
    """One JSON object a line, null where there is no number."""

    name, suffixes = "jsonl", (".jsonl", ".ndjson")

    def encode(self, frame: pd.DataFrame, first: bool) -> bytes:
        """A line for each row."""
        columns = [_values(frame.iloc[:, i]) for i in range(frame.shape[1])]
        rows = (dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True))
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        return text.encode("utf-8", "backslashreplace")  # \udce9, as JSON too writes what is no letter


class Parquet(RowFormat):
    """Columns with types, in groups of rows.

    A Parquet file has no end before its last row is known, so rows wait as record batches of Arrow, which can be added
    to at any time.
    """

    name, suffixes = "parquet", (".parquet", ".pq")

    def __init__(self) -> None:
        """Raises ConfigError where pyarrow is not installed."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise ConfigError("Parquet needs pyarrow: pip install 'twostage[parquet]', or write format=csv") from error
        self.pa, self.pq = pa, pq

    def refuse(self, columns: Sequence[str], texts: Sequence[str]) -> None:
        """It holds Unicode alone."""
        super().refuse(columns, texts)
        for text in texts:
            if not _is_unicode(text):
                raise DataError(f"{text}: this name is no Unicode, which Parquet cannot hold: write format=csv")

    def encode(self, frame: pd.DataFrame, first: bool) -> bytes:
        """A record batch, the schema before the first."""
        schema = self.pa.schema([(name, self._type(frame.iloc[:, i])) for i, name in enumerate(frame.columns)])
        columns = [self.pa.array(_unicode(_values(frame.iloc[:, i])), one.type) for i, one in enumerate(schema)]
        batch = self.pa.record_batch(columns, schema=schema)
        return (schema.serialize().to_pybytes() if first else b"") + batch.serialize().to_pybytes()

    def _type(self, column: pd.Series) -> Any:
        if pd.api.types.is_integer_dtype(column):
            return self.pa.int64()
        return self.pa.float64() if pd.api.types.is_numeric_dtype(column) else self.pa.string()

    def finish(self, part: Path, whole: Path) -> None:
        """Write the record batches as groups of rows, under another name until all are there."""
        unfinished = part.with_name(f"{part.name}.tmp")
        with self.pa.OSFile(str(part)) as file, self.pa.ipc.open_stream(file) as batches:
            with self.pq.ParquetWriter(unfinished, batches.schema) as writer:
                for group in self._groups(batches):
                    writer.write_table(group, ROW_GROUP)
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, whole)
        part.unlink()

    def _groups(self, batches: Any) -> Iterator[Any]:
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROW_GROUP:
                table = self.pa.Table.from_batches(waiting)
                yield table.slice(0, ROW_GROUP)
                waiting = table.slice(ROW_GROUP).to_batches()
        if waiting:
            yield self.pa.Table.from_batches(waiting)


ROW_FORMATS: dict[str, type[RowFormat]] = {kind.name: kind for kind in (Csv, JsonLines, Parquet)}


def row_format(named: str | None, output: Path | None) -> RowFormat:
    """The format that is named, or else the one that the suffix of `output` says, or else CSV.

    Raises:
        ConfigError: The two contradict each other, or it needs what is not there.
    """
    suffix = "" if output is None else output.suffix.lower()
    if suffix in OTHER_TABLES:
        raise ConfigError(
            f"output={output}: the rows are written as CSV (which Excel opens), JSON lines or Parquet: name it .csv, "
            f".jsonl or .parquet"
        )
    said = next((name for name, kind in ROW_FORMATS.items() if suffix in kind.suffixes), None)
    if named and said and named != said:
        raise ConfigError(
            f"format={named} and output={output} contradict each other: leave format out, or name it .{named}"
        )
    name = named or said or Csv.name
    if name == Parquet.name and (output is None or (output.exists() and not output.is_file())):
        raise ConfigError("format=parquet needs a file: output=NAME.parquet")
    return ROW_FORMATS[name]()


def _values(column: pd.Series) -> list[Any]:
    """The cells of a column, None where there is nothing."""
    return [None if empty else value for value, empty in zip(column.tolist(), column.isna(), strict=True)]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unicode(values: list[Any]) -> list[Any]:
    """Values in which a reason names a folder that is no Unicode as a terminal shows it."""
    return [value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value for value in values]
