"""The photographs that `twostage predict` was asked for: read as they come, their rows written as they come."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from twostage import __version__
from twostage.data.contents import digests_of
from twostage.errors import ConfigError, RunError, some
from twostage.files import given_path, refuse_unwritable
from twostage.model_folder import description_digest
from twostage.options.reading import PredictConfig
from twostage.options.run import Config
from twostage.predictor import Predictor
from twostage.run.reader import open_reader, read_listed, say_with_what
from twostage.run.start import learned_by
from twostage.tables.folders import find_photographs, listed_in
from twostage.tables.growing import Rows, rows_to
from twostage.tables.new_photographs import beside, for_spreadsheet, with_what_was_tried
from twostage.tables.row_formats import row_format
from twostage.tables.spreadsheet import TABLE_SUFFIXES
from twostage.tables.table import Table
from twostage.trust.prediction import Prediction
from twostage.trust.status import Status

__all__ = ["Tally", "Wanted", "predict"]

log = logging.getLogger("twostage")

BLOCK = 4096
"""Rows that are looked at again at a time."""
TELL = 60.0
"""Seconds between two lines of progress where there is no terminal."""


ONLY_FOR_TABLES = ("image_column", "target_column", "box_columns", "images", "decimal")
"""Options of predict that mean nothing for a folder."""


@dataclass
class Tally:
    """What is said of all rows at the end: how many of each status, the first refused one's reason, and the errors.

    `squares` is the sum of the squared errors of the `known` that were read and whose target is known; the model has
    `learned` from so many of these.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    squares: float = 0.0
    known: int = 0
    learned: int = 0

    @property
    def rows(self) -> int:
        """How many."""
        return sum(self.statuses.values())

    def after(
        self,
        frame: pd.DataFrame,
        prediction: Prediction,
        targets: np.ndarray,
        paths: Sequence[Path],
        own: frozenset[str],
    ) -> Tally:
        """With further rows; `own` are the contents of photographs from which the model has learned."""
        known = np.isfinite(targets) & prediction.is_read
        off = prediction.bins.difference(prediction.concentration[known], targets[known])
        mine = [path for path, one in zip(paths, known, strict=True) if one and own]
        reasons = frame.loc[frame["status"] == Status.REFUSED.value, "reason"]
        return Tally(
            dict(Counter(self.statuses) + Counter(frame["status"].tolist())),
            self.refused or next(iter(reasons), ""),
            self.squares + float(np.sum(off**2)),
            self.known + int(known.sum()),
            self.learned + sum(content in own for content in digests_of(mine, 1)),
        )

    def __str__(self) -> str:
        often = sorted(self.statuses.items(), key=lambda one: -one[1])
        return ", ".join(f"{count} {status}" for status, count in often)


@dataclass(frozen=True)
class Wanted:
    """N photographs that are to be read, and the further columns of their table, called as in the output."""

    table: Table
    further: pd.DataFrame
    columns: list[str]
    """Of the output."""

    @classmethod
    def of(cls, table: Table, further: pd.DataFrame, predictor: Predictor) -> Wanted:
        """With the further columns called apart from those of a prediction."""
        columns = list(predictor.predict([]).to_frame().columns)
        if np.isfinite(table.targets).any():
            columns.insert(1, "target")
        further = beside(columns, further)
        return cls(table, further, [*columns, *further.columns])

    @property
    def any_known(self) -> bool:
        """Is a target known?"""
        return "target" in self.columns[:2]

    def frame(self, prediction: Prediction, rows: slice) -> pd.DataFrame:
        """What was read of some rows, beside what is known of them."""
        table = self.table
        frame = with_what_was_tried(prediction.to_frame(table.images[rows]), table.paths[rows], table.folder)
        if self.any_known:
            frame.insert(1, "target", table.targets[rows])
        return pd.concat([frame, self.further.iloc[rows].reset_index(drop=True)], axis=1)

    def content(self, rows: slice, stamps: Iterable[object]) -> bytes:
        """All that some rows depend on, beside the model and the options."""
        table = self.table
        known = [table.images[rows], map(str, table.paths[rows]), table.targets[rows].tolist(), stamps]
        known += [] if table.boxes is None else [[(str(box), box.shares) for box in table.boxes[rows]]]
        further = (self.further.iloc[rows, i].tolist() for i in range(self.further.shape[1]))
        return "".join(map(repr, zip(*known, *further, strict=True))).encode()


def predict(config: PredictConfig, show: Callable[[bytes], object]) -> Tally:
    """Read the photographs that `config.input` names; one row each, in order, as they come, to `config.output`.

    Args:
        show: Prints rows, where there is no output.

    Returns:
        What is to be said of all rows.

    Raises:
        DataError: Nothing to read at config.input.
        ModelFolderError: No finished model of that run.
        RunError: The output was begun by another command, or with other photographs.
    """
    output = None if config.output is None else given_path(config.output, "output")
    if output is not None:
        refuse_unwritable(output, "output")
    form = row_format(config.format, output)
    predictor, folder = open_reader(config, config.confidence)
    table, further = _photographs(config, predictor.model.config)
    wanted = Wanted.of(table, further, predictor)
    form.refuse(wanted.columns, table.images)
    own = learned_by(folder, predictor.model.config) if wanted.any_known else frozenset()
    with rows_to(output, form, _command_of(config, predictor, wanted), show) as rows:
        tally = _read_into(rows, predictor, wanted, config, own)
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


def _command_of(config: PredictConfig, predictor: Predictor, wanted: Wanted) -> dict[str, Any]:
    """All that the rows depend on, beside the photographs and what is known of each, as JSON can hold it."""
    description = predictor.model.description
    return {
        "version": __version__,
        "model": description.get("digest") or description_digest(description),
        "device": next(predictor.model.network.parameters()).device.type,
        "precision": config.runtime.precision,
        "confidence": config.confidence,
        "spreadsheet": config.spreadsheet,
        "images": None if wanted.table.folder is None else str(wanted.table.folder),
        "columns": wanted.columns,
    }


def _read_into(rows: Rows, predictor: Predictor, wanted: Wanted, config: PredictConfig, own: frozenset[str]) -> Tally:
    """Read the photographs whose rows are not there yet, and put their rows; what is said of all of them.

    Raises:
        RunError: The rows that are there were read from other photographs, or these have changed.
    """
    table, done = wanted.table, rows.standing.rows
    tally, seen, stamps = Tally(), hashlib.blake2b(), deque[object]()
    if done:
        tally = Tally(**rows.standing.notes["tally"])
        for start in range(0, min(done, len(table)), BLOCK):
            block = slice(start, min(start + BLOCK, done, len(table)))
            seen.update(wanted.content(block, map(_stamp, table.paths[block])))
        if done > len(table) or seen.hexdigest() != rows.standing.notes["seen"]:
            raise RunError(
                f"the first {done} photographs are not those that the stopped command read, or have changed since: "
                f"{rows.anew}"
            )
        log.info("%d of %d rows are there already: going on", done, len(table))

    def taken() -> Iterator[Path]:
        for row in range(done, len(table)):
            path = table.paths[row]
            stamps.append(_stamp(path))  # before it is decoded: what changes later is seen to have changed
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


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with a file's content: its length and when it was written; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


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
