"""The predictive distribution: a mixture over the bins, Student's t around what each bin says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from twostage.bins import Bins

__all__ = ["FREEDOM", "Distribution", "distance_of_tail", "log_density", "tail"]

Values = TypeVar("Values", np.ndarray, Tensor)

FREEDOM = 4
"""Degrees of freedom. Most readings are wrong by little and some, where glare lies in the well, by much: with normal
distributions these few would make all intervals wide. With four, density, tails and quantiles have closed forms."""
PEAK = 3 / 8
"""Density of the standard distribution at zero."""
HALVINGS = 48
"""Of the interval in which a quantile is sought: about as much as float64 can tell apart."""
LEVELS = np.linspace(0, 1, 202)[1:-1]
"""At which quantiles are compared with the truth."""


@dataclass(frozen=True)
class Distribution:
    """What concentration N photographs may show: mixtures of K distributions, Student's t of four degrees of freedom.

    `weights`, `means` and `scales` are (N,K): the weights of a row have the sum one; means and scales are in the unit
    of the concentration, or in decades where the scale of the bins is logarithmic. Rows of photographs that were
    refused are NaN, and so is all that is asked of them.

    On a circle the means lie within half a period of `middle`. A concentration is taken by its name nearest to that,
    and quantiles are counted on beyond the circle, so that 350 to 370 degrees is an interval.
    """

    bins: Bins
    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: np.ndarray | slice) -> Distribution:
        return Distribution(self.bins, *(values[rows] for values in self.arrays))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and scales, (N,K) each."""
        return self.weights, self.means, self.scales

    @classmethod
    def joined(cls, parts: Sequence[Distribution]) -> Distribution:
        """One after another."""
        return cls(parts[0].bins, *map(np.concatenate, zip(*(part.arrays for part in parts), strict=True)))

    @property
    def middle(self) -> np.ndarray:
        """The mean of each, a place on the scale, (N,)."""
        return self.bins.scale.mean(self.means, self.weights)

    def near(self, concentration: np.ndarray | float) -> np.ndarray:
        """Places of concentrations, a number, (N,) or (N,M): on a circle those nearest to `middle`."""
        place = self.bins.scale.to(concentration)
        if self.bins.period is None:
            return place
        return self.bins.scale.near(place, self.middle[:, None] if place.ndim == 2 else self.middle)

    def cdf(self, concentration: np.ndarray | float) -> np.ndarray:
        """Probability that the concentration is at most this one: a number, (N,) or (N,M) -> (N,) or (N,M)."""
        return self._tails(self.near(concentration))[0]

    def survival(self, concentration: np.ndarray | float) -> np.ndarray:
        """Probability that the concentration is higher: 1 - `cdf`, exact where that is near zero."""
        return self._tails(self.near(concentration))[1]

    def density(self, place: np.ndarray) -> np.ndarray:
        """Probability density at places on the scale, (N,M), for each unit of the scale: (N,M)."""
        place = self.bins.scale.near(place, self.middle[:, None])
        z = (place[..., None] - self.means[:, None, :]) / self.scales[:, None, :]
        each = PEAK * np.exp(log_density(z * z)) / self.scales[:, None, :]
        return np.asarray((self.weights[:, None, :] * each).sum(-1))

    def quantile(self, level: np.ndarray | float) -> np.ndarray:
        """The concentration that is exceeded with probability 1 - level: a number, (N,) or (N,M) -> (N,) or (N,M)."""
        level = np.asarray(level, float)
        return self.quantile_of_tails(level, 1 - level)

    def quantile_of_tails(self, below: np.ndarray | float, above: np.ndarray | float) -> np.ndarray:
        """`quantile` from level and 1 - level, of which the smaller counts: near one, a level has few digits.

        It lies between the quantiles of the parts of the mixture, and is found by halving.
        """
        given = np.broadcast_arrays(np.asarray(below, float), np.asarray(above, float))
        below, above = (one if one.ndim == 2 else np.broadcast_to(one, len(self))[:, None] for one in given)
        in_lower, wanted = below <= above, np.minimum(below, above)
        z = np.where(in_lower, -1.0, 1.0) * distance_of_tail(wanted)
        ends = self.means[:, None, :] + self.scales[:, None, :] * z[..., None]
        ends = np.where(self.weights[:, None, :] > 0, ends, np.nan)
        low, high = np.fmin.reduce(ends, -1), np.fmax.reduce(ends, -1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            lower, upper = self._tails(middle)
            too_low = np.where(in_lower, lower < wanted, upper > wanted)
            low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
        found = self.bins.scale.back((low + high) / 2)
        return found if given[0].ndim == 2 else found[:, 0]

    def bin_of_median(self) -> np.ndarray:
        """The bin in which each median lies, (N,)."""
        if self.bins.period is not None:
            return self.bins.index(self.quantile(0.5))
        return (self._below_edges() <= 0.5).sum(1)

    def _below_edges(self) -> np.ndarray:
        """Probability of at most each inner edge of the bins, (N,K-1)."""
        inner = self.bins.edges[1:-1]
        return self.cdf(np.broadcast_to(inner, (len(self), len(inner))))

    def mass(self) -> np.ndarray:
        """Probability of each bin, (N,K); the first and the last bin have all that lies beyond.

        On a circle a bin has what lies in it a turn before or after as well, up to one and a half from the middle.
        """
        if (period := self.bins.period) is not None:
            turns = (self.bins.edges + period * np.arange(-2, 3)[:, None]).ravel()
            middle = self.middle[:, None]
            below = self._tails(np.clip(turns, middle - 1.5 * period, middle + 1.5 * period))[0]
            share = np.diff(below.reshape(len(self), 5, self.bins.count + 1), axis=-1).sum(1)
            return np.asarray(share / share.sum(1, keepdims=True))
        below = self._below_edges()
        share = np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
        return np.where(np.isnan(self.means[:, :1]), np.nan, share)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Concentrations drawn from each distribution, (N,count)."""
        rng = np.random.default_rng(seed)
        chosen = (rng.random((len(self), count, 1)) > np.cumsum(self.weights, 1)[:, None, :-1]).sum(-1)
        means, scales = (np.take_along_axis(values, chosen, 1) for values in (self.means, self.scales))
        scale = self.bins.scale
        return scale.home(scale.back(means + scales * rng.standard_t(FREEDOM, chosen.shape)))

    def crps(self, concentration: np.ndarray) -> np.ndarray:
        """Continuous ranked probability score against the true concentrations (N,), on the scale: (N,), small is good.

        Twice the mean loss of the quantiles at `LEVELS`. Source: Gneiting and Ranjan 2011, "Comparing density forecasts
        using threshold- and quantile-weighted scoring rules", equation 12.
        """
        found = self.bins.scale.to(self.quantile(np.broadcast_to(LEVELS, (len(self), len(LEVELS)))))
        above = found - self.near(concentration)[:, None]
        return np.asarray(2 * (above * ((above > 0) - LEVELS)).mean(1))

    def _tails(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of at most, and of more than, places on the scale: a number, (N,) or (N,M)."""
        place = np.asarray(place)
        if place.ndim < 2:
            lower, upper = self._tails(np.broadcast_to(place, len(self))[:, None])
            return lower[:, 0], upper[:, 0]
        z = (place[..., None] - self.means[:, None, :]) / self.scales[:, None, :]
        far, weights = tail(np.abs(z)), self.weights[:, None, :]
        lower, upper = np.where(z > 0, 1 - far, far), np.where(z > 0, far, 1 - far)
        return (weights * lower).sum(-1), (weights * upper).sum(-1)


def tail(z: Values) -> Values:
    """Probability that Student's t of four degrees of freedom exceeds z >= 0, of any shape, as an array or a tensor.

    ``(1 - s)^2 (2 + s) / 4`` with ``s = z / sqrt(4 + z^2)``. Source: Shaw 2006, "Sampling Student's T distribution -
    use of the inverse cumulative distribution function", section 2.2.

    >>> float(tail(np.array(2.7764451)).round(6))
    0.025
    """
    root = (4 + z * z) ** 0.5
    rest = 4 / (root * (root + z))  # 1 - s, without a difference of near-equals
    return rest * rest * (3 - rest) / 4


def log_density(squares: np.ndarray) -> np.ndarray:
    """Logarithm of the density at squared standard distances, of any shape, but for a constant."""
    return -(FREEDOM + 1) / 2 * np.log1p(squares / FREEDOM)


def distance_of_tail(probability: np.ndarray) -> np.ndarray:
    """Inverse of `tail`, for probabilities up to 1/2. Source: Shaw 2006, section 2.2."""
    alpha = np.maximum(4 * probability * (1 - probability), 1e-300)
    root = np.sqrt(alpha)
    q = np.cos(np.arccos(np.minimum(root, 1.0)) / 3) / root
    return 2 * np.sqrt(np.maximum(q - 1, 0))
