"""What a run learns about whether its numbers may be believed, from photographs that nothing else has learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twostage.options.run import Config
from twostage.predictor import Predictor
from twostage.run.preparation import Prepared, spread
from twostage.stages.build import build_limits
from twostage.stages.reading import Reading
from twostage.trust.intervals import specimens_needed
from twostage.trust.prediction import Prediction, predict
from twostage.trust.trust import Judged, Trust
from twostage.trust.typicality import Typicality

__all__ = ["learn_by_folds", "learn_trust", "settings_of"]

MOST_DESCRIBED = 4000
"""Photographs from which it is learned what the training's look like; more change nothing."""


def settings_of(config: Config) -> Trust:
    """Trust that has not learned anything."""
    given = config.intervals
    return Trust(
        method=given.method,
        unlike=config.trust.unlike,
        confidence=given.confidence,
        max_width=given.max_width,
        false_alarm=config.trust.false_alarm,
    )


def learn_trust(prepared: Prepared, predictor: Predictor) -> Trust:
    """From the training photographs what they look like, from the calibration photographs how wrong readings are."""
    learned = np.flatnonzero(np.isin(prepared.parts, ["train", "validation"]))
    learned = spread(learned, MOST_DESCRIBED)
    typicality, _ = Typicality.fit(
        prepared.pixels(learned), prepared.specimens[learned], prepared.config.trust.false_alarm
    )
    trust, rows = settings_of(prepared.config).knowing(typicality), prepared.part("calibration")
    if not len(rows):
        return trust
    reading = predictor.model.network.read(prepared.pixels(rows), views=predictor.model.config.views)
    found = judged(prepared, rows, reading, typicality.distance(prepared.pixels(rows)))
    return trust.fitted(prepared.bins, found, prepared.config.combine.method)


def learn_by_folds(
    prepared: Prepared, rows: np.ndarray, reading: Reading, folds: Sequence[np.ndarray]
) -> tuple[Trust, Prediction]:
    """From photographs that were each read by models that have not seen its specimen.

    Args:
        rows: Of the photographs, (N,).
        reading: What the models of its fold say of each.
        folds: Of each fold, which of the photographs it has read: places in `rows`.

    Returns:
        What goes with the model, of all photographs; and the predictions of the photographs, those of each fold by what
        the others teach.
    """
    config, settings = prepared.config, settings_of(prepared.config)
    limits = build_limits(config, prepared.bins)
    specimens, parts = prepared.specimens[rows], []
    left = min(len(np.unique(np.delete(specimens, fold))) for fold in folds)
    if left < specimens_needed(settings.confidence):  # then each specimen by all others
        folds = [np.flatnonzero(specimens == one) for one in np.unique(specimens)]
    for fold in folds:
        others = np.setdiff1d(np.arange(len(rows)), fold)
        trust = _of_read(prepared, settings, rows[others], reading[others])
        pixels = prepared.pixels(rows[fold])
        parts.append(predict(prepared.bins, pixels, reading[fold], config.combine.method, trust, limits=limits))
    order = np.argsort(np.concatenate(list(folds)))
    return _of_read(prepared, settings, rows, reading), Prediction.joined(parts).select(order)


def _of_read(prepared: Prepared, settings: Trust, rows: np.ndarray, reading: Reading) -> Trust:
    """From photographs that tell both what they look like, and how wrong readings are."""
    described = prepared.pixels(rows)
    typicality, distance = Typicality.fit(described, prepared.specimens[rows], settings.false_alarm)
    found = judged(prepared, rows, reading, distance)
    return settings.knowing(typicality).fitted(prepared.bins, found, prepared.config.combine.method)


def judged(prepared: Prepared, rows: np.ndarray, reading: Reading, distance: np.ndarray) -> Judged:
    """Photographs of known concentration with their reading; those of which it says nothing are left out."""
    said = np.isfinite(reading.probabilities).all(1) & np.isfinite(reading.offsets).all(1)
    found = Judged(reading, distance, prepared.photos.table.targets[rows], prepared.specimens[rows])
    return found[said]
