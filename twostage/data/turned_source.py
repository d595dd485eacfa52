"""``data=turned``: upright photographs of a folder, each turned by several angles, which are what is to be read."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL

from twostage.data.images import DECODER, decode_photograph
from twostage.data.photographs import Photographs, Request, load_files, refuse_impossible
from twostage.data.store import CHUNK, Rows, Store, open_store
from twostage.data.turning import TURNING, copies_of, draw_angles, turn_square
from twostage.decoding.facts import describe_photograph
from twostage.decoding.kinds import decoder_versions
from twostage.decoding.quiet import quiet
from twostage.errors import ConfigError, DataError, ImageError, some
from twostage.tables.folders import read_photographs
from twostage.tables.table import Table

__all__ = ["load"]

FINER = 4
"""A photograph is turned at up to so many times the side of the result, and then averaged."""


def load(request: Request) -> Photographs:
    """Turned copies of the photographs of a folder, and the photographs themselves, twice as fine.

    Raises:
        ConfigError: `image.fit` is not crop.
        DataError: There are none, or some are too small, and are not to be skipped.
        ImageError: Some cannot be decoded, and are not to be skipped.
    """
    data, image = request.data, request.image
    if image.fit != "crop":
        raise ConfigError(f"image.fit={image.fit} is not for data=turned, which turns the middle square: set crop")
    found = _large_enough(read_photographs(data.root), image.size, request)
    upright = load_files(found, replace(request, image=replace(image, size=2 * image.size)))
    angles = draw_angles(upright.digests, data.copies, data.turn, request.seed)
    _, first, of = np.unique(upright.digests, return_index=True, return_inverse=True)
    table = copies_of(upright.table, angles, groups=np.array(upright.table.images)[first[of]])
    refuse_impossible(table, data)
    store = _turned(upright, angles, request)
    return replace(
        upright,
        table=table,
        pixels=Rows(store.pixels, np.arange(len(table))),
        digests=np.repeat(upright.digests, data.copies).tolist(),
        store=store,
        upright=Rows(upright.pixels.array, np.repeat(upright.pixels.rows, data.copies)),
    )


def _large_enough(table: Table, size: int, request: Request) -> Table:
    """The photographs whose inscribed circle has `size` pixels across; what cannot be read is left to decoding."""
    with ThreadPoolExecutor(request.threads or None) as pool:
        sides = np.array(list(pool.map(_shorter_side, table.paths)))
    small = np.argsort(sides, kind="stable")[: (sides < size).sum()]
    if len(small) and (request.data.on_error == "stop" or len(small) == len(table)):
        skip = ", or leave these out with data.on_error=skip" if len(small) < len(table) else ""
        raise DataError(
            f"{len(small)} of {len(table)} photographs are smaller than the circle that is turned, which is "
            f"image.size={size} pixels wide: {some(f'{table.images[i]} ({sides[i]:g} pixels)' for i in small)}; choose "
            f"a smaller image.size, or larger photographs{skip}"
        )
    why = {table.images[i]: f"it is {sides[i]:g} pixels wide or high, less than image.size={size}" for i in small}
    return replace(table.select(sides >= size), skipped=why)


def _shorter_side(path: Path) -> float:
    try:
        facts = describe_photograph(path)
    except ImageError:  # decoding says why
        return np.inf
    return min(facts.width, facts.height)


def _turned(upright: Photographs, angles: np.ndarray, request: Request) -> Store:
    """The store of the turned copies, photograph after photograph."""
    paths, (count, copies), size = upright.table.paths, angles.shape, request.image.size

    def turn(row: int) -> np.ndarray:
        side = int(min(FINER * size, _shorter_side(paths[row])))
        return turn_square(decode_photograph(paths[row], side, "crop"), angles[row], size)

    def fill(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        with quiet(), ThreadPoolExecutor(request.threads or None) as pool:
            return np.concatenate(list(pool.map(turn, range(rows.start // copies, rows.stop // copies)))), {}

    content = {
        "made by": [TURNING, DECODER, PIL.__version__, *decoder_versions()],
        "files": hashlib.blake2b("".join(upright.digests).encode()).hexdigest(),
        "turned": [request.data.turn, copies],
        "seed": request.seed,
    }
    step = max(1, CHUNK // copies)
    pieces = [range(copies * at, copies * min(at + step, count)) for at in range(0, count, step)]
    return open_store(request.cache_dir, content, count * copies, size, fill, request.progress, pieces)
