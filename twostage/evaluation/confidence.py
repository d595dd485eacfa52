"""Confidence intervals of figures of merit, by resampling groups of photographs."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

__all__ = ["percentile_interval", "resampled_rmse", "rmse_interval"]

AT_A_TIME = 2_000_000
"""Drawn numbers in memory; 2,000 resamples of 20,000 photographs at once would be a gigabyte."""


def rmse_interval(
    error: np.ndarray, groups: np.ndarray | None = None, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the RMSE of errors (N,), percentile method, 2,000 resamples.

    Args:
        groups: Of which specimen each photograph is, (N,): groups are drawn as wholes, because photographs of one
            specimen err alike. Without it each photograph is drawn on its own.

    Returns:
        Lower and upper end; NaN for a single group, which tells nothing of others.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap"; for clusters Field and Welsh 2007.
    """
    return percentile_interval(resampled_rmse(error[None], groups, seed=seed)[0], confidence)


def resampled_rmse(errors: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
    """RMSE of P models on 2,000 resamples of the same N photographs: errors (P,N) -> (P,2000).

    Each resample draws the same groups for all models, so that they can be compared; NaN for a single group.
    """
    count = errors.shape[1]
    _, which = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    squares = np.array([np.bincount(which, error**2) for error in errors])
    counts = np.bincount(which).astype(float)
    if len(counts) < 2:
        return np.full((len(errors), 2000), np.nan)

    def rmse(squares: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.sqrt(squares.sum(axis) / counts.sum(axis))

    found = bootstrap(
        (squares, np.broadcast_to(counts, squares.shape)),
        rmse,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        batch=max(1, AT_A_TIME // squares.size),
        method="percentile",
        axis=-1,
        random_state=np.random.default_rng(seed),
    )
    return np.asarray(found.bootstrap_distribution)


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Ends between which the middle `confidence` of the resampled values (R,) lies; NaN where any of them is."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
