"""Confidence intervals of figures of merit, by resampling groups of photographs."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

__all__ = ["rmse_interval"]


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
    _, which = np.unique(np.arange(len(error)) if groups is None else groups, return_inverse=True)
    squares, counts = np.bincount(which, error**2), np.bincount(which).astype(float)
    if len(counts) < 2:
        return float("nan"), float("nan")

    def rmse(squares: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.sqrt(squares.sum(axis) / counts.sum(axis))

    found = bootstrap(
        (squares, counts), rmse, paired=True, vectorized=True, n_resamples=2000, confidence_level=confidence,
        method="percentile", random_state=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
