"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twostage.errors import StorageError

__all__ = ["remove_leftovers", "sync_folder", "write_atomically", "write_json"]


def write_atomically(path: Path, content: bytes | memoryview, before: Callable[[Path], None] | None = None) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old one or the new one, never half of it.

    Args:
        before: Called with the new file, complete and on the disk under a temporary name, before it takes its place.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            if before is not None:
                before(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or correct the rights of the "
            f"folder, then give the same command: what was saved before is whole"
        ) from error


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, so that a renaming survives a power cut (where the system can)."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some network disks do not sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON; NaN, which JSON has not, is refused."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while writing here; nobody else may be writing now."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)
