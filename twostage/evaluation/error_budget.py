"""Where does the error come from? What the true bin would save, the bins' borders, the bins' probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from twostage.evaluation.metrics import rmse
from twostage.scale import LINEAR, Scale

__all__ = [
    "DISTANCES",
    "Reliability",
    "border_cost",
    "edge_distance",
    "errors_by",
    "normal_rmse_interval",
    "reliability",
    "wrong_bin_cost",
]

DISTANCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, np.inf)
"""Classes of the distance to the nearest inner edge, bin widths; only outer halves of the end bins lie beyond 0.5."""


def wrong_bin_cost(errors: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What each combination loses because the bin is not known.

    Args:
        errors: Errors (N,) by combination; "oracle", which is given the true bin, among them.

    Returns:
        Indexed by combination: `rmse`; `cost`, its RMSE above the oracle's (negative where a mixture averages errors
        of neighbouring bins out); `share` of its mean squared error that is due to it, NaN where there is no error.
    """
    found = pd.Series({name: rmse(values) for name, values in errors.items()}, name="rmse")
    share = 1 - found["oracle"] ** 2 / (found**2).replace(0.0, np.nan)
    return pd.DataFrame({"rmse": found, "cost": found - found["oracle"], "share": share})


def edge_distance(target: np.ndarray, edges: np.ndarray, scale: Scale = LINEAR) -> np.ndarray:
    """Distance of each concentration (N,) to the nearest inner one of K+1 edges, in widths of its own bin, (N,).

    The outermost edges have no neighbouring bin to be confused with, but on a circle, where they are one edge between
    two bins; a single bin has no inner edge: infinity.
    """
    target, edges = np.asarray(target, np.float64), np.asarray(edges, np.float64)
    if len(edges) < 3:
        return np.full(len(target), np.inf)
    bins = np.clip(np.searchsorted(edges, target, side="right") - 1, 0, len(edges) - 2)
    inner = edges[1:-1] if scale.period is None else edges[1:]
    return np.abs(scale.apart(target[:, None], inner)).min(1) / np.diff(edges)[bins]


def border_cost(
    target: np.ndarray, errors: Mapping[str, np.ndarray], edges: np.ndarray, scale: Scale = LINEAR
) -> pd.DataFrame:
    """RMSE against the distance to the nearest inner edge: is it larger at the borders of the bins?

    Args:
        target: Places of concentrations (N,).
        errors: Errors (N,) by combination.
        edges: Places of the edges (K+1,) of the bins.
        scale: On which these are.

    Returns:
        One row per class of `DISTANCES` that holds images: `low`, `high` (bin widths), `count`, and the RMSE of each
        combination.
    """
    distance = edge_distance(target, edges, scale)
    rows = []
    for low, high in pairwise(DISTANCES):
        inside = (distance >= low) & ((distance < high) | (high == np.inf))
        if inside.any():
            found = {name: rmse(values[inside]) for name, values in errors.items()}
            rows.append({"low": low, "high": high, "count": int(inside.sum()), **found})
    return pd.DataFrame(rows)


def normal_rmse_interval(error: np.ndarray | float, count: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """95 % confidence interval of an RMSE over `count` independent, normally distributed errors of mean zero.

    Their sum of squares over the variance follows a chi-square distribution of `count` degrees of freedom.

    Returns:
        Lower and upper end, of the shape of `error`.
    """
    low, high = stats.chi2.ppf(0.975, count), stats.chi2.ppf(0.025, count)
    return error * np.sqrt(count / low), error * np.sqrt(count / high)


def errors_by(labels: np.ndarray, target: np.ndarray, error: np.ndarray, scale: Scale = LINEAR) -> pd.DataFrame:
    """Errors of each group of images, or of each bin.

    Args:
        labels: What tells them apart, (N,).
        target: Concentrations (N,).
        error: Errors (N,).
        scale: Of the concentrations.

    Returns:
        Indexed by label, sorted: `count`, mean `target`, `bias` (mean of predicted minus measured), `sd` of the errors
        (NaN for one image) and `rmse`.
    """
    frame = pd.DataFrame({"label": labels, "target": scale.together(target, labels), "error": error})
    frame["square"] = frame["error"] ** 2
    grouped = frame.groupby("label", sort=True)
    return pd.DataFrame(
        {
            "count": grouped.size(),
            "target": grouped["target"].mean().transform(scale.home),
            "bias": grouped["error"].mean(),
            "sd": grouped["error"].std(ddof=1),
            "rmse": np.sqrt(grouped["square"].mean()),
        }
    )


@dataclass(frozen=True)
class Reliability:
    """Classes of confidence: how many images (C,), their mean confidence and their share of hits (NaN where empty).

    `expected_error` is the expected calibration error: the mean over images of the distance between the two.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    expected_error: float


def reliability(probabilities: np.ndarray, true_bin: np.ndarray, classes: int = 10) -> Reliability:
    """Are the likeliest bins right as often as their probabilities say?

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3, with `classes` intervals (l, r] of
    equal width.

    Args:
        probabilities: Of each bin, (N,K).
        true_bin: Index of the bin in which the concentration lies, (N,).
        classes: Number of intervals between 0 and 1.
    """
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == true_bin
    inner = np.linspace(0, 1, classes + 1)[1:-1]
    which = np.searchsorted(inner, confidence, side="left")
    count = np.bincount(which, minlength=classes)
    with np.errstate(invalid="ignore"):  # an empty class is 0 / 0: NaN
        mean = np.bincount(which, confidence, classes) / count
        accuracy = np.bincount(which, hit, classes) / count
    expected = float(np.nansum(count * np.abs(mean - accuracy)) / len(confidence))
    return Reliability(count, mean, accuracy, expected)
