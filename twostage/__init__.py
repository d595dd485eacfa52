"""twostage: photo in, concentration out.

The public names are imported when first used, so that ``import twostage`` is quick and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for who checks types or looks names up in an editor
    from twostage.bins import Bins
    from twostage.engines.batch_reader import BatchReader
    from twostage.estimator import TwoStageRegressor
    from twostage.options.compose import load_config
    from twostage.predictor import Predictor
    from twostage.run.pushed import push
    from twostage.studies.final import train
    from twostage.trust.explanation import Explanation
    from twostage.trust.prediction import Prediction

__all__ = [
    "BatchReader",
    "Bins",
    "Explanation",
    "Prediction",
    "Predictor",
    "TwoStageRegressor",
    "load_config",
    "push",
    "train",
]
__version__ = "0.1.0"

_HOME = {
    "BatchReader": "twostage.engines.batch_reader",
    "Bins": "twostage.bins",
    "Explanation": "twostage.trust.explanation",
    "Prediction": "twostage.trust.prediction",
    "Predictor": "twostage.predictor",
    "TwoStageRegressor": "twostage.estimator",
    "load_config": "twostage.options.compose",
    "push": "twostage.run.pushed",
    "train": "twostage.studies.final",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'twostage' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
