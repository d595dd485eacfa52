"""Does a model still read right? Specimens of known concentration now, beside those of the calibration then."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from scipy.special import stdtrit

__all__ = ["LEVEL", "Drift", "Then", "drift_of", "ewma", "of_specimens"]

LEVEL = 0.05
"""A p-value up to it speaks against chance."""
RESAMPLES = 9999
"""So many permutations at most: all there are, where these are no more, else so many at random."""
WARNING, ACTION = 2.0, 3.0
"""Limits of the control chart, standard deviations."""
MEMORY = 0.2
"""Share of the newest check in the moving average."""


@dataclass(frozen=True)
class Then:
    """Errors on the scale of the calibration's specimens, (S,), two or more: what the model could do when new."""

    errors: np.ndarray

    @property
    def bias(self) -> float:
        """Their mean."""
        return float(self.errors.mean())

    @property
    def sd(self) -> float:
        """Standard deviation of a specimen."""
        return float(self.errors.std(ddof=1))

    def sd_of_mean(self, count: int) -> float:
        """Of the mean of so many new specimens, about `bias`, which is itself the mean of a sample.

        ``sd sqrt(1/n + 1/S)``. Source: Hahn and Meeker 1991, "Statistical intervals", section 4.7.
        """
        return self.sd * float(np.sqrt(1 / count + 1 / len(self.errors)))


@dataclass(frozen=True)
class Drift:
    """What n specimens tell; numbers are on the scale, and None where there is none to be had.

    `interval` holds the mean error with 95 %. `p_zero` is the p-value of "no error on average", `p_then` that of "as in
    the calibration"; `least_zero` and `least_then` are the smallest that so few specimens can give. `sds` is how many
    standard deviations of such a mean the bias lies from that of the calibration.
    """

    specimens: int
    bias: float
    interval: tuple[float, float] | None
    p_zero: float | None
    p_then: float | None
    least_zero: float
    least_then: float | None
    sds: float | None

    @property
    def verdict(self) -> str:
        """One word or two: moved, biased, watch, steady, or cannot tell."""
        far = 0.0 if self.sds is None else abs(self.sds)
        if far > ACTION or (self.p_then is not None and self.p_then <= LEVEL):
            return "moved"
        if self.p_zero is not None and self.p_zero <= LEVEL:
            return "biased"
        if far > WARNING:
            return "watch"
        return "cannot tell" if self.sds is None and self.least_zero > LEVEL else "steady"

    def to_json(self) -> dict[str, Any]:
        """For the log of all checks."""
        names = ("specimens", "bias", "p_zero", "p_then", "sds", "verdict")
        return {name: getattr(self, name) for name in names}


def of_specimens(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over the photographs of each specimen, values (N,) of specimens (N,) -> (S,), in the order of their names.

    >>> of_specimens(np.array([1.0, 3.0, 5.0]), np.array(["b", "b", "a"])).tolist()
    [5.0, 2.0]
    """
    which = np.unique(groups, return_inverse=True)[1]
    return np.asarray(np.bincount(which, values) / np.bincount(which))


def drift_of(errors: np.ndarray, then: Then | None) -> Drift:
    """Compare the errors of specimens now (n,) with none, and with those of the calibration.

    "No error on average" is tested by turning signs: if errors are symmetric about zero each of the 2^n patterns of
    signs is as likely, and p is the share of patterns whose mean is as far out, so never below 2 / 2^n. "As then" is
    tested by dealing all errors, now and then, anew: each of the C(n + S, n) deals is as likely if they are
    exchangeable. All are counted where they are at most 9999, and neither presumes a distribution. One specimen
    has no p-value: nothing tells its error from that of its kind.

    Source: Fisher 1935, "The design of experiments", section 21; Ernst 2004, "Permutation methods: a basis for exact
    inference".

    >>> drift_of(np.array([20.0, 22.0, 25.0]), None).p_zero
    0.25
    """
    errors = np.asarray(errors, np.float64)
    count, bias = len(errors), float(errors.mean())
    sds = least_then = interval = p_zero = p_then = None
    if then is not None:
        least_then = max(2 / comb(count + len(then.errors), count), 2 / (RESAMPLES + 1))
        between = then.sd_of_mean(count)
        sds = (bias - then.bias) / between if between > 0 else None
    if count > 1:
        half = float(stdtrit(count - 1, 0.975) * errors.std(ddof=1) / np.sqrt(count))
        interval = (bias - half, bias + half)
        p_zero = _p_value((errors,), "samples")
        p_then = None if then is None else _p_value((errors, then.errors), "independent")
    return Drift(count, bias, interval, p_zero, p_then, max(2.0 ** (1 - count), 2 / (RESAMPLES + 1)), least_then, sds)


def _p_value(samples: tuple[np.ndarray, ...], kind: str) -> float:
    """Two-sided, of the mean of one sample, or of how far the first one's lies above that of the second."""
    from scipy.stats import permutation_test  # late: reading does not need it

    def apart(*given: np.ndarray, axis: int) -> np.ndarray:
        means = [one.mean(axis=axis) for one in given]
        return np.asarray(means[0] if len(means) == 1 else means[0] - means[1])

    draws = np.random.default_rng(0)
    found = permutation_test(samples, apart, permutation_type=kind, vectorized=True, n_resamples=RESAMPLES, rng=draws)
    return float(found.pvalue)


def ewma(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exponentially weighted moving average of standardized checks (T,), and its limit of three deviations, (T,).

    It finds small shifts that last. Source: Roberts 1959, "Control chart tests based on geometric moving averages".

    >>> ewma(np.array([1.0, 1.0]))[0].round(2).tolist()
    [0.2, 0.36]
    """
    average, now = np.empty(len(values)), 0.0
    for i, value in enumerate(values):
        now += MEMORY * (value - now)
        average[i] = now
    spread = MEMORY / (2 - MEMORY) * (1 - (1 - MEMORY) ** (2 * np.arange(1, len(values) + 1)))
    return average, ACTION * np.sqrt(spread)
