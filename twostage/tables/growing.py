"""A table that grows row by row: whole or not there, and a command that was stopped goes on where it stood.

Rows go to ``NAME.part``; ``NAME.part.json`` says how many are surely there, and of which command. What was written
after that is cut off when the command is given again, so the table becomes what it would have been.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from filelock import FileLock, Timeout

from twostage.errors import RunError, Stopped, StorageError, number_of, some
from twostage.files import sync_folder, write_json
from twostage.tables.row_formats import RowFormat

__all__ = ["GrowingTable", "Rows", "Standing", "alone", "checksum_of", "growing", "refuse_other", "rows_to"]

log = logging.getLogger("twostage")

SECONDS = 1.0
"""Between two notes of how many rows are surely on the disk; so much work is done again after a power cut."""
BLOCK = 1 << 24


@dataclass(frozen=True)
class Standing:
    """So many rows, and bytes with their checksum; `notes` are what their writer needs in order to go on."""

    rows: int = 0
    size: int = 0
    checksum: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


def checksum_of(path: Path, size: int) -> int:
    """Of the first bytes of a file."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(min(BLOCK, size - file.tell())):
            found = zlib.crc32(block, found)
    return found


def refuse_other(what: Path, before: Mapping[str, Any], command: Mapping[str, Any], anew: str) -> None:
    """See that what is there was begun by the same command.

    Raises:
        RunError: It was not; the message names what differs.
    """
    names = [name for name in {**before, **command} if before.get(name) != command.get(name)]
    if names:
        differ = some(f"{name} was {before.get(name)}, is {command.get(name)}" for name in names)
        raise RunError(f"{what} was begun otherwise ({differ}): give that command to go on, or {anew}")


class Rows:
    """Where rows go as they come, and nothing is gone on with: standard output, a pipe, a device."""

    anew = ""
    """How to begin anew."""

    def __init__(self, form: RowFormat, put: Callable[[bytes], object]) -> None:
        self.form, self.put, self.standing = form, put, Standing()

    def add(self, frame: pd.DataFrame, notes: dict[str, Any]) -> None:
        """The next rows, and what their writer needs in order to go on after them."""
        data, now = self.form.encode(frame, first=not self.standing.rows), self.standing
        self.put(data)
        size, checksum = now.size + len(data), zlib.crc32(data, now.checksum)
        self.standing = Standing(now.rows + len(frame), size, checksum, notes)


class GrowingTable(Rows):
    """Rows on their way into a file."""

    def __init__(self, path: Path, form: RowFormat, command: Mapping[str, Any]) -> None:
        super().__init__(form, self._write)
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.known, self.command = path.with_name(f"{path.name}.part.json"), {"format": form.name, **command}
        self.anew = f"delete {self.part} to begin anew"
        self.noted = time.monotonic()
        if self.part.exists() and self.part.stat().st_size:
            self.standing = self._read()
        self.file: BinaryIO = self.part.open("r+b" if self.standing.rows else "wb")
        self.file.truncate(self.standing.size)
        self.file.seek(self.standing.size)
        self.note()

    def _read(self) -> Standing:
        """Where the unfinished table stands, if it is one of this command."""
        if not self.known.is_file():
            raise RunError(f"{self.part} is there, and nothing says what it is: rename it, or {self.anew}")
        try:
            content = json.loads(self.known.read_text(encoding="utf-8"))
            before, standing = dict(content["command"]), Standing(**content["standing"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.known} cannot be read, so {self.part} cannot be gone on with: {self.anew}"
            ) from error
        if not standing.rows:
            return Standing()
        refuse_other(self.part, before, self.command, self.anew)
        if checksum_of(self.part, standing.size) != standing.checksum:
            raise RunError(f"{self.part} is not what was written: {self.anew}")
        return standing

    def add(self, frame: pd.DataFrame, notes: dict[str, Any]) -> None:
        """The next rows; every second it is noted that they are there."""
        super().add(frame, notes)
        if time.monotonic() - self.noted >= SECONDS:
            self.note()

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.file.flush()

    def note(self) -> None:
        """Bring all rows so far to the disk, and note that they are there."""
        os.fsync(self.file.fileno())
        write_json(self.known, {"command": self.command, "standing": asdict(self.standing)})
        self.noted = time.monotonic()

    def finish(self) -> None:
        """All rows are there: move the table into its place."""
        self.note()
        self.file.close()
        self.form.finish(self.part, self.path)
        sync_folder(self.path.parent)
        self.known.unlink()

    def leave(self) -> None:
        """Stop here, so that the same command goes on here, if that can still be noted."""
        if not self.file.closed:
            with contextlib.suppress(OSError):
                self.note()
            with contextlib.suppress(OSError):
                self.file.close()


@contextmanager
def rows_to(
    path: Path | None, form: RowFormat, command: Mapping[str, Any], show: Callable[[bytes], object]
) -> Iterator[Rows]:
    """Where rows are put: a file, whole or not there; a pipe or a device, which takes what comes; or what shows them.

    Args:
        command: All that the rows depend on, as JSON can hold it.
        show: Prints rows, where there is no path.

    Raises:
        RunError, StorageError, Stopped: As `growing`.
    """
    if path is None:
        yield Rows(form, show)
    elif path.exists() and not path.is_file():
        try:
            with path.open("wb", buffering=0) as file:
                yield Rows(form, file.write)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    else:
        with growing(path, form, command) as table:
            yield table


@contextmanager
def growing(path: Path, form: RowFormat, command: Mapping[str, Any]) -> Iterator[GrowingTable]:
    """Begin a table, or go on with one that the same command has begun; at the end it takes its place.

    Args:
        command: All that its rows depend on, as JSON can hold it.

    Raises:
        RunError: Another process is at work on it, or what is there was begun by another command.
        StorageError: It cannot be written.
        Stopped: Ctrl-C or SIGTERM came; the message says how to go on.
    """
    path = Path(os.path.realpath(path))
    try:
        with alone(path):
            table = GrowingTable(path, form, command)
            try:
                yield table
                table.finish()
            except KeyboardInterrupt as stop:
                table.leave()
                number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
                held = f"{table.part} holds {number_of(table.standing.rows, 'row', 'rows')}"
                raise Stopped(f"stopped: {held}; to go on, give the same command", number) from stop
            except BaseException:
                table.leave()
                raise
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or correct the rights of the "
            f"folder, then give the same command: it goes on where it stood"
        ) from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let nobody else write there meanwhile.

    Raises:
        RunError: Somebody does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(f"another process is writing {path}: wait for it, or name another output") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
