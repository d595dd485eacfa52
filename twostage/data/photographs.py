"""From the options to photographs: a table and its pixels in the store."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from twostage.data.copies import alike_names, contradicting_copies, copies_message
from twostage.data.decoder import Source
from twostage.data.images import DECODER, decode_photograph
from twostage.data.kinds import decoder_versions, open_regular
from twostage.data.locating import Places
from twostage.data.quiet import quiet
from twostage.data.store import Rows, Store, open_store
from twostage.data.table import Table
from twostage.errors import DataError, ImageError, NotThereError, StorageError, some
from twostage.options.data import SOURCES, DataConfig
from twostage.options.family import resolve
from twostage.options.run import ImageConfig, SplitConfig

__all__ = ["Photographs", "Request", "decode_photographs", "load_files", "load_photographs"]

BLOCK = 1 << 20
LASTING = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EFBIG,
    errno.EOVERFLOW,
}
"""Reasons of the system that say something about a file (the last three come of wrong positions in a damaged one)."""


@dataclass(frozen=True)
class Photographs:
    """A table and its pixels.

    `pixels` is uint8 sRGB (N,H,W,3), row by row read from `store`; `digests` tell the files' contents apart (empty for
    simulated ones); `skipped` maps the name of each photograph that was left out to the reason.
    """

    table: Table
    pixels: Rows
    digests: list[str]
    store: Store
    skipped: dict[str, str]
    notes: list[str]


def decode_photographs(
    sources: Sequence[Source], size: int, fit: str, *, kept: bool = False, threads: int = 0
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode N photographs, in parallel, to uint8 (N,size,size,3).

    All threads of the process together use at most `twostage.data.budget.MEMORY` for decoding: a large photograph waits
    for the others.

    Args:
        kept: The reasons of failures are kept, so one that may pass is raised instead.
        threads: At most so many at a time; 0: as many as suit the machine.

    Returns:
        The pixels (zero where a photograph failed) and, for each that failed, its position and the reason.

    Raises:
        StorageError: With `kept`, a file could not be read for a reason that may pass.
    """
    pixels = np.zeros((len(sources), size, size, 3), np.uint8)
    failed: dict[int, str] = {}

    def decode(i: int) -> None:
        try:
            pixels[i] = decode_photograph(sources[i], size, fit)
        except ImageError as error:
            if kept:
                _raise_if_it_may_pass(error.__cause__, sources[i])
            failed[i] = str(error)

    with quiet(), ThreadPoolExecutor(threads or None) as pool:
        list(pool.map(decode, range(len(sources))))
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
    _refuse_impossible(loaded.table, data)
    return loaded


def _refuse_impossible(table: Table, data: DataConfig) -> None:
    """See that every concentration has a place on the scale, and lies above the least that there can be."""
    least, why = (-np.inf if data.minimum is None else data.minimum), f"data.minimum={data.minimum}"
    bad = table.targets < least
    if data.scale == "log" and not bad.any():
        bad, why = table.targets <= 0, "data.scale=log, which needs concentrations above zero"
    if bad.any():
        rows = some(f"{table.images[i]} with {table.targets[i]:g}" for i in np.flatnonzero(bad))
        raise DataError(f"{bad.sum()} of {len(table)} targets contradict {why}: {rows}; take them out, or change that")


def load_files(table: Table, request: Request) -> Photographs:
    """The photographs of a table of files, decoded into the store; those that cannot be read stop it or are skipped.

    Raises:
        NotThereError: Some are missing, and are not to be skipped; or all are.
        DataError: The same file has different concentrations, and is not to be skipped.
        ImageError: Some cannot be decoded, and are not to be skipped.
    """
    data = request.data
    missing = [i for i, path in enumerate(table.paths) if not os.path.isfile(path)]
    if missing and (data.on_error == "stop" or len(missing) == len(table)):
        raise NotThereError(_missing(table, missing, data), table, [table.images[i] for i in missing])
    digests = _digests(table.paths, request.threads)
    contradicting = contradicting_copies(table, digests, data.on_target_error)
    skipped = table.skipped | {table.images[i]: why for i, why in contradicting.items()}
    left = np.setdiff1d(np.arange(len(table)), list(contradicting))
    table, digests = table.select(left), [digests[i] for i in left]
    if not len(table):
        raise DataError(f"no photograph is left: {some(skipped.values(), 1)}")
    notes = [
        *table.notes,
        *_unit_message(table.unit, data.unit),
        *copies_message(table, digests),
        *alike_names(table.groups),
    ]
    store = _decoded(table.paths, digests, request.image, request.cache_dir, request.progress, request.threads)
    if store.failed and data.on_error == "stop":
        raise ImageError(
            f"{len(store.failed)} of {len(table)} photographs cannot be read: {some(store.failed.values(), 3)}; "
            f"repair or remove them, or set data.on_error=skip"
        )
    good = np.setdiff1d(np.arange(len(table)), list(store.failed))
    skipped |= {table.images[i]: reason for i, reason in store.failed.items()}
    kept = [digests[i] for i in good]
    return Photographs(table.select(good), Rows(store.pixels, good), kept, store, skipped, notes)


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


def _decoded(
    sources: list[Path], digests: list[str], image: ImageConfig, cache_dir: Path, progress: bool, threads: int
) -> Store:
    def fill(rows: range) -> tuple[np.ndarray, dict[int, str]]:
        some_sources = sources[rows.start : rows.stop]
        pixels, failed = decode_photographs(some_sources, image.size, image.fit, kept=True, threads=threads)
        return pixels, {rows.start + i: why.removeprefix(f"{sources[rows.start + i]}: ") for i, why in failed.items()}

    files = hashlib.blake2b("".join(digests).encode()).hexdigest()
    content = {"made by": [DECODER, *decoder_versions()], "files": files, "fit": image.fit}
    store = open_store(cache_dir, content, len(sources), image.size, fill, progress)
    # the same content may lie elsewhere today: the store does not know the files' names
    return replace(store, failed={i: f"{sources[i]}: {why}" for i, why in store.failed.items()})


def _digests(paths: list[Path], threads: int) -> list[str]:
    """A digest of each file's content; one that cannot be read has a reason, which decoding tells again."""

    def digest(path: Path) -> str:
        try:
            with open_regular(path) as file:
                return _digest(file)
        except ImageError as error:
            return f"not readable: {error}"
        except OSError as error:
            _raise_if_it_may_pass(error, path)
            return f"not readable: {error.strerror}"

    with ThreadPoolExecutor(threads or None) as pool:
        return list(pool.map(digest, paths))


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _raise_if_it_may_pass(error: BaseException | None, source: object) -> None:
    """A bad connection or too little memory say nothing about a photograph; Pillow's own errors have no number."""
    if isinstance(error, MemoryError):
        raise StorageError(
            f"{source}: cannot be read at the moment (no memory is free); free some, then give the same command"
        ) from error
    if isinstance(error, OSError) and error.errno is not None and error.errno not in LASTING:
        raise StorageError(
            f"{source}: cannot be read at the moment ({error.strerror}); correct that, then give the same command"
        ) from error
