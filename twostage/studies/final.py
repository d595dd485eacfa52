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
from twostage.evaluation.remarks import judged
from twostage.options.run import Config
from twostage.run.data import load_data, load_photos
from twostage.run.folder import RunFolder
from twostage.run.start import load_start, try_networks
from twostage.stages.left_out import FEW
from twostage.studies.cross_validation import FOLDS, cross_validate

__all__ = ["takes_all", "train"]

log = logging.getLogger("twostage")


def train(config: Config) -> dict[str, Any]:
    """Train both stages, combine them and evaluate; returns the content of metrics.json.

    With ``train.final=part`` the figures are of a test set, opened once; with ``all`` of folds, which are trained first
    as a cross-validation of their own in the folder NAME_folds. Where start=auto finds that the start that ships fits,
    the folds are trained with it and without it, and the better of the two goes on.

    Raises:
        RunError: The run was made with other options, or with other photographs or concentrations.
    """
    if not takes_all(config):
        return orchestrator.train(config)
    config.train.final = "all"
    edges = load_data(config).bins.edges.tolist()
    try_networks(config, RunFolder.named(config.run))  # what cannot be is said now, not after the folds
    starts = ["scenes", "none"] if config.start == "auto" and load_start(config) is not None else [config.start]
    count = config.split.folds or FOLDS
    log.info(
        "train.final=all: %d folds are trained first, for the figures%s, then one model on all photographs",
        *(count, ", with the start that ships and without" if len(starts) > 1 else ""),
    )
    studies = {start: _folds(config, start, edges) for start in starts}
    config.start = min(starts, key=lambda start: judged(studies[start].read_metrics(), "rmse"))
    if len(starts) > 1:
        rmse = [judged(studies[start].read_metrics(), "rmse") for start in starts]
        log.info("start=scenes: RMSE %.4g over the folds, start=none: %.4g; start=%s it is", *rmse, config.start)
    study = studies[config.start].path
    return orchestrator.train(config, [RunFolder(study / f"fold_{fold}") for fold in range(count)])


def _folds(config: Config, start: str, edges: list[float]) -> RunFolder:
    """The cross-validation with one start: a study of its own beside the run, with the bins of all photographs."""
    folds = copy.deepcopy(config)
    folds.run, folds.start, folds.train.final = f"{RunFolder.named(config.run)}_folds_{start}", start, "part"
    folds.run = folds.run.removesuffix(f"_{config.start}")  # where there is only one
    folds.split.calibration, folds.intervals.method = 0.0, "none"  # intervals come of the folds themselves
    folds.bins.edges, folds.bins.min_images, folds.bins.min_groups = edges, 0, 0
    cross_validate(folds)
    return RunFolder.named(folds.run)


def takes_all(config: Config) -> bool:
    """Is the model to learn from all photographs? What train.final=auto means for them, or meant when the run began."""
    if config.train.final != "auto":
        return config.train.final == "all"
    folder = RunFolder.named(config.run)
    if folder.config.is_file():
        return folder.saved_config().train.final == "all"
    chosen = config.split.column or config.data.split_column or config.split.folds or config.train.epochs == 0
    if chosen or not config.data.are_files:
        return False
    table = load_photos(config).table
    specimens = len(table) if table.groups is None else len(np.unique(table.groups))
    return not table.split_column and specimens < FEW
