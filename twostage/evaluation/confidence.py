"""Confidence intervals of figures of merit, by resampling groups of photographs."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

__all__ = ["resampled_rmse", "rmse_interval"]

RESAMPLES = 2000


def resampled_rmse(errors: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray | None:
    """RMSE of M methods in 2,000 bootstrap resamples that are the same for all: errors (N,M) -> (2000,M).

    Differences between methods are differences within a resample, so that what is hard for all of them cancels.

    Args:
        groups: Of which specimen each photograph is, (N,): groups are drawn as wholes, because photographs of one
            specimen err alike. Without it each photograph is drawn on its own.

    Returns:
        None for a single group, which tells nothing of others.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap"; for clusters Field and Welsh 2007.
    """
    _, which = np.unique(np.arange(len(errors)) if groups is None else groups, return_inverse=True)
    squares = np.array([np.bincount(which, column**2) for column in errors.T])
    counts = np.broadcast_to(np.bincount(which).astype(float), squares.shape)
    if squares.shape[1] < 2:
        return None

    def rmse(squares: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.sqrt(squares.sum(axis) / counts.sum(axis))

    found = bootstrap(
        (squares, counts), rmse, paired=True, vectorized=True, axis=-1, n_resamples=RESAMPLES, method="percentile",
        batch=max(1, 10_000_000 // squares.size), random_state=np.random.default_rng(seed),
    )  # fmt: skip
    return np.asarray(found.bootstrap_distribution).T


def rmse_interval(
    error: np.ndarray, groups: np.ndarray | None = None, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the RMSE of errors (N,), percentile method; `groups` as in `resampled_rmse`.

    Returns:
        Lower and upper end; NaN for a single group.
    """
    found = resampled_rmse(np.asarray(error)[:, None], groups, seed=seed)
    if found is None:
        return float("nan"), float("nan")
    low, high = np.quantile(found[:, 0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
