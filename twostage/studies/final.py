"""Training as a user asks for it: where specimens are few, on all of them, with figures from folds.

A test set of four specimens tells little, and what it holds teaches nothing. So every photograph is read once by a
model that has not seen its specimen, which gives the figures, and the model that is handed out has seen them all.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np

from twostage import orchestrator
from twostage.options.run import Config
from twostage.run.data import load_data, load_photos
from twostage.run.folder import RunFolder
from twostage.stages.left_out import FEW
from twostage.studies.cross_validation import FOLDS, cross_validate

__all__ = ["train"]

log = logging.getLogger("twostage")


def train(config: Config) -> dict[str, Any]:
    """Train both stages, combine them and evaluate; returns the content of metrics.json.

    With ``train.final=part`` the figures are of a test set, opened once; with ``all`` of folds, which are trained first
    as a cross-validation of its own in the folder NAME_folds.

    Raises:
        RunError: The run was made with other options, or with other photographs or concentrations.
    """
    config.train.final = _final(config)
    if config.train.final != "all":
        return orchestrator.train(config)
    count = config.split.folds or FOLDS
    log.info("train.final=all: %d folds are trained first, for the figures, then one model on all photographs", count)
    folds = copy.deepcopy(config)
    folds.run, folds.train.final = f"{RunFolder.named(config.run)}_folds", "part"
    folds.split.calibration, folds.intervals.method = 0.0, "none"  # intervals come of the folds themselves
    folds.bins.edges, folds.bins.min_images, folds.bins.min_groups = load_data(config).bins.edges.tolist(), 0, 0
    cross_validate(folds)
    runs = [RunFolder.named(f"{folds.run}/fold_{fold}") for fold in range(count)]
    return orchestrator.train(config, runs)


def _final(config: Config) -> str:
    """What train.final=auto means for these photographs."""
    if config.train.final != "auto":
        return config.train.final
    chosen = config.split.column or config.data.split_column or config.split.folds or config.train.epochs == 0
    if chosen or not config.data.are_files:
        return "part"
    table = load_photos(config).table
    specimens = len(table) if table.groups is None else len(np.unique(table.groups))
    return "part" if table.split_column or specimens >= FEW else "all"
