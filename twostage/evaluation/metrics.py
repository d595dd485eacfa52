"""Figures of merit, in the unit of the concentration, from errors: predicted minus measured."""

from __future__ import annotations

import numpy as np

from twostage.scale import LINEAR, Scale

__all__ = ["regression_metrics", "rmse"]


def rmse(error: np.ndarray) -> float:
    """Root of the mean square of errors (N,)."""
    return float(np.sqrt(np.mean(np.square(error))))


def regression_metrics(
    target: np.ndarray, error: np.ndarray, scale: Scale = LINEAR, angle: bool = False
) -> dict[str, float | None]:
    """rmse, mae, r2, bias (mean error) and max_abs_error of errors (N,) at the concentrations `target` (N,).

    r2 is one minus the mean squared error over the variance of the concentrations, on a circle of their names nearest
    to their mean; None for fewer than two images or equal concentrations, where it is not defined.

    Args:
        scale: Says how far concentrations lie apart.
        angle: With `share_within_10`, the share of errors of at most 10.

    >>> from twostage.scale import Circular
    >>> regression_metrics(np.array([350.0, 10.0]), np.array([5.0, -20.0]), Circular(360, 0), angle=True)["r2"]
    -1.125
    """
    named = scale.near(target, scale.mean(target))
    found = {
        "rmse": rmse(error),
        "mae": float(np.mean(np.abs(error))),
        "r2": float(1 - np.mean(np.square(error)) / np.var(named)) if np.ptp(named) > 0 else None,
        "bias": float(np.mean(error)),
        "max_abs_error": float(np.max(np.abs(error))),
    }
    if angle:
        found["share_within_10"] = float(np.mean(np.abs(error) <= 10))
    return found
