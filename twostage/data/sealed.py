"""A test set that stays closed while something is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from twostage.data.splits import split_table
from twostage.tables.table import Table

__all__ = ["SEALED", "split_sealed"]

SEALED = "sealed"
"""The part of photographs that are neither learned from nor read: those of the test set, before its time."""


def split_sealed(table: Table, *, folds: int | None, fold: int, **given: Any) -> np.ndarray:
    """As `split_table`, with the test set, as it is drawn without folds, `SEALED`.

    With `folds` one of them is for testing, but they are of the photographs for training and validation alone: those
    for calibration are sealed as well, because intervals need photographs by which nothing was chosen.

    Args:
        given: Of `split_table`.

    Raises:
        DataError: As `split_table`.
    """
    parts = split_table(table, **given)
    if folds is None:
        parts[parts == "test"] = SEALED
        return parts
    learned = np.isin(parts, ["train", "validation"])
    inner = {key: given[key] for key in ("validation", "test", "seed")}
    parts[np.isin(parts, ["test", "calibration"])] = SEALED
    parts[learned] = split_table(table.select(learned), calibration=0.0, folds=folds, fold=fold, **inner)
    return parts
