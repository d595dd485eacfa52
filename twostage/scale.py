"""The scale on which concentrations are learned and judged: as they are, or by their logarithm."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["LINEAR", "SCALES", "Linear", "Log", "Scale"]


class Scale(ABC):
    """Concentrations <-> places on a scale, on which equal distances are equally bad errors."""

    name: str

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
        return self.to(predicted) - self.to(target)

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


LINEAR = Linear()
SCALES: dict[str, Scale] = {scale.name: scale for scale in (LINEAR, Log())}
"""What `data.scale` chooses from."""
