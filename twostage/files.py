"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twostage.errors import ConfigError, StorageError

__all__ = [
    "as_bytes",
    "given_path",
    "refuse_unwritable",
    "remove_leftovers",
    "sync_folder",
    "text_of",
    "write_atomically",
    "write_json",
    "write_output",
]


def as_bytes(text: str) -> bytes:
    """A text as UTF-8, in which a file's name that is no Unicode has the bytes that the system gave it."""
    return text.encode("utf-8", "surrogateescape")


def text_of(path: Path) -> str:
    """A file's text, as `as_bytes` wrote it."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def given_path(text: str | Path, option: str) -> Path:
    """The path that a user gives as an option, with ``~`` as the home folder; whether it is there is another question.

    Raises:
        ConfigError: No file can be called that.
    """
    shown = str(text) if len(str(text)) <= 80 else f"{str(text)[:40]}... ({len(str(text))} letters)"
    try:
        path = Path(text).expanduser()
        raw = os.fsencode(path)
    except RuntimeError as error:
        raise ConfigError(f"{option}={shown}: no such user has a home folder here; write the path without ~") from error
    except ValueError as error:
        raise ConfigError(f"{option}={shown!r}: no file can be called that ({error})") from error
    if b"\0" in raw:
        raise ConfigError(f"{option}={shown!r}: a path cannot hold a NUL character")
    if len(raw) > 4000 or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise ConfigError(f"{option}={shown} is too long: a name may have 255 bytes, and a path 4000")
    return path


def write_atomically(path: Path, content: bytes | memoryview, before: Callable[[Path], None] | None = None) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old one or the new one, never half of it.

    Args:
        before: Called with the new file, complete and on the disk under a temporary name, before it takes its place.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.", suffix=".tmp")
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


def refuse_unwritable(path: Path, option: str) -> None:
    """See that a user's output can be written before hours of work are spent on it; nothing is made.

    Raises:
        StorageError: It is a folder, or lies where no file can be made.
    """
    if path.is_dir():
        raise StorageError(f"{option}={path} is a folder: give the name of a file in it")
    there = path if path.exists() else next(above for above in path.absolute().parents if above.exists())
    if (there != path and not there.is_dir()) or not os.access(there, os.W_OK):
        raise StorageError(f"{option}={path}: cannot be written, {there} is no folder that allows it; choose another")


def write_output(path: Path, content: bytes) -> None:
    """Write where a user says: through links, whole or not at all, but into a pipe or a device as into any.

    Raises:
        StorageError: It cannot be written.
    """
    if path.exists() and not path.is_file():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    else:
        write_atomically(Path(os.path.realpath(path)), content)


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
