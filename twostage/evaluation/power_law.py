"""How the error falls with the number of training photographs, and what more of them would bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PowerLaw", "fit_power_law"]

EXPONENTS = np.linspace(0.01, 1.0, 100)


@dataclass(frozen=True)
class PowerLaw:
    """RMSE(n) = sqrt(floor^2 + (factor * n^-exponent)^2), one for each of the fits (...)."""

    floor: np.ndarray
    factor: np.ndarray
    exponent: np.ndarray

    def rmse(self, count: float | np.ndarray) -> np.ndarray:
        """RMSE expected of `count` training photographs."""
        return np.asarray(np.hypot(self.floor, self.factor * np.asarray(count, np.float64) ** -self.exponent))


def fit_power_law(count: np.ndarray, rmse: np.ndarray) -> PowerLaw:
    """Fit the law to RMSEs (...,P) of P numbers of training photographs (P,), each relative to its size.

    The squared error falls as a power of n towards what no photograph more can take away (noise of the photographs and
    of the concentrations, limits of the network and of its training). Such laws with an exponent of the error below 1
    are what is found in practice; from as few points as here they tell a factor of two, not of ten. Where the RMSE does
    not fall, the factor comes out as zero: nothing is to be gained.

    For each exponent in 0.01..1 floor^2 and factor^2 are a linear least-squares problem with both at least zero, of
    which the solution is written down; the best exponent is taken.

    Source: Hestness et al. 2017, "Deep learning scaling is predictable, empirically"; Viering and Loog 2023, "The shape
    of learning curves: a review", IEEE TPAMI 45:7799, table 1 (their POW3).

    >>> law = fit_power_law(np.array([250, 500, 1000, 2000]), np.array([2.0, 2**0.5, 1.0, 0.5**0.5]))
    >>> round(float(law.exponent), 2), round(float(law.rmse(4000)), 3)
    (0.5, 0.5)
    """
    largest = np.max(count)
    powers = (np.asarray(count, np.float64) / largest) ** (-2 * EXPONENTS[:, None])  # (B,P), near 1: well conditioned
    rmse = np.asarray(rmse, np.float64)
    scale = np.maximum(rmse.max(-1, keepdims=True), np.finfo(float).tiny)
    squares = np.maximum((rmse / scale)[..., None, :] ** 2, 1e-12)  # no error at all would weigh without bound
    weights = squares**-2.0

    def total(values: np.ndarray) -> np.ndarray:
        return (weights * values).sum(-1)

    one, x, xx, y, xy = total(np.ones(1)), total(powers), total(powers**2), total(squares), total(powers * squares)
    determinant = np.maximum(one * xx - x**2, np.finfo(float).tiny)
    floor, factor = (xx * y - x * xy) / determinant, (one * xy - x * y) / determinant
    floor, factor = (
        np.where(factor < 0, y / one, np.where(floor < 0, 0.0, floor)),
        np.where(factor < 0, 0.0, np.where(floor < 0, xy / xx, factor)),
    )
    loss = total((floor[..., None] + factor[..., None] * powers - squares) ** 2)
    best = loss.argmin(-1)[..., None]
    exponent = EXPONENTS[best[..., 0]]
    floor, factor = (np.take_along_axis(values, best, -1)[..., 0] for values in (floor, factor))
    scale = scale[..., 0]
    return PowerLaw(scale * np.sqrt(floor), scale * np.sqrt(factor) * largest**exponent, exponent)
