"""twostage: photo in, concentration out.

The public names are imported when first used, so that ``import twostage`` is quick and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Bins", "Prediction", "Predictor", "TwoStageRegressor", "load_config", "train"]
__version__ = "0.1.0"

_HOME = {
    "Bins": "twostage.bins",
    "Prediction": "twostage.trust.prediction",
    "Predictor": "twostage.predictor",
    "TwoStageRegressor": "twostage.estimator",
    "load_config": "twostage.options.compose",
    "train": "twostage.studies.final",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'twostage' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
