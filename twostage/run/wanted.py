"""Photographs that are to be read: the one way to their rows, what these depend on, and what is said of all of them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from twostage.data.contents import digests_of
from twostage.predictor import Predictor
from twostage.tables.new_photographs import beside, with_what_was_tried
from twostage.tables.table import Table
from twostage.trust.prediction import Prediction
from twostage.trust.status import Status

__all__ = ["Tally", "Wanted", "stamp_of"]

BLOCK = 4096
"""Rows that are looked at again at a time."""


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
        return self + Tally(
            dict(Counter(frame["status"].tolist())),
            next(iter(reasons), ""),
            float(np.sum(off**2)),
            int(known.sum()),
            sum(content in own for content in digests_of(mine, 1)),
        )

    def __add__(self, later: Tally) -> Tally:
        """Of these rows and later ones."""
        return Tally(
            dict(Counter(self.statuses) + Counter(later.statuses)),
            self.refused or later.refused,
            self.squares + later.squares,
            self.known + later.known,
            self.learned + later.learned,
        )

    def __str__(self) -> str:
        often = sorted(self.statuses.items(), key=lambda one: -one[1])
        return ", ".join(f"{count} {status}" for status, count in often)


@dataclass(frozen=True)
class Wanted:
    """N photographs that are to be read, and the further columns of their table, called as in the output.

    `columns` are those of the output; `any_known` says whether a target of the table is known, and `first` which number
    the first row has, where rows are numbered.
    """

    table: Table
    further: pd.DataFrame
    columns: list[str]
    any_known: bool
    first: int | None = None

    @classmethod
    def of(cls, table: Table, further: pd.DataFrame, predictor: Predictor, numbered: bool = False) -> Wanted:
        """With the further columns called apart from those of a prediction."""
        columns, any_known = list(predictor.predict([]).to_frame().columns), bool(np.isfinite(table.targets).any())
        if any_known:
            columns.insert(1, "target")
        if numbered:
            columns.insert(0, "row")
        further = beside(columns, further)
        return cls(table, further, [*columns, *further.columns], any_known, 0 if numbered else None)

    def __len__(self) -> int:
        return len(self.table)

    def part(self, rows: slice) -> Wanted:
        """Some consecutive rows, which keep their numbers."""
        first = None if self.first is None else self.first + rows.start
        return replace(
            self,
            table=self.table.select(np.arange(rows.start, rows.stop)),
            further=self.further.iloc[rows],
            first=first,
        )

    def frame(self, prediction: Prediction, rows: slice) -> pd.DataFrame:
        """What was read of some rows, beside what is known of them."""
        table = self.table
        frame = with_what_was_tried(prediction.to_frame(table.images[rows]), table.paths[rows], table.folder)
        if self.any_known:
            frame.insert(1, "target", table.targets[rows])
        if self.first is not None:
            frame.insert(0, "row", self.first + np.arange(rows.start, rows.start + len(frame)))
        return pd.concat([frame, self.further.iloc[rows].reset_index(drop=True)], axis=1)

    def seen(self, rows: slice) -> hashlib.blake2b:
        """The digest, to which more may come, of all that some rows depend on, beside the model and the options."""
        digest = hashlib.blake2b()
        for start in range(rows.start, rows.stop, BLOCK):
            block = slice(start, min(start + BLOCK, rows.stop))
            digest.update(self.content(block, map(stamp_of, self.table.paths[block])))
        return digest

    def content(self, rows: slice, stamps: Iterable[object]) -> bytes:
        """All that some rows depend on, beside the model and the options."""
        table = self.table
        known = [table.images[rows], map(str, table.paths[rows]), table.targets[rows].tolist(), stamps]
        known += [] if table.boxes is None else [[(str(box), box.shares) for box in table.boxes[rows]]]
        further = (self.further.iloc[rows, i].tolist() for i in range(self.further.shape[1]))
        return "".join(map(repr, zip(*known, *further, strict=True))).encode()


def stamp_of(path: Path) -> tuple[int, int] | None:
    """What changes with a file's content: its length and when it was written; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
