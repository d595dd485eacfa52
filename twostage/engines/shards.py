"""A folder of Parquet files, each so many consecutive rows: whole or not there, with a note of what each holds.

``rows_000004096.parquet`` begins with row 4096, so that the folder is read in order. ``_shards``, which readers of such
folders leave out, holds the notes, and the files that are not finished.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twostage.errors import RunError, Stopped, StorageError, number_of, some
from twostage.files import remove_leftovers, sync_folder, write_json
from twostage.options.reading import PredictConfig
from twostage.predictor import Predictor
from twostage.run.predicting import read_into
from twostage.run.wanted import Tally, Wanted
from twostage.tables.growing import alone, checksum_of, growing, refuse_other
from twostage.tables.row_formats import Parquet

__all__ = ["Shards"]

log = logging.getLogger("twostage")

BEGUN_WITH = "command.json"


@dataclass(frozen=True)
class Shards:
    """The shards of N rows, each of `size` of them, in the folder `path`, which `command` writes."""

    path: Path
    command: Mapping[str, Any]
    size: int
    rows: int

    @property
    def notes(self) -> Path:
        """The folder of the notes."""
        return self.path / "_shards"

    @property
    def all(self) -> list[slice]:
        """Which rows each shard has."""
        return [slice(first, min(first + self.size, self.rows)) for first in range(0, self.rows, self.size)]

    def file(self, shard: slice) -> Path:
        """Where the rows of a shard are, when all of them are there."""
        return self.path / f"rows_{shard.start:0{max(9, len(str(self.rows)))}d}.parquet"

    def _note(self, shard: slice) -> Path:
        return self.notes / f"{self.file(shard).name}.json"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Begin the folder, or go on with one that the same command has begun; nobody else writes there meanwhile.

        Raises:
            RunError: Somebody does, another command has begun it, or something else is in it.
            StorageError: It cannot be written.
            Stopped: Ctrl-C or SIGTERM came; the message says how to go on.
        """
        try:
            with alone(self.path):
                self._begin()
                try:
                    yield
                    self._tidy()
                except KeyboardInterrupt as stop:
                    number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
                    there = sum(shard.stop - shard.start for shard in self.all if self._note(shard).is_file())
                    held = f"{self.path} holds {there} of {number_of(self.rows, 'row', 'rows')}"
                    raise Stopped(f"stopped: {held}; to go on, give the same command", number) from stop
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"{error.filename or self.path}: cannot be written ({error.strerror or error}); correct that, then "
                f"give the same command: it goes on where it stood"
            ) from error

    def _begin(self) -> None:
        anew, begun = f"delete {self.path} to begin anew", self.notes / BEGUN_WITH
        if not begun.is_file():
            others = [file.name for file in self.path.iterdir()] if self.path.is_dir() else []
            if set(others) - {self.notes.name}:
                raise RunError(
                    f"output={self.path} is a folder of something else ({some(sorted(others), 3)}): name a new folder"
                )
            write_json(begun, self.command)
            return
        try:
            before = dict(json.loads(begun.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise RunError(f"{begun} cannot be read, so {self.path} cannot be gone on with: {anew}") from error
        refuse_other(self.path, before, self.command, anew)
        names = {self.file(shard).name for shard in self.all} | {self.notes.name}
        others = sorted({file.name for file in self.path.iterdir() if file.name[0] not in "._"} - names)
        if others:
            raise RunError(f"{self.path} holds what is none of its rows ({some(others, 3)}): move that elsewhere")

    def finished(self, shard: slice, wanted: Wanted) -> Tally | None:
        """What is said of the rows of a shard that is finished; None where it is to be read.

        Raises:
            RunError: It was read from other photographs, or these have changed.
        """
        file, path = self.file(shard), self._note(shard)
        if not path.is_file():
            return None
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            if not file.is_file() or file.stat().st_size != note["size"]:
                raise ValueError("another size")
            if checksum_of(file, note["size"]) != note["checksum"]:
                raise ValueError("another content")
            tally = Tally(**note["tally"])
        except (ValueError, KeyError, TypeError):
            log.warning("%s is damaged or gone: its rows are read again", file)
            path.unlink()
            return None
        if wanted.seen(shard).hexdigest() != note["seen"]:
            raise RunError(
                f"{file} holds rows of other photographs, or these have changed since: delete it to read its "
                f"{shard.stop - shard.start} rows again, or name another output"
            )
        return tally

    def _tidy(self) -> None:
        """Remove what killed workers have left."""
        remove_leftovers(self.notes)
        for lock in self.notes.glob(".*.lock"):
            lock.unlink(missing_ok=True)

    def read(
        self, shard: slice, wanted: Wanted, predictor: Predictor, config: PredictConfig, own: frozenset[str]
    ) -> Tally:
        """Read the rows of one shard, `wanted` alone, and put its file and its note there: the work of a worker.

        Raises:
            RunError: Another worker is at it, or it was begun with other photographs.
        """
        file = self.file(shard)
        unfinished = self.notes / file.name
        with growing(unfinished, Parquet(), self.command) as rows:
            tally = read_into(rows, predictor, wanted, config, own)
        size = unfinished.stat().st_size
        note = {"size": size, "checksum": checksum_of(unfinished, size), "tally": asdict(tally)}
        os.replace(unfinished, file)
        sync_folder(self.path)
        write_json(self._note(shard), note | {"seen": rows.standing.notes["seen"]})
        return tally
