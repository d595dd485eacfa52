"""The store: photographs decoded once, as a memory-mapped array on the disk that runs side by side share.

A store is a folder ``KEY/`` with ``pixels.npy``, uint8 (N,size,size,3), and ``index.json``; KEY is a digest of what the
photographs contain and of how they were brought to size, so another content or setting is another store. It is made
under a temporary name and renamed, so that it is whole or not there, and its checksum is verified when it is opened.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from twostage.errors import StorageError
from twostage.files import sync_folder, write_json

__all__ = ["CHUNK", "Pixels", "Rows", "Store", "open_store"]

log = logging.getLogger("twostage")

FORMAT = 1
CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""
BLOCK = 1 << 24


class Rows:
    """Some rows of an array (N,...), read from it only when they are asked for.

    >>> Rows(np.array([10, 11, 12, 13]), np.array([3, 0]))[:1]
    array([13])
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.array[self.rows[index]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.array[row] for row in self.rows)


Pixels = np.ndarray | Rows
"""uint8 sRGB (N,H,W,3), in memory or on the disk."""

Fill = Callable[[range], tuple[np.ndarray, dict[int, str]]]


@dataclass(frozen=True)
class Store:
    """Photographs on the disk: `pixels` uint8 (N,size,size,3), memory-mapped; `failed` maps rows to the reason."""

    path: Path
    pixels: np.ndarray
    failed: dict[int, str]

    def __str__(self) -> str:
        count, size = self.pixels.shape[:2]
        total = sum(file.stat().st_size for file in self.path.parent.rglob("*") if file.is_file())
        return (
            f"{count} at {size}x{size} pixels in {self.path} ({_megabytes(self.pixels.nbytes)}; with all other "
            f"decoded photographs there {_megabytes(total)}, which may be deleted at any time)"
        )


def open_store(
    folder: Path,
    content: dict[str, Any],
    count: int,
    size: int,
    fill: Fill,
    progress: bool = False,
    pieces: Sequence[range] | None = None,
) -> Store:
    """Open the store of this content, or make it.

    Args:
        folder: Where all stores are.
        content: All that the pixels depend on, as JSON can hold it.
        fill: Gives the pixels of some rows, uint8 (n,size,size,3), and why rows failed (which are zero then).
        pieces: The rows that it is asked for at a time, where not any will do.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    _clear_leftovers(folder)
    pieces = pieces or [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    depends_on = json.dumps([FORMAT, count, size, content], sort_keys=True)
    key = hashlib.blake2b(depends_on.encode(), digest_size=10).hexdigest()
    path, shape = folder / key, (count, size, size, 3)
    store = _opened(path, shape)
    if store is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _only_one(folder):
                store = _opened(path, shape)  # it may have been made while this process waited
                if store is None:
                    _make(path, shape, fill, pieces, progress)
                    store = _opened(path, shape)
        except StorageError:  # a photograph that cannot be read
            raise
        except OSError as error:
            need = f"; {np.prod(shape) / 1e6:,.0f} MB are needed" if error.errno == errno.ENOSPC else ""
            raise StorageError(
                f"runtime.cache_dir={folder}: cannot be written ({error.strerror or error}){need}; "
                f"choose another folder for the decoded photographs"
            ) from error
    if store is None:
        raise StorageError(f"{path}: what was just written reads back differently: the disk or the memory is faulty")
    return store


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.{0 if size >= 1e7 else 1}f} MB"


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One process at a time makes a store here: decoding uses every core anyway, and leftovers can be told apart."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is decoding photographs into %s: waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written: while none makes a store, folders are of nobody."""
    leftovers = list(folder.glob(".*.tmp"))
    if not leftovers:
        return
    with contextlib.suppress(OSError, Timeout), FileLock(folder / ".lock").acquire(timeout=0):  # a reader may not
        for leftover in leftovers:
            if leftover.is_dir():
                shutil.rmtree(leftover)
            elif time.time() - leftover.stat().st_mtime > 60:  # files are not written under the lock
                leftover.unlink()


def _make(path: Path, shape: tuple[int, int, int, int], fill: Fill, pieces: Sequence[range], progress: bool) -> None:
    temporary = path.parent / f".{path.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed while this process waited
    try:
        temporary.mkdir()
        checksum, failed = _write_pixels(temporary / "pixels.npy", shape, fill, pieces, progress)
        index = {"format": FORMAT, "checksum": checksum, "failed": {str(row): why for row, why in failed.items()}}
        write_json(temporary / "index.json", index)
        if path.exists():
            log.warning("the store %s is damaged: its photographs were decoded again", path)
            shutil.rmtree(path)
        temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_pixels(
    path: Path, shape: tuple[int, int, int, int], fill: Fill, pieces: Sequence[range], progress: bool
) -> tuple[int, dict[int, str]]:
    """Write, not map: on a full disk writing into a mapped file kills the process."""
    failed: dict[int, str] = {}
    bar = tqdm(total=shape[0], desc="decoding", unit="photo", leave=False, disable=None if progress else True)
    with path.open("wb") as file, bar:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        checksum = 0
        for rows in pieces:
            pixels, why = fill(rows)
            content = np.ascontiguousarray(pixels).data
            file.write(content)
            checksum = zlib.crc32(content, checksum)
            failed |= why
            bar.update(len(rows))
        file.flush()
        os.fsync(file.fileno())
    return checksum, failed


def _opened(path: Path, shape: tuple[int, int, int, int]) -> Store | None:
    """The store if it is there and whole."""
    try:
        index = json.loads((path / "index.json").read_text())
        pixels = np.asarray(np.load(path / "pixels.npy", mmap_mode="r"))
        whole = pixels.shape == shape and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
        if not whole or index["checksum"] != _checksum(path / "pixels.npy"):
            return None
        failed = _failed_rows(index["failed"], len(pixels))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Store(path, pixels, failed)


def _failed_rows(written: dict[str, Any], count: int) -> dict[int, str]:
    """Which of so many photographs failed, and why, as `_make` has written it.

    Raises:
        ValueError: It has not: the checksum is of the pixels alone, and so says nothing of this.
    """
    failed = {int(row): why for row, why in written.items()}
    for row, why in failed.items():
        if not 0 <= row < count or not isinstance(why, str) or str(row) not in written:
            raise ValueError(f"row {row} of {count}: {why}")
    return failed


def _checksum(path: Path) -> int:
    """Of the pixels, read and not mapped, so that they do not count as this process's memory."""
    checksum = 0
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum
