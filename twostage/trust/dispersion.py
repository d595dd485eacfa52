"""How wrong is a reading likely to be? A scale for each, from what tells easy photographs from hard ones.

The log-scales of the regressor are those of training: they became useless as a size when the last layer was solved,
but still say which photographs are hard. Here they are one sign among others, weighed on photographs that neither
networks nor closed forms have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.stages.reading import Reading
from twostage.trust.distribution import FREEDOM, Distribution, log_density

__all__ = ["SIGNS", "Dispersion", "alike", "parts_by_specimen", "signs"]

SIGNS = ("concentration", "log_scale", "spread_of_bins", "distance")
PENALTIES = (0.003, 0.03, 0.3, 3.0, 1e6)
"""Candidates, the last of which leaves all readings equally uncertain; specimens left out choose."""
LEAST_SCALE = 1e-5
"""Of a reading, in widths of the whole range: all residuals may be zero."""
LEAST_BETWEEN = 1e-4
"""Bins that differ by less in what they say, widths of the whole range, differ by what float32 rounds off."""
LEAST_CHANGE = 0.03
"""A sign that changes less from photograph to photograph tells nothing, and may be rounding."""
FARTHEST = 3.0
"""A sign beyond so many standard deviations of those that were learned from tells no more than one there."""
PARTS = 5


@dataclass(frozen=True)
class _Judged:
    """Weights and squared errors of the bins, (N,K), and how much each photograph counts, (N,)."""

    probabilities: np.ndarray
    squares: np.ndarray
    weight: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> _Judged:
        return _Judged(self.probabilities[rows], self.squares[rows], self.weight[rows])

    @property
    def typical(self) -> float:
        """Middle of the squared errors."""
        return float(np.median((self.probabilities * self.squares).sum(1)))

    def log_likelihood(self, log_scale: np.ndarray) -> float:
        """Weighted sum, for log scales (N,)."""
        return -float(self.weight @ self.negative_log_likelihood(log_scale)[0])

    def negative_log_likelihood(self, log_scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each photograph under a mixture of Student's t, for log scales (N,), and its slope along these, (N,)."""
        squares = self.squares * np.exp(-2 * log_scale)[:, None]
        logs = log_density(squares)
        top = np.where(self.probabilities > 0, logs, -np.inf).max(1, keepdims=True)
        each = self.probabilities * np.exp(np.minimum(logs - top, 0))
        total = each.sum(1, keepdims=True)
        pull = (FREEDOM + 1) * squares / (FREEDOM + squares)
        return log_scale - top[:, 0] - np.log(total[:, 0]), 1 - ((each / total) * pull).sum(1)


@dataclass(frozen=True)
class Dispersion:
    """``log scale = base + slopes . (signs - middle) / spread``: slopes, middle and spread are (len(SIGNS),)."""

    base: float
    slopes: np.ndarray
    middle: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(
        cls, bins: Bins, reading: Reading, distance: np.ndarray, target: np.ndarray, groups: np.ndarray
    ) -> Dispersion:
        """Find the slopes that make the true concentrations likeliest, each specimen counting the same.

        Ridge regression of the logarithm of the scale under the likelihood of the mixture; its penalty is chosen by
        leaving out specimens in `PARTS` parts. Source: Lange, Little and Taylor 1989, "Robust statistical modeling
        using the t distribution".

        Args:
            reading: What both stages say of N photographs that they have not seen.
            distance: How far these are from those of the training, (N,), see `Typicality`.
            target: Their true concentrations, (N,).
            groups: The specimen of each, (N,).
        """
        judged = _Judged(reading.probabilities, _squared_errors(bins, reading, target), alike(groups))
        found, parts = signs(bins, reading, distance), parts_by_specimen(groups, PARTS)
        least, penalty = LEAST_SCALE * np.ptp(bins.places), PENALTIES[-1]
        if parts.max():
            penalty = max(PENALTIES, key=lambda one: cls._left_out_likelihood(found, judged, parts, least, one))
        return cls._fitted(found, judged, least, penalty)

    @classmethod
    def _left_out_likelihood(
        cls, found: np.ndarray, judged: _Judged, parts: np.ndarray, least: float, penalty: float
    ) -> float:
        """Log likelihood of all photographs, each by what was fitted without its part (N,)."""
        total = 0.0
        for part in range(parts.max() + 1):
            out = parts == part
            fitted = cls._fitted(found[~out], judged[~out], least, penalty)
            total += judged[out].log_likelihood(np.maximum(fitted.log_scale(found[out]), np.log(least)))
        return total

    @classmethod
    def _fitted(cls, found: np.ndarray, judged: _Judged, least: float, penalty: float) -> Dispersion:
        """With one penalty, to signs (N,S)."""
        from scipy.optimize import minimize  # late: reading does not need it

        middle = np.average(found, axis=0, weights=judged.weight)
        spread = np.sqrt(np.average((found - middle) ** 2, axis=0, weights=judged.weight))
        plain = cls(0.0, np.zeros(found.shape[1]), middle, _changing(spread))
        columns, floor = np.column_stack([np.ones(len(found)), plain.standard(found)]), float(np.log(least))
        start = np.zeros(columns.shape[1])
        start[0] = max(0.5 * np.log(judged.typical + least**2), floor)

        def loss(slopes: np.ndarray) -> tuple[float, np.ndarray]:
            line = columns @ slopes
            each, slope = judged.negative_log_likelihood(np.maximum(line, floor))
            share, rest = judged.weight / judged.weight.sum(), np.append(0.0, slopes[1:])
            return (
                float(share @ each + penalty * (rest @ rest)),
                columns.T @ (share * slope * (line >= floor)) + 2 * penalty * rest,
            )

        best = minimize(loss, start, jac=True, method="L-BFGS-B").x
        return cls(max(float(best[0]), floor), best[1:], plain.middle, plain.spread)

    def standard(self, found: np.ndarray) -> np.ndarray:
        """Signs (N,S) as they are weighed."""
        return np.clip((found - self.middle) / self.spread, -FARTHEST, FARTHEST)

    def log_scale(self, found: np.ndarray) -> np.ndarray:
        """Of signs (N,S), (N,)."""
        return self.base + self.standard(found) @ self.slopes

    def distribution(self, bins: Bins, reading: Reading, distance: np.ndarray) -> Distribution:
        """The predictive distributions of N photographs."""
        scale = np.exp(self.log_scale(signs(bins, reading, distance)))
        scale = np.maximum(scale, LEAST_SCALE * np.ptp(bins.places))[:, None]
        means = bins.scale.to(bins.candidates(reading.offsets))
        means = bins.scale.near(means, bins.scale.mean(means, reading.probabilities)[:, None])
        return Distribution(bins, reading.probabilities, means, np.broadcast_to(scale, means.shape).copy())

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs; a sign that never changed has no spread, null."""
        spread = [None if np.isinf(value) else float(value) for value in self.spread]
        kept = {"slopes": self.slopes.tolist(), "middle": self.middle.tolist(), "spread": spread}
        return {"base": self.base, "signs": list(SIGNS), **kept}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Dispersion:
        """The same as it was fitted.

        Raises:
            ValueError: It was fitted to other signs.
        """
        if content["signs"] != list(SIGNS):
            raise ValueError(f"signs {content['signs']}, known are {list(SIGNS)}")
        spread = np.array([np.inf if value is None else value for value in content["spread"]], float)
        slopes, middle = (np.array(content[name], float) for name in ("slopes", "middle"))
        if not slopes.shape == middle.shape == spread.shape == (len(SIGNS),) or not (spread > 0).all():
            raise ValueError("slopes, middle and spread have not one positive number for each sign")
        return cls(float(content["base"]), slopes, middle, _changing(spread))


def _changing(spread: np.ndarray) -> np.ndarray:
    """Spreads of signs (S,), infinite where a sign never changes, so that it tells nothing."""
    return np.where(spread < LEAST_CHANGE, np.inf, spread)


def signs(bins: Bins, reading: Reading, distance: np.ndarray) -> np.ndarray:
    """What tells how wrong a reading may be, (N,len(SIGNS)); zero where it is not known.

    The place of the concentration in the range, on a circle none; the regressor's log-scale; the logarithm of how far
    the bins differ in what they say; the distance from the photographs of the training.
    """
    place, width = bins.scale.to(bins.candidates(reading.offsets)), np.ptp(bins.places)
    mean = bins.scale.mean(place, reading.probabilities)
    scale = (reading.probabilities * (reading.log_scales + np.log(bins.half_width))).sum(1)
    between = np.sqrt((reading.probabilities * bins.scale.apart(place, mean[:, None]) ** 2).sum(1))
    middle = (bins.places[0] + bins.places[-1]) / 2
    in_range = (mean - middle) / width if bins.period is None else np.zeros(len(mean))
    found = np.column_stack([in_range, scale, np.log(np.maximum(between / width, LEAST_BETWEEN)), distance])
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def alike(groups: np.ndarray) -> np.ndarray:
    """Weights (N,) with which all specimens count the same, one for all photographs of each together."""
    return 1 / pd.Series(groups).groupby(groups).transform("size").to_numpy(float)


def parts_by_specimen(groups: np.ndarray, count: int) -> np.ndarray:
    """In which of up to `count` parts each photograph (N,) lies: whole specimens, dealt one by one in a fixed order."""
    names, which = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))
    return order[which] % min(count, len(names))


def _squared_errors(bins: Bins, reading: Reading, target: np.ndarray) -> np.ndarray:
    """Of what each bin says, on the scale, (N,K)."""
    return bins.scale.error(bins.candidates(reading.offsets), np.asarray(target)[:, None]) ** 2
