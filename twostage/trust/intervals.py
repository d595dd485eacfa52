"""Intervals around readings: between which ends does the concentration lie, nine times of ten?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from twostage.bins import Bins
from twostage.errors import DataError
from twostage.options.choices import INTERVALS
from twostage.options.family import resolve
from twostage.stages.reading import Reading

__all__ = ["CONFIDENCE", "Conformal", "Intervals", "NoIntervals", "fit_intervals", "load_intervals", "refuse_few"]

CONFIDENCE = 0.9


class Intervals(ABC):
    """A way to find intervals; a member of the family `INTERVALS`."""

    learns = True
    """Does it need photographs that nothing else has learned from?"""
    least = 0
    """So many specimens, or photographs where none are named, at least."""

    @classmethod
    @abstractmethod
    def fit(
        cls, bins: Bins, reading: Reading, concentration: np.ndarray, target: np.ndarray, groups: np.ndarray | None
    ) -> Intervals:
        """Learn from N photographs that nothing else has learned from.

        Args:
            reading: What both stages say of them.
            concentration: What was read, (N,).
            target: Their true concentrations, (N,).
            groups: The specimen of each, (N,), where that is known.

        Raises:
            DataError: They are too few.
        """

    @abstractmethod
    def bounds(self, bins: Bins, reading: Reading, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end around each concentration (N,), NaN where there is none."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, as JSON can hold it."""

    @classmethod
    @abstractmethod
    def from_json(cls, content: dict[str, Any]) -> Intervals:
        """The same as it was fitted."""


class NoIntervals(Intervals):
    """None at all."""

    learns = False

    @classmethod
    def fit(cls, bins: Bins, reading: Reading, concentration: Any, target: Any, groups: Any) -> NoIntervals:
        """Nothing is learned."""
        return cls()

    def bounds(self, bins: Bins, reading: Reading, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """NaN throughout."""
        empty = np.full(len(concentration), np.nan)
        return empty, empty.copy()

    def to_json(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> NoIntervals:
        """The same."""
        return cls()


class Conformal(Intervals):
    """As wide on both sides, everywhere, as nine of ten errors on the calibration photographs are large.

    Of n exchangeable photographs the ceil((n + 1) 0.9)-th smallest absolute error holds for a new one with at least
    0.9. Photographs of one specimen are near-copies, so that specimens take the part of photographs: each counts once,
    its photographs share that.

    Source: Papadopoulos et al. 2002, "Inductive confidence machines for regression"; weights as in Tibshirani et al.
    2019, "Conformal prediction under covariate shift", with weight one for the new specimen.
    """

    least = 9  # of so many and a new one, the largest error holds with 0.9

    def __init__(self, half_length: float) -> None:
        """`half_length` of every interval, on the scale: in the unit of the concentration, or in decades."""
        self.half_length = half_length

    @classmethod
    def fit(
        cls, bins: Bins, reading: Reading, concentration: np.ndarray, target: np.ndarray, groups: np.ndarray | None
    ) -> Conformal:
        """Take the quantile of the absolute errors.

        Raises:
            DataError: Fewer than nine specimens (or photographs, where none are named): an interval would be endless.
        """
        error = np.abs(bins.scale.error(concentration, target))
        _, which, counts = np.unique(
            np.arange(len(error)) if groups is None else groups, return_inverse=True, return_counts=True
        )
        order = np.argsort(error)
        reached = np.cumsum(1 / counts[which][order]) / (len(counts) + 1)
        refuse_few("conformal", len(error), groups)
        enough = np.flatnonzero(reached >= CONFIDENCE - 1e-12)
        return cls(float(error[order][enough[0]]))

    def bounds(self, bins: Bins, reading: Reading, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The concentration minus and plus the half length, on the scale."""
        return bins.scale.shifted(concentration, -self.half_length), bins.scale.shifted(concentration, self.half_length)

    def to_json(self) -> dict[str, Any]:
        """The half length."""
        return {"half_length": self.half_length}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Conformal:
        """The same."""
        return cls(float(content["half_length"]))


def refuse_few(name: str, count: int, groups: np.ndarray | None) -> None:
    """See that photographs for calibration, `count` of these groups (count,), are enough for a method of intervals.

    Raises:
        DataError: They are not.
    """
    least, have = resolve(INTERVALS.member(name)).least, count if groups is None else len(np.unique(groups))
    if have < least:
        kind = "photographs" if groups is None else "specimens"
        raise DataError(
            f"intervals.method={name} needs {least} or more {kind} for calibration, there are {have}: raise "
            f"split.calibration, add data, or say intervals.method=none"
        )


def fit_intervals(
    name: str,
    bins: Bins,
    reading: Reading,
    concentration: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray | None = None,
) -> Intervals:
    """The intervals of that name, fitted; see `Intervals.fit`."""
    found: Intervals = resolve(INTERVALS.member(name)).fit(bins, reading, concentration, target, groups)
    return found


def load_intervals(content: dict[str, Any] | None) -> Intervals:
    """The intervals of a model's description, {"method": name, ...}; none where it names none.

    Raises:
        ConfigError: There is no such method.
        KeyError, TypeError, ValueError: The description is not what was written.
    """
    if content is None:
        return NoIntervals()
    found: Intervals = resolve(INTERVALS.member(str(content["method"]))).from_json(content)
    return found
