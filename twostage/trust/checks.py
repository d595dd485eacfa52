"""What every photograph and its reading must pass before its number is believed.

A check is a function `Seen -> {row: reason}` with the status that it gives; it is a member of the family `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twostage.bins import Bins
from twostage.data.store import Pixels
from twostage.options.choices import CHECKS
from twostage.options.family import resolve
from twostage.stages.reading import Reading
from twostage.trust.status import Status

__all__ = ["BEYOND", "Check", "Seen", "gives", "look", "not_finite", "out_of_range"]

BEYOND = 0.1
"""A concentration this many widths of the end bin beyond the range is out of range; less is within the error."""


@dataclass(frozen=True)
class Seen:
    """N photographs, `pixels` uint8 (N,H,W,3), with what was read from them, `concentration` float64 (N,)."""

    pixels: Pixels
    reading: Reading
    concentration: np.ndarray
    bins: Bins


Check = Callable[[Seen], dict[int, str]]


def gives(status: Status) -> Callable[[Check], Check]:
    """Mark a check with the status that it gives to the rows that it names."""

    def mark(check: Check) -> Check:
        check.status = status  # type: ignore[attr-defined]
        return check

    return mark


def look(seen: Seen) -> list[tuple[Status, dict[int, str]]]:
    """What every check of the family finds: its status, and the reason for each row that fails."""
    checks: list[Any] = [resolve(check) for check in CHECKS.values()]
    return [(check.status, check(seen)) for check in checks]


@gives(Status.REFUSED)
def not_finite(seen: Seen) -> dict[int, str]:
    """The network gave no number."""
    said = np.isfinite(seen.reading.probabilities) & np.isfinite(seen.reading.offsets)
    nothing = ~said.all(1) | ~np.isfinite(seen.concentration)
    return dict.fromkeys(np.flatnonzero(nothing).tolist(), "the network gave no finite number for it")


@gives(Status.OUT_OF_RANGE)
def out_of_range(seen: Seen) -> dict[int, str]:
    """The number lies beyond the bins."""
    edges, width = seen.bins.edges, 2 * seen.bins.half_width
    low, high = edges[0] - BEYOND * width[0], edges[-1] + BEYOND * width[-1]
    beyond = (seen.concentration < low) | (seen.concentration > high)
    why = f"outside {edges[0]:g}..{edges[-1]:g}, the bins of the model"
    return dict.fromkeys(np.flatnonzero(beyond).tolist(), why)
