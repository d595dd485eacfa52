"""How the error falls with the number of training photographs, and what more of them would bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PowerLaw", "fit_power_law"]

EXPONENTS = np.linspace(0.01, 1.0, 100)
REPETITIONS = 10


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
    """Fit the law to RMSEs (...,P) of P numbers of training photographs (P,).

    The squared error falls as a power of n towards what no photograph more can take away (noise of the photographs and
    of the concentrations, limits of the network and of its training). Such laws, with an exponent of the error below 1,
    are what is found in practice; from as few points as here they tell a factor of two, not of ten. Where the RMSE does
    not fall, the factor comes out as zero: nothing is to be gained.

    A squared error varies in proportion to its size, so the fit is that of the gamma distribution. For each exponent
    in 0.01..1 floor^2 and factor^2, both at least zero, are a weighted linear problem, repeated with the
    weights that follow from the fit; the exponent of least deviance is taken.

    Source: Hestness et al. 2017, "Deep learning scaling is predictable, empirically"; Viering and Loog 2023, "The shape
    of learning curves: a review", IEEE TPAMI 45:7799 (POW3, here of the squared error); McCullagh and Nelder
    1989, "Generalized linear models", chapter 8.

    >>> law = fit_power_law(np.array([250, 500, 1000, 2000]), np.array([2.0, 2**0.5, 1.0, 0.5**0.5]))
    >>> round(float(law.exponent), 2), round(float(law.rmse(4000)), 3)
    (0.5, 0.5)
    """
    largest, rmse = np.max(count), np.asarray(rmse, np.float64)
    powers = (np.asarray(count, np.float64) / largest) ** (-2 * EXPONENTS[:, None])  # (B,P), near 1: well conditioned
    scale = np.maximum(rmse.max(-1), np.finfo(float).tiny)
    squares = np.maximum((rmse / scale[..., None])[..., None, :] ** 2, 1e-12)  # no error at all would weigh without end
    fitted = squares
    for _ in range(REPETITIONS):
        floor, factor = _nonnegative_line(powers, squares, fitted**-2.0)
        fitted = floor[..., None] + factor[..., None] * powers
    ratio = squares / fitted
    best = (ratio - np.log(ratio)).sum(-1).argmin(-1)[..., None]
    floor, factor = (np.take_along_axis(values, best, -1)[..., 0] for values in (floor, factor))
    exponent = EXPONENTS[best[..., 0]]
    return PowerLaw(scale * np.sqrt(floor), scale * np.sqrt(factor) * largest**exponent, exponent)


def _nonnegative_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope, neither below zero, of the least weighted squares through positive points (...,P)."""

    def total(values: np.ndarray) -> np.ndarray:
        return np.asarray((weights * values).sum(-1))

    w, wx, wxx, wy, wxy = total(np.ones(1)), total(x), total(x**2), total(y), total(x * y)
    determinant = np.maximum(w * wxx - wx**2, np.finfo(float).tiny)
    intercept, slope = (wxx * wy - wx * wxy) / determinant, (w * wxy - wx * wy) / determinant
    flat, steep = slope < 0, intercept < 0  # never both
    return (
        np.where(flat, wy / w, np.where(steep, 0.0, intercept)),
        np.where(flat, 0.0, np.where(steep, wxy / wxx, slope)),
    )
