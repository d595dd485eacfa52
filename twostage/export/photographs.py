"""Photographs on which an exported file is proved: those of the model's training, where they are still there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from twostage.data.photographs import decode_photographs, load_photographs
from twostage.errors import TwoStageError, number_of
from twostage.options.data import DataConfig, ScenesConfig
from twostage.options.run import Config
from twostage.tables.folders import find_photographs
from twostage.tables.new_photographs import read_new
from twostage.tables.table import Table

__all__ = ["photographs_for"]

COUNT = 24
"""Some see a batch, and what the usual photograph looks like."""


def photographs_for(config: Config) -> tuple[np.ndarray, str]:
    """Up to `COUNT` photographs, uint8 (N,size,size,3), spread over those that the model was trained and tested with.

    Where none of these is there, or none can be read, random scenes take their place.

    Returns:
        They, and in words what they are.
    """
    data, missing = config.data, ""
    if not data.are_files:
        return _drawn(data, config), f"{COUNT} photographs of {data.describe()}"
    try:
        pixels = _of_files(config)
        if len(pixels):
            return pixels, f"{number_of(len(pixels), 'photograph', 'photographs')} of {data.describe()}"
    except (TwoStageError, OSError) as error:
        missing = f" ({error})"
    scenes = _drawn(ScenesConfig(), config)
    return scenes, f"{COUNT} random scenes, for no photograph of the training can be read{missing}"


def _of_files(config: Config) -> np.ndarray:
    table = _listed(config.data)
    there = [i for i, path in enumerate(table.paths) if Path(path).is_file()]
    rows = np.unique(np.linspace(0, len(there) - 1, min(COUNT, len(there))).round().astype(int))
    rows = np.array(there, int)[rows]
    boxes = None if table.boxes is None else table.boxes[rows]
    sources = [table.paths[i] for i in rows]
    pixels, failed = decode_photographs(sources, config.image.size, config.image.fit, boxes=boxes)
    return np.delete(pixels, list(failed), 0)


def _listed(data: DataConfig) -> Table:
    if not data.has_columns:
        return find_photographs(data.root)  # type: ignore[attr-defined]
    return read_new(
        data.table,  # type: ignore[attr-defined]
        data.image_column,
        None,
        data.target_column,
        None,
        data.box_columns or (),
        images=data.images,  # type: ignore[attr-defined]
        usual_decimal=data.decimal,
    )[0]


def _drawn(data: DataConfig, config: Config) -> np.ndarray:
    """Photographs of a source that draws them, others than those of the training."""
    with tempfile.TemporaryDirectory() as folder:
        few = data.with_few(COUNT)
        photographs = load_photographs(few, config.image, config.split, config.seed + 1, Path(folder))
        rows = np.linspace(0, len(photographs.pixels) - 1, COUNT).round().astype(int)
        return photographs.pixels[rows]
