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
from twostage.trust.trust import Trust

__all__ = [
    "BEYOND",
    "CONTRADICTION",
    "Check",
    "Seen",
    "contradicts_itself",
    "could_be_elsewhere",
    "gives",
    "look",
    "not_finite",
    "nothing_to_read",
    "out_of_range",
    "stages_disagree",
    "too_wide",
    "unlike",
]

BEYOND = 0.1
"""A concentration this many widths of the end bin beyond the range is out of range; less is within the error."""
CONTRADICTION = 0.5
"""A concentration this many widths outside the likeliest bin contradicts it; less is the border between two."""
ELSEWHERE = 0.1
"""Probability of a bin that is not beside the named one, from which on it is told of;"""
VALLEY = 2.0
"""so many times as dense as one between the two."""
NO_COLOR = 2
"""Levels of 255: all pixels within so many of black, of white or of one another show nothing."""


@dataclass(frozen=True)
class Seen:
    """N photographs, `pixels` uint8 (N,H,W,3), with what was read from them, `concentration` float64 (N,).

    `distance` (N,) is how far they lie from those of the training, NaN where `trust` does not know these;
    `probabilities` (N,K) are those of the bins, `lower` and `upper` (N,) the ends of the intervals, NaN without any.
    `reading` is what the stages say; `concentration` is what came of it, `before` (N,) the same before a recalibration.
    """

    pixels: Pixels
    reading: Reading
    concentration: np.ndarray
    bins: Bins
    trust: Trust
    distance: np.ndarray
    probabilities: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    before: np.ndarray

    @property
    def is_unlike(self) -> np.ndarray:
        """Which photographs lie farther from those of the training than the threshold, (N,)."""
        known = self.trust.typicality
        return np.zeros(len(self.distance), bool) if known is None else self.distance > known.threshold


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
    """The number lies well outside stage 1's likeliest bin, on a side where there are others.

    Where it was learned how far the stages usually differ, `stages_disagree` tells instead.
    """
    if seen.trust.disagreement is not None:
        return {}
    found, bins = {}, seen.bins
    likeliest = np.nan_to_num(seen.reading.probabilities).argmax(1)
    offset = bins.offset(seen.before, likeliest)  # the stages know of no recalibration
    beside = np.where(offset > 0, likeliest < bins.count - 1, likeliest > 0) | (bins.period is not None)
    for i in np.flatnonzero((np.abs(offset) > 1 + 2 * CONTRADICTION) & beside):
        k = likeliest[i]
        found[int(i)] = (
            f"the stages disagree: {seen.before[i]:.4g} lies outside the likeliest bin, "
            f"{bins.edges[k]:g}..{bins.edges[k + 1]:g}"
        )
    return found


@gives(Status.LOW_CONFIDENCE)
def stages_disagree(seen: Seen) -> dict[int, str]:
    """Stage 1 alone estimates another concentration than both together read, by more than it usually does."""
    limit, scale = seen.trust.disagreement, seen.bins.scale
    if limit is None:
        return {}
    apart = np.abs(scale.apart(seen.reading.first, scale.to(seen.before)))
    usual = f"{100 * (1 - seen.trust.false_alarm):g} % of specimens they differ by at most {limit:.3g}"
    usual += " decades" if scale.unit("") else ""
    alone, both = scale.home(scale.back(seen.reading.first)), seen.before
    return {
        int(i): f"the stages disagree: stage 1 alone reads {alone[i]:.4g}, both together {both[i]:.4g}; in {usual}"
        for i in np.flatnonzero(apart > limit)
    }


@gives(Status.LOW_CONFIDENCE)
def could_be_elsewhere(seen: Seen) -> dict[int, str]:
    """Another bin is likely as well, and those between are not: two answers, instead of one that is uncertain."""
    found, bins = {}, seen.bins
    named = bins.index(np.nan_to_num(seen.concentration))
    for i, mass in enumerate(np.nan_to_num(seen.probabilities)):
        density = mass / bins.half_width  # a narrow bin has less of anything
        for k in np.flatnonzero(mass >= ELSEWHERE):
            ways = [density[rows] for rows in _between(bins, int(k), int(named[i]))]
            if all(len(way) and density[k] > VALLEY * way.min() for way in ways):
                found[i] = (
                    f"it may as well lie in {bins.edges[k]:g}..{bins.edges[k + 1]:g} (probability {mass[k]:.2g}), and "
                    f"hardly between"
                )
    return found


def _between(bins: Bins, one: int, other: int) -> list[np.ndarray]:
    """The bins between two; on a circle those on either way."""
    low, high = min(one, other), max(one, other)
    ways = [np.arange(low + 1, high)]
    return ways if bins.period is None else [*ways, np.arange(high + 1, low + bins.count) % bins.count]


@gives(Status.LOW_CONFIDENCE)
def too_wide(seen: Seen) -> dict[int, str]:
    """The interval is longer than `intervals.max_width`."""
    most = seen.trust.max_width
    if most is None:
        return {}
    width = seen.upper - seen.lower
    return {
        int(i): f"its interval is {width[i]:.4g} wide, intervals.max_width is {most:g}"
        for i in np.flatnonzero(width > most)
    }


@gives(Status.UNLIKE)
def unlike(seen: Seen) -> dict[int, str]:
    """The photograph is unlike those of the training."""
    known = seen.trust.typicality
    if known is None:
        return {}
    others = f"{100 * (1 - known.false_alarm):g} % of their kind"
    return {
        int(i): f"unlike the training photographs: in colour, layout and sharpness "
        f"{np.exp((seen.distance[i] - known.threshold) / 2):.3g} times as far from them as {others}"
        for i in np.flatnonzero(seen.is_unlike)
    }


@gives(Status.REFUSED)
def nothing_to_read(seen: Seen) -> dict[int, str]:
    """The photograph is unlike those of the training, and shows nothing, or `trust.unlike=refuse` is set."""
    why = unlike(seen) if seen.trust.unlike == "refuse" else {}
    for i in np.flatnonzero(seen.is_unlike).tolist():
        pixels = np.asarray(seen.pixels[i : i + 1])
        low, high = pixels.min((1, 2))[0], pixels.max((1, 2))[0]
        if high.max() <= NO_COLOR:
            why[i] = "nothing to read: the photograph is black"
        elif low.min() >= 255 - NO_COLOR:
            why[i] = "nothing to read: the photograph is white, it is overexposed"
        elif (high - low).max() <= NO_COLOR:
            why[i] = "nothing to read: the photograph has one flat colour"
    return why
