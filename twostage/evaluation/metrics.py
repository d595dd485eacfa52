"""Figures of merit, in the unit of the concentration, from errors: predicted minus measured."""

from __future__ import annotations

import numpy as np

__all__ = ["regression_metrics", "rmse"]


def rmse(error: np.ndarray) -> float:
    """Root of the mean square of errors (N,)."""
    return float(np.sqrt(np.mean(np.square(error))))


def regression_metrics(target: np.ndarray, error: np.ndarray) -> dict[str, float | None]:
    """rmse, mae, r2, bias (mean error) and max_abs_error of errors (N,) at the concentrations `target` (N,).

    r2 is one minus the mean squared error over the variance of the concentrations; None for fewer than two images or
    equal concentrations, where it is not defined.
    """
    defined = len(target) > 1 and np.ptp(target) > 0
    return {
        "rmse": rmse(error),
        "mae": float(np.mean(np.abs(error))),
        "r2": float(1 - np.mean(np.square(error)) / np.var(target)) if defined else None,
        "bias": float(np.mean(error)),
        "max_abs_error": float(np.max(np.abs(error))),
    }
