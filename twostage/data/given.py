"""Photographs and concentrations that somebody holds in Python, as a table that a run reads like any other."""

from __future__ import annotations

import os
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from twostage.data.photographs import decode_photographs
from twostage.decoding.inputs import chunks_of
from twostage.errors import DataError, ImageError, some
from twostage.files import as_bytes, write_atomically
from twostage.options.run import ImageConfig

__all__ = ["GROUP", "are_photographs", "names_of", "only_column", "write_table"]

CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""
GROUP = "group"
"""The column of the specimens; image and target are called as they usually are."""


def only_column(X: Any) -> Any:
    """The one column of a table or an array (N,1), where that holds paths; else what was given."""
    if getattr(X, "ndim", 0) != 2 or X.shape[1] != 1:
        return X
    column = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    return column if len(column) and isinstance(next(iter(column)), str | os.PathLike) else X


def are_photographs(X: Any) -> bool:
    """Is each item of a collection a photograph, and not a number or a row of numbers?

    >>> are_photographs(["a.png"]), are_photographs(np.zeros((2, 16, 16), np.uint8)), are_photographs([[1.0, 2.0]])
    (True, True, False)
    """
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUST":
        return X.ndim > 2
    if hasattr(X, "tocsr") or getattr(X, "ndim", 1) != 1 or not hasattr(X, "__iter__"):
        return False
    first = next(iter(X), None)
    return first is not None and not isinstance(first, Number | list | tuple) and getattr(first, "ndim", 2) >= 2


def names_of(groups: Any) -> np.ndarray | None:
    """What the specimens (N,) are called, as texts.

    Raises:
        DataError: They are no single column, or one is missing.
    """
    if groups is None:
        return None
    given = np.asarray(groups)
    if given.ndim != 1:
        raise DataError(f"groups must be (N,), not {given.shape}: give the specimen of each photograph")
    if (unknown := np.flatnonzero(pd.isna(given))).size:
        raise DataError(f"groups[{unknown[0]}] names no specimen: give that of each photograph, or no groups at all")
    return given.astype(str)


def write_table(folder: Path, images: Any, targets: np.ndarray, groups: np.ndarray | None, image: ImageConfig) -> Path:
    """Write a table of N photographs; returns its path.

    Those that are paths are listed where they are. Others are decoded as `Predictor.predict` decodes them, brought to
    the network's size and written beside the table, as PNG, which loses nothing.

    Args:
        images: Paths, bytes, open files, PIL images or arrays uint8 (H,W,C), also mixed; or one array (N,H,W,C).
        targets: Concentrations (N,).
        groups: Names of the specimens (N,), or None.

    Raises:
        ImageError: A photograph that is no path cannot be decoded.
        ConfigError: One is no photograph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for chunk in chunks_of(list(images), CHUNK):
        names += _names(folder, list(chunk), len(names), image)
    frame = pd.DataFrame({"image": names, "target": targets.astype(np.float64)})
    if groups is not None:
        frame[GROUP] = groups
    if bad := [i for i, name in enumerate(names) if name != name.strip() or "\n" in name or "\r" in name]:
        raise DataError(f"X[{bad[0]}]: no table can hold the path {names[bad[0]]!r}: give the photograph another name")
    write_atomically(folder / "photographs.csv", as_bytes(str(frame.to_csv(index=False))))
    return folder / "photographs.csv"


def _names(folder: Path, sources: list[Any], first: int, image: ImageConfig) -> list[str]:
    """What each is called in the table; those that are no paths are written."""
    names = [os.path.abspath(os.fspath(one)) if isinstance(one, str | os.PathLike) else "" for one in sources]
    held = [i for i, name in enumerate(names) if not name]
    pixels, failed = decode_photographs([sources[i] for i in held], image.size, image.fit)
    if failed:
        why = some((f"X[{first + held[i]}]: {reason}" for i, reason in failed.items()), 3)
        raise ImageError(f"{len(failed)} photographs cannot be read: {why}; repair or remove them")
    for i, square in zip(held, pixels, strict=True):
        names[i] = f"{first + i:06d}.png"
        Image.fromarray(square).save(folder / names[i], compress_level=1)
    return names
