"""What files contain: digests that tell them apart, and reasons why one cannot be read that say nothing about it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from twostage.decoding.kinds import open_regular
from twostage.errors import ImageError, StorageError

__all__ = ["digest_of", "digests_of", "raise_if_it_may_pass"]

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


def digests_of(paths: Sequence[Path], threads: int) -> list[str]:
    """A digest of each file's content; one that cannot be read has a reason, which decoding tells again."""

    def digest(path: Path) -> str:
        try:
            with open_regular(path) as file:
                return digest_of(file)
        except ImageError as error:
            return f"not readable: {error}"
        except OSError as error:
            raise_if_it_may_pass(error, path)
            return f"not readable: {error.strerror}"

    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(threads or None) as pool:
        known = dict(zip(files, pool.map(digest, files), strict=True))
    return [known[path] for path in paths]


def digest_of(file: IO[bytes]) -> str:
    """Of what an open file holds."""
    digest = hashlib.blake2b(digest_size=8)
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def raise_if_it_may_pass(error: BaseException | None, source: object) -> None:
    """A bad connection or too little memory say nothing about a photograph; Pillow's own errors have no number."""
    if isinstance(error, MemoryError):
        raise StorageError(
            f"{source}: cannot be read at the moment (no memory is free); free some, then give the same command"
        ) from error
    if isinstance(error, OSError) and error.errno is not None and error.errno not in LASTING:
        raise StorageError(
            f"{source}: cannot be read at the moment ({error.strerror}); correct that, then give the same command"
        ) from error
