"""Photographs as one uint8 array, decoded once, in parallel."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from twostage.config import CsvConfig, FolderConfig, ImageConfig, SplitConfig
from twostage.data.images import decode_photograph
from twostage.data.simulated import render_photographs, sample_targets
from twostage.data.table import Table, read_csv, read_folder, read_table
from twostage.errors import DataError, ImageError, some

__all__ = ["Photographs", "decode_photographs", "load_photographs"]


@dataclass(frozen=True)
class Photographs:
    """A table and its pixels.

    `pixels` is uint8 sRGB (N,H,W,3); `skipped` maps the name of each photograph that was left out to the reason.
    """

    table: Table
    pixels: np.ndarray
    skipped: dict[str, str]
    notes: list[str]


def decode_photographs(
    sources: list[Path] | list[str] | list[Image.Image], size: int, fit: str, progress: bool = False
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode N photographs to uint8 (N,size,size,3).

    Returns:
        The pixels (zero where a photograph failed) and, for each that failed, its position and the reason.
    """
    pixels = np.zeros((len(sources), size, size, 3), np.uint8)
    failed: dict[int, str] = {}

    def decode(i: int) -> None:
        try:
            pixels[i] = decode_photograph(sources[i], size, fit)
        except ImageError as error:
            failed[i] = str(error)

    with ThreadPoolExecutor() as pool:
        done = pool.map(decode, range(len(sources)))
        list(tqdm(done, "decoding", len(sources), unit="photo", leave=False, disable=None if progress else True))
    return pixels, dict(sorted(failed.items()))


def load_photographs(
    data: Any, image: ImageConfig, split: SplitConfig, seed: int, progress: bool = False
) -> Photographs:
    """The photographs that the options name, decoded or simulated.

    Raises:
        DataError: The table cannot be used, or photographs are missing or unreadable (unless data.on_error=skip).
    """
    if data.kind == "simulated":
        if not 0 <= data.low < data.high or (data.spacing == "log_uniform" and data.low == 0):
            raise DataError(f"data.low={data.low:g} must be positive and below data.high={data.high:g}")
        targets = sample_targets(data.count, data.low, data.high, data.spacing, seed)
        pixels = render_photographs(targets, image.size, seed, card_visible=data.reference == "card")
        names = [f"simulated_{i:06d}" for i in range(data.count)]
        return Photographs(Table(names, [], targets), pixels, {}, [])
    table, notes = _read(data, split)
    missing = [name for name, path in zip(table.images, table.paths, strict=True) if not os.path.isfile(path)]
    if missing and data.on_error == "stop":
        raise DataError(
            f"{len(missing)} of {len(table)} photographs are missing: {some(missing)}; correct the paths "
            f"(relative ones start from the table's folder) or set data.on_error=skip"
        )
    pixels, failed = decode_photographs(table.paths, image.size, image.fit, progress)
    if failed and data.on_error == "stop":
        raise ImageError(
            f"{len(failed)} of {len(table)} photographs cannot be read: {some(failed.values(), 3)}; "
            f"repair or remove them, or set data.on_error=skip"
        )
    good = np.setdiff1d(np.arange(len(table)), list(failed))
    skipped = {table.images[i]: reason for i, reason in failed.items()}
    return Photographs(table.select(good), pixels if not failed else pixels[good], skipped, notes)


def _read(data: CsvConfig | FolderConfig, split: SplitConfig) -> tuple[Table, list[str]]:
    if isinstance(data, FolderConfig):
        return read_folder(data.root), []
    extra = tuple(dict.fromkeys(name for name in (data.split_column, split.column) if name))
    table = read_table(data.table, data.image_column, data.target_column, data.group_column, extra)
    notes = []
    if not data.group_column:
        for name in {"group", "specimen"} & set(read_csv(Path(data.table).expanduser(), []).columns):
            notes.append(
                f"the table names specimens in a column '{name}': data.group_column={name} would keep photographs of "
                f"one specimen on one side of the split; without it the figures may be too good"
            )
    return table, notes
