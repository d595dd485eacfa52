"""The photographs that `twostage predict` was asked for: read as they come, their rows written as they come."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from twostage import __version__
from twostage.errors import ConfigError, RunError, some
from twostage.files import given_path, refuse_unwritable
from twostage.options.choices import ENGINES
from twostage.options.family import resolve
from twostage.options.reading import PredictConfig
from twostage.options.run import Config
from twostage.predictor import Predictor
from twostage.run.reader import open_reader, read_listed, say_with_what
from twostage.run.start import learned_by
from twostage.run.wanted import Tally, Wanted, stamp_of
from twostage.tables.folders import find_photographs, listed_in
from twostage.tables.growing import Rows, rows_to
from twostage.tables.new_photographs import for_spreadsheet
from twostage.tables.row_formats import row_format
from twostage.tables.spreadsheet import TABLE_SUFFIXES
from twostage.tables.table import Table

__all__ = ["Job", "Local", "Told", "predict", "read_into"]

log = logging.getLogger("twostage")

TELL = 60.0
"""Seconds between two lines of progress where there is no terminal."""
ONLY_FOR_TABLES = ("image_column", "target_column", "box_columns", "images", "decimal")
"""Options of predict that mean nothing for a folder."""


@dataclass(frozen=True)
class Job:
    """What an engine is given: the photographs that are wanted, and with what they are read."""

    config: PredictConfig
    predictor: Predictor
    folder: Path
    """Of the model."""
    wanted: Wanted
    own: frozenset[str]
    """The contents of photographs from which the model has learned."""

    def command(self) -> dict[str, Any]:
        """All that the rows depend on, beside the photographs and what is known of each, as JSON can hold it."""
        return {
            "version": __version__,
            "model": self.predictor.model.digest,
            "device": next(self.predictor.model.network.parameters()).device.type,
            "precision": self.config.runtime.precision,
            "confidence": self.config.confidence,
            "spreadsheet": self.config.spreadsheet,
            "images": None if self.wanted.table.folder is None else str(self.wanted.table.folder),
            "columns": self.wanted.columns,
        }


class Local:
    """The engine of one machine: rows go one after another into one table, or are shown."""

    numbered = False
    """Do rows need a number to keep their order?"""

    def __init__(self, config: PredictConfig, show: Callable[[bytes], object]) -> None:
        """See that the output can be written, before anything takes long."""
        self.output = None if config.output is None else given_path(config.output, "output")
        if self.output is not None:
            refuse_unwritable(self.output, "output")
        if config.shard is not None:
            raise ConfigError(
                f"shard={config.shard} cuts what engine=ray writes, and engine=local does not: leave it out"
            )
        self.form, self.show = row_format(config.format, self.output), show

    def read(self, job: Job) -> Tally:
        """Read all photographs; what is to be said of them."""
        self.form.refuse(job.wanted.columns, job.wanted.table.images)
        with rows_to(self.output, self.form, job.command(), self.show) as rows:
            return read_into(rows, job.predictor, job.wanted, job.config, job.own)


def predict(config: PredictConfig, show: Callable[[bytes], object]) -> Tally:
    """Read the photographs that `config.input` names; one row each, in order, to `config.output`.

    Args:
        show: Prints rows, where there is no output.

    Returns:
        What is to be said of all rows.

    Raises:
        ConfigError: The engine is not installed, or cannot write such an output.
        DataError: Nothing to read at config.input.
        ModelFolderError: No finished model of that run.
        RunError: The output was begun by another command, or with other photographs.
    """
    engine = resolve(ENGINES.member(config.engine))(config, show)
    predictor, folder = open_reader(config, config.confidence)
    wanted = Wanted.of(*_photographs(config, predictor.model.config), predictor, engine.numbered)
    own = learned_by(folder, predictor.model.config) if wanted.any_known else frozenset()
    tally: Tally = engine.read(Job(config, predictor, folder, wanted, own))
    say_with_what(config, predictor, folder)
    if tally.known:
        off = f"{(tally.squares / tally.known) ** 0.5:.4g} {predictor.unit}".strip()
        mine = f"; the model has learned from {tally.learned} of them, and reads these better" if tally.learned else ""
        log.info("RMSE %s over the %d read whose target is known%s", off, tally.known, mine)
    return tally


def _photographs(config: PredictConfig, trained: Config) -> tuple[Table, pd.DataFrame]:
    """The photographs, and the further columns of a table that lists them."""
    path, data = given_path(config.input, "input"), trained.data
    if path.suffix.lower() not in TABLE_SUFFIXES or path.is_dir():
        unused = [name for name in ONLY_FOR_TABLES if getattr(config, name) not in (None, [])]
        if unused:
            raise ConfigError(f"{unused[0]}= says how to read a table, and input={config.input} is none: leave it out")
        table = listed_in(sys.stdin.buffer) if config.input == "-" else find_photographs(config.input)
        if data.box_columns and config.box_columns is None:
            raise ConfigError(
                f"the model has learned from boxes: list them in a table ({some(data.box_columns, 5)}), or read whole "
                f"photographs with box_columns=[]"
            )
        for note in table.notes:
            log.warning("%s", note)
        return table, pd.DataFrame()
    return read_listed(config.input, config, trained)


def read_into(rows: Rows, predictor: Predictor, wanted: Wanted, config: PredictConfig, own: frozenset[str]) -> Tally:
    """Read the photographs whose rows are not there yet, and put their rows; what is said of all of them.

    Raises:
        RunError: The rows that are there were read from other photographs, or these have changed.
    """
    table, done = wanted.table, rows.standing.rows
    tally, seen, stamps = Tally(), hashlib.blake2b(), deque[object]()
    if done:
        tally, seen = Tally(**rows.standing.notes["tally"]), wanted.seen(slice(0, min(done, len(table))))
        if done > len(table) or seen.hexdigest() != rows.standing.notes["seen"]:
            raise RunError(
                f"the first {done} photographs are not those that the stopped command read, or have changed since: "
                f"{rows.anew}"
            )
        log.info("%d of %d rows are there already: going on", done, len(table))

    def taken() -> Iterator[Path]:
        for row in range(done, len(table)):
            path = table.paths[row]
            stamps.append(stamp_of(path))  # before it is decoded: what changes later is seen to have changed
            yield path

    boxes = None if table.boxes is None else table.boxes[done:]
    readings = predictor.stream(taken(), boxes)
    with closing(readings), Told(len(table), done, config.runtime.progress) as told:
        for prediction in readings if done < len(table) else ():
            part = slice(done, done + len(prediction))
            frame = wanted.frame(prediction, part)
            tally = tally.after(frame, prediction, table.targets[part], table.paths[part], own)
            seen.update(wanted.content(part, [stamps.popleft() for _ in range(len(prediction))]))
            frame = for_spreadsheet(frame) if config.spreadsheet else frame
            rows.add(frame, {"tally": asdict(tally), "seen": seen.hexdigest()})
            done = part.stop
            told.rows(len(prediction))
    return tally


class Told:
    """A bar with rate and time left on a terminal, a line with both every minute elsewhere, nothing if not wanted."""

    def __init__(self, total: int, done: int, wanted: bool) -> None:
        hidden = None if wanted else True  # None: where there is no terminal
        self.bar = tqdm(total=total, initial=done, desc="reading", unit="photo", leave=False, disable=hidden)
        self.total, self.first, self.done, self.wanted = total, done, done, wanted
        self.begun = self.said = time.monotonic()

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def rows(self, count: int) -> None:
        """So many more are there."""
        self.bar.update(count)
        self.done += count
        now = time.monotonic()
        if self.wanted and self.bar.disable and now - self.said >= TELL:
            rate, self.said = (self.done - self.first) / (now - self.begun), now
            left = tqdm.format_interval((self.total - self.done) / rate)
            log.info("%d of %d photographs read, %.4g a second, %s left", self.done, self.total, rate, left)
