"""A function from table to table, for Ray Data, Dask, Spark and whatever else calls one on many machines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.decoding.boxes import check_box_columns, read_boxes
from twostage.decoding.inputs import is_photograph
from twostage.engines.loaded import ModelPlace, one_thread
from twostage.errors import ConfigError, suggest
from twostage.files import given_path
from twostage.hub.models import HUB
from twostage.predictor import Predictor
from twostage.tables.new_photographs import names_beside

__all__ = ["BatchReader"]

NO_PHOTOGRAPH = b""
"""Stands for what is none: decoding refuses it."""


class BatchReader:
    """Reads batches of a table: columns in, columns out, one row per row.

    It may be sent to any process: it holds where the model is, and no tensor. Each process loads the model when it
    first reads, and reads on one thread. All that was given comes out again, and beside it the columns that
    `twostage predict` writes (``concentration`` to ``reason``); a given column that is called as one of these becomes
    ``table_NAME``. A photograph that cannot be read is a refused row with its reason.

    Args:
        model: The folder of a run or model, which every process must see; or one of the hub ("hf://OWNER/NAME").
        image: The column of the photographs: paths, bytes of files, or arrays uint8 (H,W,C).
        boxes: The columns of what is read of each photograph; None: those of the training, if any; empty: all of it.
        folder: Where paths start that are relative.
        device: "cpu", "cuda" or another that `Predictor.load` takes.
        precision: Of the backbones, "float32" or "bfloat16".
        confidence: Of the intervals, instead of that of the training.

    Raises:
        ModelFolderError: There is no complete model.
        ConfigError: `boxes` are no columns of boxes, or another argument is none of these.

    Examples:
        ```python
        from twostage import BatchReader

        reader = BatchReader("outputs/first")
        readings = reader({"image": ["a.jpg", "b.jpg"], "lot": [7, 8]})
        print(readings["lot"], readings["concentration"], readings["status"])
        ```
    """

    def __init__(
        self,
        model: str | Path,
        image: str = "image",
        boxes: Sequence[str] | None = None,
        folder: str | Path = ".",
        *,
        device: str = "cpu",
        precision: str = "float32",
        confidence: float | None = None,
    ) -> None:
        predictor = Predictor.load(model, device, precision, confidence)  # what is wrong is said here, not by a worker
        place = str(model) if str(model).startswith(HUB) else os.path.realpath(given_path(model, "model"))
        self.place = ModelPlace(place, predictor.model.digest, device, precision, confidence)
        self.image, self.folder = image, os.path.abspath(given_path(folder, "folder"))
        self.boxes = [*(predictor.model.config.data.box_columns or [] if boxes is None else boxes)]
        if self.boxes:
            check_box_columns("boxes", self.boxes)

    def __call__(self, batch: Any) -> Any:
        """Read a batch.

        Args:
            batch: Columns by name, each a list or array (N,...), or a DataFrame.

        Returns:
            The same kind: arrays (N,...) by name, with None where a bin index is unknown, or a DataFrame.

        Raises:
            ConfigError: It has no column of that name, or columns that are not as long; or it is no batch.
        """
        if not isinstance(batch, Mapping | pd.DataFrame):
            raise ConfigError(f"a batch is columns by name, or a DataFrame of pandas, not {type(batch).__name__}")
        columns = {str(name): batch[name] for name in batch}
        if len(columns) < len(list(batch)):
            raise ConfigError(f"the columns of a batch must differ by name: {', '.join(map(str, batch))}")
        rows = self._rows(columns)
        given = dict(zip(names_beside(list(rows.columns), list(columns)), columns.values(), strict=True))
        if isinstance(batch, pd.DataFrame):
            return pd.concat([batch.set_axis(list(given), axis=1), rows.set_index(batch.index)], axis=1)
        return {**given, **{name: _plain(rows[name]) for name in rows}}

    def _rows(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """What is read, row by row."""
        for name in (self.image, *self.boxes):
            if name not in columns:
                raise ConfigError(f"the batch has no column '{name}': {suggest(name, columns)}")
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"the columns of a batch must be as long as each other, not {lengths}")
        sources, reasons = self._photographs(columns[self.image])
        boxes = self._boxes(columns) if self.boxes else None
        with one_thread():
            frame = self.place.predictor().predict(sources, boxes).to_frame().drop(columns="image")
        for row, reason in reasons.items():
            frame.loc[row, "reason"] = reason
        return frame

    def _photographs(self, cells: Iterable[Any]) -> tuple[list[Any], dict[int, str]]:
        """What is to be decoded, and the reason of each row that names none."""
        sources, reasons = list[Any](), dict[int, str]()
        for row, cell in enumerate(cells):
            if not is_photograph(cell) or (isinstance(cell, str) and not cell):
                nothing = isinstance(cell, str) or (pd.api.types.is_scalar(cell) and pd.isna(cell))
                what = "no photograph is named" if nothing else f"{type(cell).__name__} is no photograph"
                reasons[row] = f"{what}: give a path, the bytes of a file, or an array uint8 (H,W,C)"
                sources.append(NO_PHOTOGRAPH)
            else:
                is_path = isinstance(cell, str | os.PathLike)
                sources.append(os.path.join(self.folder, cell) if is_path else cell)
        return sources, reasons

    def _boxes(self, columns: Mapping[str, Any]) -> np.ndarray:
        numbers = [pd.to_numeric(pd.Series(list(columns[name])), errors="coerce") for name in self.boxes]
        values = np.stack([one.to_numpy(float, na_value=np.nan) for one in numbers], 1)
        return read_boxes(range(len(values)), self.boxes, values)[0] if len(values) else np.empty(0, object)


def _plain(column: pd.Series) -> np.ndarray:
    """A column as an array that every engine takes, None where a number of no fraction is unknown."""
    if isinstance(column.dtype, pd.Int64Dtype):
        return column.astype(object).where(column.notna(), None).to_numpy(object)
    return column.to_numpy()
