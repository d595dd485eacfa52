"""From the options to photographs: a table and its pixels in the store."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twostage.data.contents import digest_of, digests_of, raise_if_it_may_pass
from twostage.data.images import DECODER, decode_boxes, decode_photograph
from twostage.data.store import CHUNK, Rows, Store, open_store
from twostage.decoding.boxes import pieces, same_photograph
from twostage.decoding.decoder import Source
from twostage.decoding.kinds import decoder_versions
from twostage.decoding.quiet import quiet
from twostage.errors import DataError, ImageError, NotThereError, some
from twostage.options.data import SOURCES, DataConfig
from twostage.options.family import resolve
from twostage.options.run import ImageConfig, SplitConfig
from twostage.tables.copies import alike_names, contradicting_copies, copies_message
from twostage.tables.locating import Places
from twostage.tables.table import Table

__all__ = [
    "Photographs",
    "Request",
    "decode_photographs",
    "load_files",
    "load_photographs",
    "refuse_impossible",
]


@dataclass(frozen=True)
class Photographs:
    """A table and its pixels.

    `pixels` is uint8 sRGB (N,H,W,3), row by row read from `store`; `digests` tell the files' contents apart (empty for
    simulated ones); `skipped` maps the name of each photograph that was left out to the reason. `upright`, of data that
    is made by turning, are the photographs before they were turned, uint8 sRGB (N,2*H,2*W,3), row by row as the table:
    `pixels` are they, turned once from the original ones by the table's targets.
    """

    table: Table
    pixels: Rows
    digests: list[str]
    store: Store
    skipped: dict[str, str]
    notes: list[str]
    upright: Rows | None = None


def decode_photographs(
    sources: Sequence[Source],
    size: int,
    fit: str,
    *,
    boxes: np.ndarray | None = None,
    kept: bool = False,
    threads: int = 0,
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode N photographs, or boxes in photographs, in parallel, to uint8 (N,size,size,3).

    All threads of the process together use at most `twostage.decoding.budget.MEMORY` for decoding: a large photograph
    waits for the others.

    Args:
        boxes: What to read of each, `Box` (N,); a photograph that comes again is decoded once.
        kept: The reasons of failures are kept, so one that may pass is raised instead.
        threads: At most so many at a time; 0: as many as suit the machine.

    Returns:
        The pixels (zero where a photograph failed) and, for each that failed, its position and the reason.

    Raises:
        StorageError: With `kept`, a file could not be read for a reason that may pass.
    """
    pixels = np.zeros((len(sources), size, size, 3), np.uint8)
    failed: dict[int, str] = {}

    def decode(rows: np.ndarray) -> None:
        source = sources[rows[0]]
        found: list[np.ndarray | ImageError]
        try:
            if boxes is None:
                found = [decode_photograph(source, size, fit)]
            else:
                found = decode_boxes(source, list(boxes[rows]), size, fit)
        except ImageError as error:
            found = [error] * len(rows)
        for i, one in zip(rows, found, strict=True):
            if isinstance(one, ImageError):
                if kept:
                    raise_if_it_may_pass(one.__cause__, source)
                failed[int(i)] = str(one)
            else:
                pixels[i] = one

    each = list(pieces(np.arange(len(sources)) if boxes is None else same_photograph(sources), 1))
    with quiet():
        if len(each) == 1:  # to start a thread takes as long as a small photograph
            decode(each[0])
        else:
            with ThreadPoolExecutor(threads or None) as pool:
                list(pool.map(decode, each))
    return pixels, dict(sorted(failed.items()))


@dataclass(frozen=True)
class Request:
    """Which photographs are wanted, and how they are to be brought to the store in `cache_dir`."""

    data: Any
    image: ImageConfig
    split: SplitConfig
    seed: int
    cache_dir: Path
    progress: bool = False
    threads: int = 0


def load_photographs(
    data: Any,
    image: ImageConfig,
    split: SplitConfig,
    seed: int,
    cache_dir: Path,
    progress: bool = False,
    threads: int = 0,
) -> Photographs:
    """The photographs that the options name, decoded or simulated into the store.

    Raises:
        DataError: The table cannot be used, or photographs are missing or unreadable (unless data.on_error=skip).
        StorageError: `cache_dir` cannot be written, or a photograph cannot be read for a reason that may pass.
    """
    request = Request(data, image, split, seed, cache_dir, progress, threads)
    loaded: Photographs = resolve(SOURCES.member(data.kind).load)(request)
    return loaded


def refuse_impossible(table: Table, data: DataConfig) -> None:
    """See that every concentration has a place on the scale, and lies above the least that there can be.

    Raises:
        DataError: Some do not.
    """
    checks = [("data.scale=log", table.targets <= 0, "must lie above zero", "data.scale=linear")] * (
        data.scale == "log"
    )
    if data.minimum is not None:
        below = table.targets < data.minimum
        checks.append((f"data.minimum={data.minimum:g}", below, "must not lie below it", "data.minimum=null"))
    for option, bad, must, other in checks:
        if bad.any():
            rows = some(f"{table.images[i]} with {table.targets[i]:g}" for i in np.flatnonzero(bad))
            raise DataError(
                f"with {option} concentrations {must}, unlike {bad.sum()} of {len(table)}: {rows}; remove these "
                f"rows, or set {other}"
            )


def load_files(table: Table, request: Request) -> Photographs:
    """The photographs of a table of files, decoded into the store; those that cannot be read stop it or are skipped.

    Raises:
        NotThereError: Some are missing, and are not to be skipped; or all are.
        DataError: The same file has different concentrations, and is not to be skipped; or a concentration has no place
            on the scale, or lies below the least.
        ImageError: Some cannot be decoded, and are not to be skipped.
    """
    data = request.data
    refuse_impossible(table, data)
    missing = [i for i, path in enumerate(table.paths) if not os.path.isfile(path)]
    if missing and (data.on_error == "stop" or len(missing) == len(table)):
        raise NotThereError(_missing(table, missing, data), table, [table.images[i] for i in missing])
    digests = digests_of(table.paths, request.threads)
    if table.boxes is not None:  # another box of the same file is another content
        of_boxes = [digest_of(io.BytesIO(repr(box).encode())) for box in table.boxes]
        digests = [f"{file}/{box}" for file, box in zip(digests, of_boxes, strict=True)]
    store, rows = _decoded(table, digests, request)
    if store.failed and data.on_error == "stop":
        raise ImageError(
            f"{len(store.failed)} of {len(table)} photographs cannot be read: {some(store.failed.values(), 3)}; "
            f"repair or remove them, or set data.on_error=skip"
        )
    left_out = store.failed | contradicting_copies(table, digests, store.failed, data.on_target_error)
    skipped = table.skipped | {table.images[i]: why for i, why in sorted(left_out.items())}
    good = np.setdiff1d(np.arange(len(table)), list(left_out))
    if not len(good):
        raise DataError(f"no photograph is left: {some(skipped.values(), 1)}")
    table, kept = table.select(good), [digests[i] for i in good]
    notes = [
        *table.notes,
        *_unit_message(table.unit, data.unit),
        *copies_message(table, kept),
        *alike_names(table.groups),
    ]
    return Photographs(table, Rows(store.pixels, rows[good]), kept, store, skipped, notes)


def _unit_message(written: str, given: str) -> list[str]:
    if not written or "".join(written.split()) == "".join(given.split()):
        return []
    if given:
        return [f"the concentrations are written in '{written}', and data.unit={given} says another unit"]
    return [f"data.unit={written} would name the unit of the concentrations in tables and report"]


def _missing(table: Table, missing: list[int], data: Any) -> str:
    """What to say about photographs that are not there: what was tried, and where others are."""
    names = [f"{table.rows[i]} '{table.images[i]}'" if table.rows else table.images[i] for i in missing]
    said = f"{len(missing)} of {len(table)} photographs are missing: {some(names)}; "
    first, skip = missing[0], ", or set data.on_error=skip" if data.on_error == "stop" else ""
    if table.folder is None:
        return f"{said}give the same command again{skip}"
    near = Places(table.folder).nearest(table.images[first])
    near = f" (the nearest is '{near}')" if near else ""
    said += f"tried were {table.paths[first]} and photographs below {table.folder} called so{near}: "
    if len(missing) == len(table):
        return f"{said}correct the paths, or say with data.images=FOLDER where they start"
    return f"{said}correct the paths, or remove the rows{skip}"


def _decoded(table: Table, digests: list[str], request: Request) -> tuple[Store, np.ndarray]:
    """The store, with failures by the table's rows, and where in it each row (N,) is."""
    image = request.image
    order, cuts = np.arange(len(table)), None
    if table.boxes is not None:  # photograph after photograph, so that each is decoded once
        found = list(pieces(same_photograph(table.paths), CHUNK))
        order, ends = np.concatenate(found), np.cumsum([len(piece) for piece in found])
        cuts = [range(end - len(piece), end) for end, piece in zip(ends, found, strict=True)]

    def fill(stored: range) -> tuple[np.ndarray, dict[int, str]]:
        rows = order[stored.start : stored.stop]
        boxes = None if table.boxes is None else table.boxes[rows]
        sources = [table.paths[row] for row in rows]
        pixels, failed = decode_photographs(
            sources, image.size, image.fit, boxes=boxes, kept=True, threads=request.threads
        )
        names = [str(source) for source in sources]
        if boxes is not None:
            names = [f"{name} {box}" for name, box in zip(names, boxes, strict=True)]
        reasons = {i: why.removeprefix(f"{names[i]}: ").removeprefix(f"{sources[i]}: ") for i, why in failed.items()}
        return pixels, {stored.start + i: why for i, why in reasons.items()}

    files = hashlib.blake2b("".join(digests[row] for row in order).encode()).hexdigest()
    content = {"made by": [DECODER, *decoder_versions()], "files": files, "fit": image.fit}
    store = open_store(request.cache_dir, content, len(table), image.size, fill, request.progress, cuts)
    # the same content may lie elsewhere today: the store does not know the files' names
    failed = {int(order[i]): f"{_named(table, order[i])}: {why}" for i, why in store.failed.items()}
    return replace(store, failed=dict(sorted(failed.items()))), np.argsort(order)


def _named(table: Table, row: int) -> str:
    if table.boxes is None:
        return str(table.paths[row])
    return f"{table.paths[row]} {table.boxes[row]} in row {table.boxes[row].row}"
