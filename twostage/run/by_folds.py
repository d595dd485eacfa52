"""Folds as a run: every photograph read once by models that have not seen its specimen, and all models as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twostage.data.splits import read_names
from twostage.errors import RunError
from twostage.model_folder import load_model, weights_name
from twostage.options.choices import METHODS
from twostage.predictor import Predictor
from twostage.run.folder import RunFolder
from twostage.run.preparation import Prepared
from twostage.stages.ensemble import Ensemble
from twostage.trust.prediction import Prediction

__all__ = ["Fold", "ReadByFolds", "join_folds", "read_by_folds"]

Fold = Sequence[RunFolder]
"""Finished runs with the same test set."""


@dataclass(frozen=True)
class ReadByFolds:
    """Rows (N,) of all photographs, what was read of each, and of which photographs each fold had learned."""

    rows: np.ndarray
    prediction: Prediction
    learned: list[tuple[np.ndarray, np.ndarray]]
    """For each fold the rows that it has learned from, and those that it has read."""


def read_by_folds(prepared: Prepared, folds: Sequence[Fold]) -> ReadByFolds:
    """Read the photographs of every fold's test set with the mean of its models.

    Raises:
        RunError: The folds are of other photographs.
    """
    place = {image: row for row, image in enumerate(prepared.photos.table.images)}
    parts, learned = [], []
    for fold in folds:
        splits = read_names(fold[0].splits)
        splits = splits[splits["split"] != "skipped"]
        if set(splits["image"]) != set(place):
            parent = fold[0].path.parent
            raise RunError(f"{fold[0]} was made of other photographs: delete {parent}, or choose another run=NAME")
        rows = np.array([place[image] for image in splits["image"]])
        tested = splits["split"].to_numpy() == "test"
        models = [load_model(run.path, prepared.device) for run in fold]
        members = [member for model in models for member in model.members]
        predictor = Predictor(replace(models[0], network=Ensemble(members)))
        parts.append(predictor.read(prepared.pixels(rows[tested])))
        learned.append((rows[~tested], rows[tested]))
    read = np.concatenate([tested for _, tested in learned])
    order = np.argsort(read)
    return ReadByFolds(read[order], Prediction.joined(parts).select(order), learned)


def join_folds(prepared: Prepared, folds: Sequence[Fold]) -> int:
    """Let the models of all folds be the model of the run, one beside the other; returns how many there are."""
    runs = [run for fold in folds for run in fold]
    for member, run in enumerate(runs):
        for stage in METHODS[prepared.config.method]:
            weights = run.weights(stage).read_bytes()
            prepared.folder.write(prepared.folder.model / weights_name(stage, member), weights)
    return len(runs)
