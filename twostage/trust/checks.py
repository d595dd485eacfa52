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

__all__ = [
    "BEYOND",
    "CONTRADICTION",
    "Check",
    "Seen",
    "contradicts_itself",
    "gives",
    "look",
    "not_finite",
    "out_of_range",
]

BEYOND = 0.1
"""A concentration this many widths of the end bin beyond the range is out of range; less is within the error."""
CONTRADICTION = 0.5
"""A concentration this many widths outside the likeliest bin contradicts it; less is the border between two."""


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
    edges, end = seen.bins.edges, seen.bins.index(seen.concentration)
    beyond = np.abs(seen.bins.offset(seen.concentration, end)) > 1 + 2 * BEYOND
    why = f"outside {edges[0]:g}..{edges[-1]:g}, the bins of the model"
    return dict.fromkeys(np.flatnonzero(beyond).tolist(), why)


@gives(Status.LOW_CONFIDENCE)
def contradicts_itself(seen: Seen) -> dict[int, str]:
    """The number lies well outside the likeliest bin, on a side where there are other bins."""
    found, bins = {}, seen.bins
    likeliest = np.nan_to_num(seen.reading.probabilities).argmax(1)
    offset = bins.offset(seen.concentration, likeliest)
    beside = np.where(offset > 0, likeliest < bins.count - 1, likeliest > 0)
    for i in np.flatnonzero((np.abs(offset) > 1 + 2 * CONTRADICTION) & beside):
        k = likeliest[i]
        found[int(i)] = (
            f"the stages disagree: {seen.concentration[i]:.4g} lies outside the likeliest bin, "
            f"{bins.edges[k]:g}..{bins.edges[k + 1]:g}"
        )
    return found
