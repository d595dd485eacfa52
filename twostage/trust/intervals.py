"""Intervals around readings: between which ends does the concentration lie, nine times of ten?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from twostage.options.choices import INTERVALS
from twostage.options.family import resolve
from twostage.trust.distribution import Distribution

__all__ = ["Conformal", "Distributional", "Intervals", "NoIntervals", "load_intervals", "specimens_needed"]

MONDRIAN = 100
"""A bin with so many specimens for calibration has a quantile of its own; with fewer that would be chance."""
ENOUGH = 1e-12


class Intervals(ABC):
    """A conformal method: how strange would a concentration be? A member of the family `INTERVALS`.

    Of n exchangeable specimens and a new one, the ceil((n + 1) c)-th smallest strangeness is exceeded by the new one at
    most with 1 - c. Photographs of one specimen are near-copies: each counts for its share of the specimen, and the new
    one counts as a specimen. Any confidence can be asked for, since the strangeness of every photograph is kept.

    Sources: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; specimens that weigh the same:
    Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"; by bin (Mondrian): Vovk et al.
    """

    def __init__(self, strangeness: np.ndarray, weight: np.ndarray, bin_index: np.ndarray) -> None:
        """Of the photographs for calibration, (N,) each; the weights of a specimen have the sum one, or less if old."""
        self.strangeness, self.weight, self.bin_index = strangeness, weight, bin_index

    @classmethod
    def fit(cls, distribution: Distribution, target: np.ndarray, weight: np.ndarray) -> Intervals:
        """Learn from N photographs that nothing else has learned from.

        Args:
            distribution: Their predictive distributions.
            target: Their true concentrations, (N,).
            weight: Of each, (N,), with sum one for all photographs of one specimen.
        """
        return cls(cls.strange(distribution, target), weight, distribution.bin_of_median())

    @staticmethod
    @abstractmethod
    def strange(distribution: Distribution, concentration: np.ndarray) -> np.ndarray:
        """How strange concentrations (N,) would be, (N,); the larger the stranger."""

    @staticmethod
    @abstractmethod
    def ends(distribution: Distribution, strangeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest concentration that are no stranger than that (N,)."""

    def bounds(self, distribution: Distribution, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end for each photograph (N,); NaN where so high a confidence asks for more specimens."""
        limits = self.limits(confidence, distribution.bins.count)
        limit = limits[distribution.bin_of_median()]
        reachable = np.isfinite(limit)
        ends = self.ends(distribution, np.where(reachable, limit, 0.0))
        lower, upper = (np.where(reachable, end, np.nan) for end in ends)
        return lower, upper

    def limits(self, confidence: float, count: int) -> np.ndarray:
        """The strangeness that bounds an interval in each of `count` bins, (K,); infinite where it cannot be had."""
        found = np.full(count, self.quantile(confidence, np.ones(len(self.weight), bool)))
        for k in range(count):
            if self.weight[same := self.bin_index == k].sum() >= MONDRIAN:
                found[k] = self.quantile(confidence, same)
        return found

    def quantile(self, confidence: float, rows: np.ndarray) -> float:
        """The strangeness that a new specimen exceeds with 1 - confidence, from some of the rows; infinite: too few."""
        order = np.argsort(self.strangeness[rows])
        reached = np.cumsum(self.weight[rows][order]) / (self.weight[rows].sum() + 1)
        enough = np.flatnonzero(reached >= confidence - ENOUGH)
        return float(self.strangeness[rows][order][enough[0]]) if len(enough) else float("inf")

    def followed_by(self, new: Intervals, old: float) -> Intervals:
        """With what was seen since; what came before counts less, `old` times as much."""
        weight = np.concatenate([old * self.weight, new.weight])
        return type(self)(
            np.concatenate([self.strangeness, new.strangeness]), weight, np.concatenate([self.bin_index, new.bin_index])
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, the least strange first."""
        order = np.argsort(self.strangeness, kind="stable")
        return {
            "strangeness": [float(f"{value:.9g}") for value in self.strangeness[order]],
            "weight": [float(f"{value:.9g}") for value in self.weight[order]],
            "bin_index": self.bin_index[order].tolist(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Intervals:
        """The same as it was fitted.

        Raises:
            ValueError: The numbers are not as many as belong together, or are no strangeness and weights.
        """
        strangeness, weight = (np.array(content[name], float) for name in ("strangeness", "weight"))
        bin_index = np.array(content["bin_index"], int)
        if strangeness.ndim != 1 or not strangeness.shape == weight.shape == bin_index.shape or (weight < 0).any():
            raise ValueError("strangeness, weight and bin_index do not belong together")
        return cls(strangeness, weight, bin_index)


class Conformal(Intervals):
    """As wide everywhere, on both sides: how far is the concentration from what was read?

    Source: Papadopoulos et al. 2002, "Inductive confidence machines for regression".
    """

    @staticmethod
    def strange(distribution: Distribution, concentration: np.ndarray) -> np.ndarray:
        """The distance from the mean, on the scale."""
        scale = distribution.bins.scale
        return np.abs(scale.error(scale.back(distribution.middle), concentration))

    @staticmethod
    def ends(distribution: Distribution, strangeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean minus and plus the distance, on the scale."""
        mean, scale = distribution.middle, distribution.bins.scale
        return scale.back(mean - strangeness), scale.back(mean + strangeness)


class Distributional(Intervals):
    """As wide as the predictive distribution: how far out in its tails does the concentration lie?

    Strangeness is ``-log(2 min(F, 1 - F))`` of the distribution function F at the concentration, which orders
    concentrations as ``|F - 1/2|`` does and tells far tails apart.

    Source: Chernozhukov, Wuethrich and Zhu 2021, "Distributional conformal prediction".
    """

    @staticmethod
    def strange(distribution: Distribution, concentration: np.ndarray) -> np.ndarray:
        """From zero at the median to infinity."""
        tails = np.minimum(distribution.cdf(concentration), distribution.survival(concentration))
        return np.maximum(-np.log(np.maximum(2 * tails, np.finfo(float).tiny)), 0.0)

    @staticmethod
    def ends(distribution: Distribution, strangeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles at the level in both tails, on a circle at most half a period from the middle."""
        far = np.exp(-np.asarray(strangeness, float)) / 2
        below, above = np.stack([far, 1 - far], 1), np.stack([1 - far, far], 1)
        lower, upper = distribution.quantile_of_tails(below, above).T
        if (period := distribution.bins.period) is not None:
            first, last = distribution.middle - period / 2, distribution.middle + period / 2
            return np.maximum(lower, first), np.minimum(upper, last)
        return lower, upper


class NoIntervals(Conformal):
    """None at all: no photograph is kept, so that no confidence can be reached."""

    @classmethod
    def fit(cls, distribution: Distribution, target: np.ndarray, weight: np.ndarray) -> Intervals:
        """Nothing is learned."""
        return cls(np.empty(0), np.empty(0), np.empty(0, int))


def specimens_needed(confidence: float) -> int:
    """The least number of specimens of which, and a new one, the strangest holds with that confidence: 9 for 0.9."""
    return int(np.ceil(confidence / (1 - confidence) - 1e-9))


def load_intervals(content: dict[str, Any]) -> Intervals:
    """The intervals of a model's description, {"method": name, ...}.

    Raises:
        ConfigError: There is no such method.
        KeyError, TypeError, ValueError: The description is not what was written.
    """
    found: Intervals = resolve(INTERVALS.member(str(content["method"]))).from_json(content)
    return found
