"""What can be had without a network: statistics of the photograph's colours and an ordinary regression over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from twostage.scale import Scale

__all__ = ["BASELINES", "color_ridge", "color_statistics", "on_scale"]

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95)
LEAST_SPREAD = 0.003
"""Standard deviation below which a statistic says nothing: about a grey level, of a scale from 0 to 1."""

_SRGB = np.arange(256) / 255.0
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
_DENSITY = -np.log10(np.maximum(_LINEAR, _LINEAR[1]))
_TO_XYZ = np.array(  # IEC 61966-2-1, each row divided by the white point D65
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array([[0.95047], [1.0], [1.08883]])


def color_statistics(pixels: Iterable[np.ndarray]) -> np.ndarray:
    """90 numbers per photograph, uint8 (N,H,W,3) -> float64 (N,90).

    Mean, standard deviation and 8 percentiles, over the whole image, of each channel of sRGB, of CIE 1976 L*a*b*
    (divided by 100, D65) and of optical density.
    """
    rows = []
    for photo in pixels:
        channels = photo.reshape(-1, 3).T  # a row per channel, so that sorting one is fast
        values = np.concatenate([_SRGB[channels], _lab(_LINEAR[channels]), _DENSITY[channels]])
        spread = np.percentile(values, PERCENTILES, axis=1)
        rows.append(np.concatenate([values.mean(1), values.std(1), spread.ravel()]))
    return np.array(rows)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* over 100 of linear light, both (3,N)."""
    xyz = _TO_XYZ @ linear
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)])


class _Standardized(StandardScaler):
    """Standardised statistics, but none is enlarged that hardly varies: in another photograph it may."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> _Standardized:
        super().fit(X, y, sample_weight)
        self.scale_: np.ndarray = np.maximum(np.sqrt(self.var_), LEAST_SPREAD)
        return self


def color_ridge() -> Pipeline:
    """Ridge regression over standardised colour statistics; its penalty is chosen by leave-one-out on the fit data."""
    return make_pipeline(_Standardized(), RidgeCV(alphas=np.logspace(-4, 4, 25)))


def on_scale(regressor: Any, scale: Scale) -> Any:
    """A regression for places on the scale: on a circle it learns sine and cosine, each by itself.

    >>> from twostage.scale import Circular
    >>> mean = on_scale(DummyRegressor(), Circular(360, 0))
    >>> mean.fit(np.zeros((2, 1)), np.array([350.0, 30.0])).predict(np.zeros((1, 1))).round(6).tolist()
    [10.0]
    """
    if scale.period is None:
        return regressor

    def arrows(places: np.ndarray) -> np.ndarray:
        return scale.code(places[:, 0])

    both = MultiOutputRegressor(regressor)
    return TransformedTargetRegressor(both, func=arrows, inverse_func=scale.decoded, check_inverse=False)


BASELINES: dict[str, Callable[[int], Any]] = {
    "mean": lambda seed: DummyRegressor(),
    "ridge": lambda seed: color_ridge(),
    "boosting": lambda seed: GradientBoostingRegressor(max_features="sqrt", random_state=seed),
    "extra_trees": lambda seed: ExtraTreesRegressor(300, n_jobs=-1, random_state=seed),
}
"""Regressions over colour statistics by name, made from a seed; "mean" looks at the training targets alone."""
