"""Every error raised on purpose. Each message is one line: what was wrong, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BackboneError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "ExportError",
    "HubError",
    "ImageError",
    "ModelFolderError",
    "NotThereError",
    "RefusedError",
    "RunError",
    "Stopped",
    "StorageError",
    "TrainingError",
    "TwoStageError",
    "number_of",
    "some",
    "suggest",
]


class TwoStageError(Exception):
    """Base of all errors that tell the user about a mistake; the command line prints them without a traceback."""


class ConfigError(TwoStageError, ValueError):
    """An option is unknown, has the wrong type, lies outside its range or contradicts another."""


class BackboneError(ConfigError):
    """A backbone is unknown, gives no feature map or cannot take images of the chosen size."""


class DataError(TwoStageError, ValueError):
    """A table, folder or split cannot be used for training."""


class NotThereError(DataError):
    """A table or a folder is not there, or photographs of it are not: `table` is the one that names them, if any."""

    def __init__(self, message: str, table: Any = None, missing: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.table, self.missing = table, list(missing)


class ImageError(DataError):
    """A photograph is missing or cannot be decoded."""


class RefusedError(TwoStageError):
    """With ``predict strict=true``: photographs were refused; what could be read is written."""


class DeviceError(TwoStageError, RuntimeError):
    """The requested device is not there."""


class ExportError(TwoStageError, RuntimeError):
    """A model cannot be exported, or the exported file does not read as the model does."""


class HubError(TwoStageError, OSError):
    """The Hugging Face hub refuses, has no such model, or cannot be reached."""


class RunError(TwoStageError, RuntimeError):
    """A run does not exist, lacks a stage or was made with other options."""


class ModelFolderError(TwoStageError, ValueError):
    """A folder is not a complete, readable trained model."""


class StorageError(TwoStageError, OSError):
    """A file or folder cannot be written, or does not hold what was written."""


class TrainingError(TwoStageError, RuntimeError):
    """Training cannot go on, for instance because the loss is no longer finite."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came; `number` is that of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def suggest(name: str, allowed: Iterable[str]) -> str:
    """The end of an "unknown ..." message: the nearest allowed names, or all of them where there are few."""
    allowed = sorted(set(allowed))
    near = difflib.get_close_matches(name, allowed, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "allowed: " + some(allowed, 12)


def number_of(count: int, one: str, many: str) -> str:
    """A number with the word that goes with it.

    >>> number_of(1, "pair", "pairs"), number_of(0, "pair", "pairs")
    ('1 pair', '0 pairs')
    """
    return f"{count} {one if count == 1 else many}"


def some(items: Iterable[object], most: int = 5) -> str:
    """The first few items and how many more there are: "a, b, c and 12 more"."""
    items = list(items)
    text = ", ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most} more"
