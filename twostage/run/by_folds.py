"""Every photograph read once, by the model of a fold that has not seen its specimen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twostage.data.splits import read_names
from twostage.errors import RunError
from twostage.model_folder import load_model
from twostage.predictor import Predictor
from twostage.run.folder import RunFolder
from twostage.run.preparation import Prepared
from twostage.trust.prediction import Prediction

__all__ = ["ReadByFolds", "read_by_folds"]


@dataclass(frozen=True)
class ReadByFolds:
    """Rows (N,) of all photographs, what was read of each, and of which photographs each fold had learned."""

    rows: np.ndarray
    prediction: Prediction
    learned: list[tuple[np.ndarray, np.ndarray]]
    """For each fold the rows that it has learned from, and those that it has read."""


def read_by_folds(prepared: Prepared, folds: Sequence[RunFolder]) -> ReadByFolds:
    """Read the photographs of every fold's test set with its model.

    Raises:
        RunError: The folds are of other photographs.
    """
    place = {image: row for row, image in enumerate(prepared.photos.table.images)}
    parts, learned = [], []
    for fold in folds:
        splits = read_names(fold.splits)
        splits = splits[splits["split"] != "skipped"]
        if set(splits["image"]) != set(place):
            raise RunError(
                f"{fold} was made of other photographs: delete {fold.path.parent}, or choose another run=NAME"
            )
        rows = np.array([place[image] for image in splits["image"]])
        tested = splits["split"].to_numpy() == "test"
        predictor = Predictor(load_model(fold.path, prepared.device))
        parts.append(predictor.read(prepared.pixels(rows[tested])))
        learned.append((rows[~tested], rows[tested]))
    read = np.concatenate([tested for _, tested in learned])
    order = np.argsort(read)
    return ReadByFolds(read[order], Prediction.joined(parts).select(order), learned)
