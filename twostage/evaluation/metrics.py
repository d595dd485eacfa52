"""Figures of merit, in the unit of the concentration."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import max_error, mean_absolute_error, r2_score, root_mean_squared_error

__all__ = ["regression_metrics", "rmse"]


def rmse(target: np.ndarray, predicted: np.ndarray) -> float:
    """Root mean squared error of predictions (N,) for concentrations (N,)."""
    return float(root_mean_squared_error(target, predicted))


def regression_metrics(target: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
    """rmse, mae, r2, bias (mean of predicted minus measured) and max_abs_error of (N,) against (N,).

    r2 is None for fewer than two images or equal concentrations, where it is not defined.
    """
    defined = len(target) > 1 and np.ptp(target) > 0
    return {
        "rmse": rmse(target, predicted),
        "mae": float(mean_absolute_error(target, predicted)),
        "r2": float(r2_score(target, predicted)) if defined else None,
        "bias": float(np.mean(predicted - target)),
        "max_abs_error": float(max_error(target, predicted)),
    }
