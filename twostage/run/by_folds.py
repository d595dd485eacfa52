"""Folds as a run: every photograph read once by models that have not seen its specimen, and all models as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twostage.data.splits import read_names
from twostage.errors import RunError
from twostage.model_folder import load_model, weights_name
from twostage.options.choices import METHODS
from twostage.run.folder import RunFolder
from twostage.run.preparation import Prepared
from twostage.run.trusted import learn_by_folds
from twostage.stages.reading import Reading
from twostage.trust.prediction import Prediction
from twostage.trust.trust import Trust

__all__ = ["ReadByFolds", "join_folds", "read_by_folds"]


@dataclass(frozen=True)
class ReadByFolds:
    """Rows (N,) of all photographs, what was read of each, and of which photographs each fold had learned.

    `trust` is what all of them teach about how far the model may be believed; `views` is over how many views each was
    read, as combine.views says it.
    """

    rows: np.ndarray
    prediction: Prediction
    trust: Trust
    views: str
    learned: list[tuple[np.ndarray, np.ndarray]]
    """For each fold the rows that it has learned from, and those that it has read."""


def read_by_folds(prepared: Prepared, folds: Sequence[RunFolder]) -> ReadByFolds:
    """Read the photographs of every fold's test set with its model.

    Raises:
        RunError: The folds are of other photographs.
    """
    place = {image: row for row, image in enumerate(prepared.photos.table.images)}
    models = [load_model(fold.path, prepared.device) for fold in folds]
    config = max((model.config for model in models), key=lambda config: len(config.views))
    readings, learned = [], []
    for fold, model in zip(folds, models, strict=True):
        splits = read_names(fold.splits)
        splits = splits[splits["split"] != "skipped"]
        if set(splits["image"]) != set(place):
            parent = fold.path.parent
            raise RunError(f"{fold} was made of other photographs: delete {parent}, or choose another run=NAME")
        rows = np.array([place[image] for image in splits["image"]])
        tested = splits["split"].to_numpy() == "test"
        readings.append(model.network.read(prepared.pixels(rows[tested]), views=config.views))
        learned.append((rows[~tested], rows[tested]))
    read = np.concatenate([tested for _, tested in learned])
    order = np.argsort(read)
    reading = Reading(*(np.concatenate(said)[order] for said in zip(*readings, strict=True)))
    places = [np.searchsorted(read[order], tested) for _, tested in learned]
    trust, prediction = learn_by_folds(prepared, read[order], reading, places)
    return ReadByFolds(read[order], prediction, trust, config.combine.views, learned)


def join_folds(prepared: Prepared, folds: Sequence[RunFolder]) -> int:
    """Let the models of all folds be the model of the run, one beside the other; returns how many there are."""
    for member, fold in enumerate(folds):
        for stage in METHODS[prepared.config.method]:
            weights = fold.weights(stage).read_bytes()
            prepared.folder.write(prepared.folder.model / weights_name(stage, member), weights)
    return len(folds)
