"""A prediction: what a user gets of photographs, a reading that was combined and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.data.store import Pixels
from twostage.stages.combination import at_least, combine
from twostage.stages.reading import Reading
from twostage.trust.checks import Seen, look
from twostage.trust.intervals import Intervals, NoIntervals
from twostage.trust.status import Status

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What was read from N photographs, in the unit of the training table.

    `concentration`, `lower`, `upper` float64 (N,), NaN where refused; lower and upper are NaN throughout for a model
    without intervals. `bin_index` (N,) int64, -1 where refused; `reading` is what both stages say, its arrays (N,K) NaN
    where refused; `status` (N,) holds the values of `Status`; `reason` (N,) says why a status is not "ok", or
    that a number was below the least that there can be.
    """

    bins: Bins
    reading: Reading
    concentration: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bin_index: np.ndarray
    status: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.concentration)

    @classmethod
    def joined(cls, parts: Sequence[Prediction]) -> Prediction:
        """One or more predictions of the same model, one after another."""

        def all_of(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        reading = Reading(*(np.concatenate(said) for said in zip(*(part.reading for part in parts), strict=True)))
        names = [field.name for field in fields(cls) if field.name not in ("bins", "reading")]
        return cls(parts[0].bins, reading, *map(all_of, names))

    def select(self, rows: np.ndarray) -> Prediction:
        """The prediction of the given rows (indices or a boolean mask)."""
        names = [field.name for field in fields(self) if field.name not in ("bins", "reading")]
        return Prediction(self.bins, self.reading[rows], *(getattr(self, name)[rows] for name in names))

    @property
    def bin_probabilities(self) -> np.ndarray:
        """Of each bin, (N,K)."""
        return self.reading.probabilities

    @property
    def offsets(self) -> np.ndarray:
        """In each bin, (N,K)."""
        return self.reading.offsets

    @property
    def is_read(self) -> np.ndarray:
        """Which photographs have a number, (N,)."""
        return self.status != Status.REFUSED.value

    def to_frame(self, images: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per photograph, in order, with the columns of predictions.csv."""
        refused, rows = ~self.is_read, np.arange(len(self))
        index = np.where(refused, 0, self.bin_index)

        def unless_refused(values: np.ndarray) -> np.ndarray:
            return np.where(refused, np.nan, values)

        return pd.DataFrame(
            {
                "image": [str(i) for i in rows] if images is None else list(images),
                "concentration": self.concentration,
                "lower": self.lower,
                "upper": self.upper,
                "bin_index": pd.array([None if i < 0 else int(i) for i in self.bin_index], "Int64"),
                "bin_low": unless_refused(self.bins.edges[index]),
                "bin_high": unless_refused(self.bins.edges[index + 1]),
                "bin_probability": unless_refused(self.bin_probabilities[rows, index]),
                "status": self.status,
                "reason": self.reason,
            }
        )


def predict(
    bins: Bins,
    pixels: Pixels,
    reading: Reading,
    method: str,
    intervals: Intervals | None = None,
    failed: Mapping[int, str] | None = None,
    minimum: float | None = None,
) -> Prediction:
    """Combine and check what both stages say of photographs (N,H,W,3).

    Args:
        method: How bins and offsets become one concentration, a member of `COMBINATIONS`.
        minimum: The least concentration that there can be: what is read below it becomes it, and the reason says so.
        failed: Rows that could not be decoded, with the reason.
    """
    concentration = combine(bins, reading, method)
    found = [
        (Status.OK, _below(concentration, minimum)),
        *look(Seen(pixels, reading, concentration, bins)),
        (Status.REFUSED, dict(failed or {})),
    ]
    status, reason = [Status.OK] * len(reading), [""] * len(reading)
    for given, rows in found:
        for i, why in rows.items():
            if given.gravity >= status[i].gravity:
                status[i], reason[i] = given, why
    refused = np.array([one is Status.REFUSED for one in status], bool)
    concentration = np.where(refused, np.nan, concentration)
    concentration = at_least(concentration, minimum)  # before the intervals, which have learned from such
    ends = (intervals or NoIntervals()).bounds(bins, reading, concentration)
    lower, upper = (at_least(values, minimum) for values in ends)
    return Prediction(
        bins,
        Reading(*(np.where(refused[:, None], np.nan, said) for said in reading)),
        concentration,
        lower,
        upper,
        np.where(refused, -1, reading.probabilities.argmax(1)),
        np.array([one.value for one in status], dtype=str),
        np.array(reason, dtype=str),
    )


def _below(concentration: np.ndarray, minimum: float | None) -> dict[int, str]:
    """Rows that were read below the least concentration, with what was read."""
    rows = [] if minimum is None else np.flatnonzero(concentration < minimum).tolist()
    return {i: f"read as {concentration[i]:.4g}, below data.minimum={minimum:g}" for i in rows}
