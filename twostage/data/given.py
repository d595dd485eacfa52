"""Photographs and concentrations that somebody holds in Python, as a table that a run reads like any other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from twostage.data.photographs import decode_photographs
from twostage.decoding.inputs import chunks_of
from twostage.errors import DataError, ImageError, RunError, some
from twostage.files import as_bytes, write_atomically
from twostage.options.run import ImageConfig

__all__ = ["GROUP", "TABLE", "names_of", "photographs_in", "write_table"]

CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""
TABLE = "photographs.csv"
GROUP = "group"
"""The column of the specimens; image and target are called as they usually are."""


def photographs_in(X: Any) -> list[Any] | np.ndarray | None:
    """N photographs that somebody gives, as a list or one array (N,H,W,C); None where X holds numbers instead.

    Args:
        X: A list, tuple, Series, array or generator of paths, bytes, open files, PIL images, arrays (H,W[,C]); an array
            (N,H,W[,C]); a table with one column of paths.

    Raises:
        ConfigError: They have no order, or one of them is no photograph.

    >>> photographs_in(("a.png", "b.png")), photographs_in([[1.0, 2.0]])
    (['a.png', 'b.png'], None)
    """
    column = _only_column(list(X) if isinstance(X, Iterator) else X)
    if not _are_photographs(column):
        return None
    if getattr(column, "ndim", 1) == 3:
        column = column[..., None]
    chunks_of(column, 1)  # looks at them
    return column if getattr(column, "ndim", 1) > 1 else list(column)


def _only_column(X: Any) -> Any:
    """The one column of a table or an array (N,1), where that holds paths; else what was given."""
    if getattr(X, "ndim", 0) != 2 or X.shape[1] != 1:
        return X
    column = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    return column if len(column) and isinstance(next(iter(column)), str | os.PathLike) else X


def _are_photographs(X: Any) -> bool:
    """Is each item of a collection a photograph, and not a number or a row of numbers?"""
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


def write_table(table: Path, images: Any, targets: np.ndarray, groups: np.ndarray | None, image: ImageConfig) -> None:
    """Write a table of N photographs.

    Those that are paths are listed where they are. Others are decoded as `Predictor.predict` decodes them, brought to
    the network's size and written beside the table, as PNG, which loses nothing, under names that tell their content.

    Args:
        images: Paths, bytes, open files, PIL images or arrays uint8 (H,W,C), also mixed; or one array (N,H,W,C).
        targets: Concentrations (N,).
        groups: Names of the specimens (N,), or None.

    Raises:
        ImageError: A photograph that is no path cannot be decoded.
        ConfigError: One is no photograph.
        RunError: Another table is there.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for chunk in chunks_of(list(images), CHUNK):
        names += _names(table.parent, list(chunk), len(names), image)
    frame = pd.DataFrame({"image": names, "target": targets.astype(np.float64)})
    if groups is not None:
        frame[GROUP] = groups
    content = as_bytes(str(frame.to_csv(index=False)))
    if table.is_file() and table.read_bytes() != content:
        raise RunError(
            f"{table} lists other photographs or concentrations: choose another run=NAME, or delete its folders"
        )
    write_atomically(table, content)


def _names(folder: Path, sources: list[Any], first: int, image: ImageConfig) -> list[str]:
    """What each is called in the table; those that are no paths are written."""
    names = [os.path.abspath(os.fspath(one)) if isinstance(one, str | os.PathLike) else "" for one in sources]
    held = [i for i, name in enumerate(names) if not name or name != name.strip()]  # which a table would shorten
    pixels, failed = decode_photographs([sources[i] for i in held], image.size, image.fit)
    if failed:
        why = some((f"X[{first + held[i]}]: {reason}" for i, reason in failed.items()), 3)
        raise ImageError(f"photographs cannot be read: {why}; repair or remove them")
    for i, square in zip(held, pixels, strict=True):
        names[i] = f"{first + i:06d}_{hashlib.blake2b(square, digest_size=6).hexdigest()}.png"
        Image.fromarray(square).save(folder / names[i], compress_level=1)
    return names
