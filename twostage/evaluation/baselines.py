"""What can be had without a network: statistics of the photograph's colours and a ridge regression."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["color_ridge", "color_statistics"]

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95)


def color_statistics(pixels: Iterable[np.ndarray]) -> np.ndarray:
    """60 numbers per photograph, uint8 (N,H,W,3) -> float64 (N,60).

    Mean, standard deviation and 8 percentiles of each channel, of sRGB and of its logarithm, over the whole image.
    """
    rows = []
    for photo in pixels:
        srgb = photo.reshape(-1, 3).astype(np.float64) / 255.0
        values = np.concatenate([srgb, -np.log10(np.maximum(srgb, 1 / 255))], axis=1)
        spread = np.percentile(values, PERCENTILES, axis=0)
        rows.append(np.concatenate([values.mean(0), values.std(0), spread.ravel()]))
    return np.array(rows)


def color_ridge() -> Pipeline:
    """Ridge regression over standardised colour statistics; its penalty is chosen by leave-one-out on the fit data."""
    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-4, 4, 25)))
