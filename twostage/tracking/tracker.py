"""What a tracker is: it is given all that a run has to show, again and again, and adds what is new."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from twostage.errors import ConfigError
from twostage.options.choices import TRACKERS
from twostage.options.family import resolve

__all__ = ["Record", "Tracker", "Trackers"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Record:
    """All that a run has to show so far, as its folder holds it.

    `options` is flat, `histories` are the tables history.csv of the stages that have begun, `metrics` is metrics.json,
    None before the end, and `model` the folder of the model.
    """

    name: str
    folder: Path
    options: Mapping[str, Any]
    histories: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Any] | None
    model: Path

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of metrics.json, {} before the end; those that it nests are left to it."""
        found = (self.metrics or {}).items()
        return {key: float(value) for key, value in found if type(value) in (int, float)}


class Tracker(ABC):
    """Shows a run elsewhere.

    It is told only what a checkpoint holds, and asks the place where it writes what is there already, so that no point
    is doubled or lost when a run goes on.
    """

    def __init__(self) -> None:
        self.told: dict[str, pd.DataFrame] | None = None
        self.is_complete = False

    def show(self, record: Record) -> None:
        """Add what is new."""
        if self.told is None or any(_is_another(record.histories[stage], told) for stage, told in self.told.items()):
            there = self.begin(record, anew=self.told is not None)
            self.told = {stage: rows[: there.get(stage, 0)] for stage, rows in record.histories.items()}
        for stage, rows in record.histories.items():
            if len(new := rows[len(self.told.get(stage, ())) :]):
                self.add(stage, new)
            self.told[stage] = rows
        if record.metrics is not None and not self.is_complete:
            self.complete(record)
            self.is_complete = True

    @abstractmethod
    def begin(self, record: Record, anew: bool) -> dict[str, int]:
        """Open what is there of this run, or make it; returns how many epochs of each stage are there.

        Args:
            anew: What was told is of no use: train.retry has started a stage once more.
        """

    @abstractmethod
    def add(self, stage: str, rows: pd.DataFrame) -> None:
        """Show further rows of a history."""

    @abstractmethod
    def complete(self, record: Record) -> None:
        """Show the figures, and what else there is at the end."""

    @abstractmethod
    def close(self) -> None:
        """The command ends, whether or not the run is complete."""


class Trackers:
    """Those that runtime.tracker names. None of them stops a training: what fails is a warning."""

    def __init__(self, names: Sequence[str], look: Callable[[], Record]) -> None:
        """Import what they need.

        Args:
            look: What there is to show at the moment.

        Raises:
            ConfigError: A package is missing.
        """
        self.trackers = {name: _made(name) for name in names}
        self.look = look
        self.failed: set[str] = set()

    def tell(self, last: bool = False) -> None:
        """Show what is new; one that failed rests until the `last` time, which adds what is missing."""
        record = self.look() if self.trackers else None
        for name, tracker in self.trackers.items():
            if record is None or (name in self.failed and not last):
                continue
            try:
                tracker.show(record)
            except Exception as error:  # a server, a disk, a package: none is worth a training
                self.failed.add(name)
                then = "the same command shows it later" if last else "what it misses is tried again at the end"
                log.warning("runtime.tracker=%s failed (%s); the run is not touched, %s", name, _one_line(error), then)

    def close(self) -> None:
        """The command ends."""
        for name, tracker in self.trackers.items():
            try:
                if tracker.told is not None:
                    tracker.close()
            except Exception as error:
                log.warning("runtime.tracker=%s: %s", name, _one_line(error))


def _made(name: str) -> Tracker:
    try:
        tracker: Tracker = resolve(TRACKERS.member(name))()
    except ImportError as error:
        raise ConfigError(f"runtime.tracker={name} needs {error.name}: pip install 'twostage[track]'") from error
    return tracker


def _is_another(rows: pd.DataFrame, told: pd.DataFrame) -> bool:
    """Is a history not what was told of it and more?"""
    return not rows[: len(told)].equals(told)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
