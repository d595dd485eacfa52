"""Another day, another lamp: a few standards tell by how much all readings are to be moved, and no more than that.

A last layer solved anew would have a number for each of its columns, and a handful of standards support one or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twostage.bins import Bins
from twostage.stages.reading import Reading

__all__ = ["CANDIDATES", "Choice", "Recalibration", "choose", "of_nothing", "of_offset", "of_offset_and_slope"]

NOTHING, OFFSET, WITH_SLOPE = "nothing", "offset", "offset and slope"
SLOPE_FROM = 4
"""A slope asks for so many specimens: without one of them a line must still have something left to be wrong by."""


@dataclass(frozen=True)
class Recalibration:
    """``place' = middle + offset + slope (place - middle)`` of all readings on the scale, about the middle of the bins.

    The default changes nothing.
    """

    offset: float = 0.0
    slope: float = 1.0

    @property
    def is_none(self) -> bool:
        """Does it change nothing?"""
        return self == Recalibration()

    def apply(self, bins: Bins, reading: Reading) -> Reading:
        """Move what every bin says of N photographs, so that numbers, distributions and intervals all follow.

        How likely each bin is the classifier has said of the colours that it saw; that stays.
        """
        if self.is_none:
            return reading
        center, middle = (bins.places[:-1] + bins.places[1:]) / 2, _middle(bins)
        place = center + bins.half_width * reading.offsets
        moved = (middle + self.offset + self.slope * (place - middle) - center) / bins.half_width
        scales, first = reading.log_scales + np.log(self.slope), self.moved(bins, reading.first)
        return Reading(reading.probabilities, moved, scales, first)

    def moved(self, bins: Bins, place: np.ndarray) -> np.ndarray:
        """The same of places on the scale, of any shape."""
        return _middle(bins) + self.offset + self.slope * (np.asarray(place, float) - _middle(bins))

    def then(self, later: Recalibration) -> Recalibration:
        """Both as one, this one first.

        >>> Recalibration(2.0, 0.5).then(Recalibration(1.0, 2.0))
        Recalibration(offset=5.0, slope=1.0)
        """
        return Recalibration(later.offset + later.slope * self.offset, later.slope * self.slope)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs."""
        return {"offset": self.offset, "slope": self.slope}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Recalibration:
        """The same.

        Raises:
            ValueError: The slope would turn the readings around, or a number is not finite.
        """
        offset, slope = float(content["offset"]), float(content["slope"])
        if not (np.isfinite(offset) and np.isfinite(slope) and slope > 0):
            raise ValueError("a recalibration has a finite offset and a slope above zero")
        return cls(offset, slope)


@dataclass(frozen=True)
class Choice:
    """What was chosen for S specimens: its name, itself, and what it is without each of them, (S,).

    `rmse` is the error of every candidate over specimens left out, on the scale; empty for one specimen.
    """

    name: str
    recalibration: Recalibration
    left_out: list[Recalibration]
    rmse: dict[str, float]


Fit = Callable[[Bins, np.ndarray, np.ndarray, float], Recalibration]


def choose(bins: Bins, read: np.ndarray, wanted: np.ndarray, sd: float) -> Choice:
    """The offset, which may be nothing; and a slope beside it, where specimens left out in turn support that.

    On a circle, which a slope would not close, the offset alone.

    How far the offset is drawn to zero is the choice between it and nothing. Choosing once more between the two by
    specimens left out was worse in a simulation (1 to 8 specimens) where days differ, and a little better where they do
    not. The slope is taken where its squared errors are smaller by more than one standard error of the difference.

    Args:
        read: Place on the scale at which each specimen is read, (S,).
        wanted: Its true place, (S,).
        sd: Standard deviation of such errors from one specimen to the next, as the calibration has shown it.

    Source: Hastie, Tibshirani and Friedman 2009, "The elements of statistical learning", section 7.10 (one standard
    error).
    """
    count, scale = len(read), bins.scale
    fits = {name: fit for name, (least, fit) in CANDIDATES.items() if count >= least}
    if bins.period is not None:
        fits.pop(WITH_SLOPE, None)
    rest = [(np.delete(read, i), np.delete(wanted, i)) for i in range(count)]
    without = {name: [fit(bins, *others, sd) for others in rest] for name, fit in fits.items()}
    squares = {
        name: np.array([scale.apart(one.moved(bins, read[i]), wanted[i]) ** 2 for i, one in enumerate(each)])
        for name, each in without.items()
    }
    chosen = OFFSET
    if WITH_SLOPE in fits:
        gain = squares[OFFSET] - squares[WITH_SLOPE]
        chosen = WITH_SLOPE if gain.mean() > gain.std(ddof=1) / np.sqrt(count) else OFFSET
    found = fits[chosen](bins, read, wanted, sd)
    rmse = {name: float(np.sqrt(values.mean())) for name, values in squares.items()} if count > 1 else {}
    return Choice(NOTHING if found.is_none else chosen, found, without[chosen], rmse)


def of_nothing(bins: Bins, read: np.ndarray, wanted: np.ndarray, sd: float) -> Recalibration:
    """No change, whatever the specimens (S,) say: what the others are compared with."""
    return Recalibration()


def of_offset(bins: Bins, read: np.ndarray, wanted: np.ndarray, sd: float) -> Recalibration:
    """All readings moved by the mean error of S specimens, drawn to no change as far as chance can have made it.

    Ridge regression with penalty sd^2 / t^2 gives ``d t^2 / (t^2 + sd^2 / S)`` for a mean error d; t, how far days lie
    apart, is not known, and the value that makes d likeliest is ``t^2 = d^2 - sd^2 / S``, or zero: so
    ``d max(0, 1 - sd^2 / (S d^2))``. Source: Efron and Morris 1973, "Stein's estimation rule and its competitors: an
    empirical Bayes approach"; as the penalty of a regression: MacKay 1992, "Bayesian interpolation".
    """
    error = bins.scale.apart(wanted, read)
    return Recalibration(_shrunk(float(error.mean()), sd**2 / len(error)) if len(error) else 0.0)


def of_offset_and_slope(bins: Bins, read: np.ndarray, wanted: np.ndarray, sd: float) -> Recalibration:
    """A line through the errors of S specimens, mean and slope each drawn to no change as in `of_offset`.

    Counted from the mean of the places the two do not depend on one another; the slope has variance
    sd^2 / sum of squared distances from there. A slope that would turn the readings around is left out.
    """
    error, far = wanted - read, read - read.mean()
    squares = float(far @ far)
    steep = _shrunk(float(far @ error) / squares, sd**2 / squares) if squares > 0 else 0.0
    if steep <= -1:
        steep = 0.0
    mean = _shrunk(float(error.mean()), sd**2 / len(error))
    return Recalibration(mean + steep * (_middle(bins) - float(read.mean())), 1 + steep)


CANDIDATES: dict[str, tuple[int, Fit]] = {
    NOTHING: (1, of_nothing),
    OFFSET: (1, of_offset),
    WITH_SLOPE: (SLOPE_FROM, of_offset_and_slope),
}
"""From simple to complex: the specimens that each asks for, and how it is fitted."""


def _shrunk(value: float, variance: float) -> float:
    return value * max(0.0, 1 - variance / value**2) if value else 0.0


def _middle(bins: Bins) -> float:
    return float(bins.places[0] + bins.places[-1]) / 2
