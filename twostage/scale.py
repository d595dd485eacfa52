"""The scale on which concentrations are learned and judged: as they are, by their logarithm, or around a circle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from twostage.errors import ConfigError

__all__ = ["LINEAR", "SCALES", "Circular", "Linear", "Log", "Scale", "circle", "scale_of"]


class Scale(ABC):
    """Concentrations <-> places on a scale, on which equal distances are equally bad errors."""

    name: str
    period: float | None = None
    """After which the scale comes back to where it began; None for a line."""

    @abstractmethod
    def to(self, concentration: ArrayLike) -> np.ndarray:
        """Places of concentrations, of the same shape; -inf or NaN for what has none."""

    @abstractmethod
    def back(self, place: ArrayLike) -> np.ndarray:
        """Inverse of `to`."""

    @abstractmethod
    def unit(self, unit: str) -> str:
        """The unit of distances on the scale, of concentrations in `unit`."""

    def error(self, predicted: ArrayLike, target: ArrayLike) -> np.ndarray:
        """How far predicted concentrations (...) lie above the measured ones, on the scale."""
        return self.apart(self.to(predicted), self.to(target))

    def apart(self, place: np.ndarray, other: np.ndarray) -> np.ndarray:
        """How far places (...) lie above others (...)."""
        return place - other

    def home(self, concentration: ArrayLike) -> np.ndarray:
        """Concentrations (...) by the one name that each has: on a line their own."""
        return np.asarray(concentration, np.float64)

    def near(self, place: ArrayLike, middle: ArrayLike) -> np.ndarray:
        """Places (...) by the name that lies nearest to `middle` (...): on a line their own."""
        return np.asarray(place, np.float64)

    def code(self, place: ArrayLike) -> np.ndarray:
        """What a linear function can be fitted to, for places (...): (...,R), on a line R = 1, themselves."""
        return np.asarray(place, np.float64)[..., None]

    def decoded(self, code: np.ndarray) -> np.ndarray:
        """Inverse of `code`: (...,R) -> (...)."""
        return code[..., 0]

    def together(self, place: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Places (N,) by the names nearest to the first of their group (N,), so that those of a group have a mean."""
        return np.asarray(place, np.float64)

    def mean(self, place: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Means of places (...,K), by weights (...,K) of sum one where some are given: (...)."""
        return np.asarray(place.mean(-1) if weights is None else (weights * place).sum(-1))

    def shifted(self, concentration: ArrayLike, distance: ArrayLike) -> np.ndarray:
        """Concentrations (...) moved by so much on the scale."""
        return self.back(self.to(concentration) + np.asarray(distance, np.float64))


class Linear(Scale):
    """Concentrations as they are: an error of one unit is as bad everywhere."""

    name = "linear"

    def to(self, concentration: ArrayLike) -> np.ndarray:
        """The same."""
        return np.asarray(concentration, np.float64)

    def back(self, place: ArrayLike) -> np.ndarray:
        """The same."""
        return np.asarray(place, np.float64)

    def unit(self, unit: str) -> str:
        """The same."""
        return unit


class Log(Scale):
    """Decimal logarithms: an error of one percent is as bad everywhere. For concentrations above zero.

    >>> Log().to([0.01, 1000.0]).tolist(), Log().error([20.0], [2.0]).tolist()
    ([-2.0, 3.0], [1.0])
    """

    name = "log"

    def to(self, concentration: ArrayLike) -> np.ndarray:
        """Decades above one unit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(np.asarray(concentration, np.float64))

    def back(self, place: ArrayLike) -> np.ndarray:
        """Inverse of `to`; what no float64 can hold becomes infinite."""
        with np.errstate(over="ignore"):
            return np.asarray(10.0 ** np.asarray(place, np.float64))

    def unit(self, unit: str) -> str:
        """Decades, whatever the unit."""
        return "decades"


class Circular(Linear):
    """Angles and what is like them: after a period all comes again, so that 359 and 1 degrees differ by 2.

    Places may be counted on beyond the circle, as the ends of an interval are: 355 to 365 degrees.

    >>> degrees = Circular(360, 0)
    >>> degrees.error([1.0, 90.0], [359.0, 100.0]).tolist(), degrees.home([-10.0, 725.0]).tolist()
    ([2.0, -10.0], [350.0, 5.0])
    >>> degrees.together(np.array([355.0, 5.0]), np.array(["a", "a"])).tolist()
    [355.0, 365.0]
    """

    period: float

    def __init__(self, period: float, low: float) -> None:
        """Concentrations are named from `low` on, which is included, to `low` and a period, which is not."""
        self.period, self.low = float(period), float(low)

    def apart(self, place: np.ndarray, other: np.ndarray) -> np.ndarray:
        """The shorter way from others (...) to places (...), positive where it leads upwards."""
        return np.asarray(np.mod(place - other + self.period / 2, self.period) - self.period / 2)

    def home(self, concentration: ArrayLike) -> np.ndarray:
        """Concentrations (...) between `low` and a period above."""
        turned = np.mod(np.asarray(concentration, np.float64) - self.low, self.period)
        return self.low + np.where(turned == self.period, 0.0, turned)  # a number just below zero is rounded up to it

    def near(self, place: ArrayLike, middle: ArrayLike) -> np.ndarray:
        """Places (...) at most half a period away from `middle` (...)."""
        middle = np.asarray(middle, np.float64)
        return np.asarray(middle + self.apart(np.asarray(place, np.float64), middle))

    def code(self, place: ArrayLike) -> np.ndarray:
        """Cosine and sine of the angle that a period makes a full one: (...) -> (...,2)."""
        angle = 2 * np.pi / self.period * np.asarray(place, np.float64)
        return np.stack([np.cos(angle), np.sin(angle)], -1)

    def decoded(self, code: np.ndarray) -> np.ndarray:
        """Direction of arrows (...,2) of any length: (...)."""
        return self.home(np.arctan2(code[..., 1], code[..., 0]) * self.period / (2 * np.pi))

    def together(self, place: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Places (N,) at most half a period away from the first of their group (N,)."""
        _, first, which = np.unique(groups, return_index=True, return_inverse=True)
        return self.near(place, np.asarray(place)[first[which]])

    def mean(self, place: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The direction of the sum of arrows, from `low` on.

        Source: Mardia and Jupp 2000, "Directional statistics", section 2.2.
        """
        arrows = self.code(place)
        return self.decoded(arrows.sum(-2) if weights is None else (np.asarray(weights)[..., None] * arrows).sum(-2))


LINEAR = Linear()
SCALES: dict[str, Scale] = {scale.name: scale for scale in (LINEAR, Log())}
"""What `data.scale` chooses from."""


def scale_of(name: str, period: float | None) -> Scale:
    """The scale on which errors are counted: `data.scale`, or with `bins.period` a circle, named from zero on."""
    return SCALES[name] if period is None else Circular(period, 0.0)


def circle(edges: Sequence[float] | np.ndarray, scale: str, period: float) -> Circular:
    """The scale of a circle that the edges of bins (K+1,) fill.

    Raises:
        ConfigError: They do not, or the scale is no linear one, or the period is none.
    """
    if scale != LINEAR.name:
        raise ConfigError(f"bins.period={period:g} is for data.scale=linear, not {scale}: leave one of them out")
    if not (np.isfinite(period) and period > 0):
        raise ConfigError(f"bins.period={period:g} must be a number above zero: 360 for degrees")
    span = edges[-1] - edges[0]
    if abs(span - period) > 1e-9 * period:
        raise ConfigError(
            f"the bins span {edges[0]:g}..{edges[-1]:g}, which is {span:g} and not bins.period={period:g}: set "
            f"bins.range=[{edges[0]:g},{edges[0] + period:g}], or bins.range=null"
        )
    return Circular(period, float(edges[0]))
