"""Training as a user asks for it: where specimens are few, from all of them, with figures from folds.

A test set of four specimens tells little, and what it holds teaches nothing. So every photograph is read once by
models that have not seen its specimen, which gives the figures, and the models of all folds are handed out as one.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np

from twostage import orchestrator
from twostage.bins import Bins
from twostage.evaluation.remarks import judged
from twostage.options.run import Config
from twostage.run.data import load_data, load_photos
from twostage.run.folder import RunFolder
from twostage.run.start import load_start, try_networks
from twostage.stages.left_out import FEW
from twostage.studies.cross_validation import FOLDS, cross_validate
from twostage.training.distributed import from_first_process, join_processes

__all__ = ["train"]

log = logging.getLogger("twostage")


def train(config: Config) -> dict[str, Any]:
    """Train both stages, combine them and evaluate; returns the content of metrics.json.

    With ``train.final=part`` the figures are of a test set, opened once. With ``folds`` and ``all`` they are of folds,
    which are trained first, a cross-validation of its own in the folder NAME_folds: ``folds`` hands out the mean of
    their models, ``all`` one model of all photographs. Where start=auto finds that the start that ships fits, there
    are two cross-validations, with it and without, and the better one is taken.

    Raises:
        RunError: The run was made with other options, or with other photographs or concentrations.
    """
    join_processes()
    config.run = from_first_process(config.run)  # its default is the time, which differs
    config.train.final = _final(config)
    if config.train.final in ("auto", "part"):
        return orchestrator.train(config)
    data = load_data(config)
    try_networks(config, RunFolder.named(config.run))  # what cannot be is said now, not after the folds
    starts = ["scenes", "none"] if config.start == "auto" and load_start(config) is not None else [config.start]
    starts = starts[:1] if config.train.epochs == 0 else starts  # closed forms alone cannot begin with nothing
    count = config.split.folds or min(FOLDS, len(np.unique(data.specimens)))
    log.info(
        "train.final=%s: %d trainings, %d folds: models read every photograph that have not seen its specimen%s",
        *(config.train.final, count * len(starts), count),
        ", with the start that ships and without; the better is taken" if len(starts) > 1 else "",
    )
    studies = [_folds(config, start, count, data.bins) for start in starts]
    rmse = [judged(study.read_metrics(), "rmse") for study in studies]
    if len(starts) > 1:
        log.info("RMSE over the folds: %.4g with the start, %.4g without", *rmse)
    chosen = int(np.argmin(rmse))
    config.start, study = starts[chosen], studies[chosen]
    return orchestrator.train(config, [RunFolder(study.path / f"fold_{fold}") for fold in range(count)])


def _folds(config: Config, start: str, count: int, bins: Bins) -> RunFolder:
    """The cross-validation with one start: a study of its own beside the run, with the bins of all photographs."""
    folds = copy.deepcopy(config)
    folds.run, folds.start, folds.train.final = f"{RunFolder.named(config.run)}_folds_{start}", start, "part"
    folds.run = folds.run.removesuffix(f"_{config.start}")  # where there is only one
    folds.split.calibration, folds.intervals.method = 0.0, "none"  # intervals come of the folds themselves
    folds.split.folds = count
    folds.bins.edges, folds.bins.min_images, folds.bins.min_groups = bins.edges.tolist(), 0, 0
    cross_validate(folds)
    return RunFolder.named(folds.run)


def _final(config: Config) -> str:
    """What train.final=auto means for these photographs, or meant when the run began."""
    if config.train.final != "auto":
        return config.train.final
    folder = RunFolder.named(config.run)
    if folder.config.is_file():
        return folder.saved_config().train.final
    chosen = config.split.column or config.data.split_column or config.split.folds or config.train.epochs == 0
    if chosen or config.split.sealed or not config.data.are_files:
        return "auto"
    table = load_photos(config).table
    specimens = len(table) if table.groups is None else len(np.unique(table.groups))
    return "folds" if not table.split_column and specimens < FEW else "auto"
