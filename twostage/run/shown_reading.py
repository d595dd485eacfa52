"""The test photograph that a run's report shows as the model reads it, with the masks it looks through."""

from __future__ import annotations

import numpy as np

from twostage.data.store import Pixels
from twostage.predictor import Predictor
from twostage.report.reading_figure import ShownReading

__all__ = ["shown_reading"]


def shown_reading(predictor: Predictor, pixels: Pixels, errors: np.ndarray) -> ShownReading | None:
    """The photograph of the median absolute error, of those (N,H,W,3) whose errors (N,) are given.

    None where the model has no masks.
    """
    if not len(errors):
        return None
    row = int(np.argsort(np.abs(errors), kind="stable")[len(errors) // 2])
    photograph = np.asarray(pixels[row : row + 1])
    masks = predictor.masks(photograph)
    return None if masks is None else ShownReading(photograph[0], masks[0], row)
