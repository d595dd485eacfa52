"""Train one stage of a prepared run: what it starts from, how it is trained, what it leaves in the run's folder."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twostage.data.color import to_color
from twostage.data.store import Pixels
from twostage.errors import RunError
from twostage.files import write_json
from twostage.model_folder import load_weights, save_weights
from twostage.options.run import Config
from twostage.run.folder import weights_file
from twostage.run.length import with_length
from twostage.run.preparation import Prepared, spread
from twostage.run.start import initialize
from twostage.stages.build import build_classifier, build_regressor, starts_from_own_weights, warm_start
from twostage.stages.classifier import Classifier, fit_temperature
from twostage.stages.refit import Seen, refit_classifier, refit_regressor
from twostage.stages.regressor import Regressor
from twostage.stages.two_stage import different_views, to_srgb
from twostage.training.checkpoint import Checkpoint
from twostage.training.course import Course
from twostage.training.distributed import from_first_process, is_first_process, mean_of_batch, process_count
from twostage.training.fit import fit
from twostage.training.precision import Plan, choose_plan

__all__ = ["plans_of", "train_classifier_stage", "train_regressor_stage"]

log = logging.getLogger("twostage")

MOST_COLUMNS = 2048
"""Longer pooled vectors (pooling=flatten) are not refitted: more columns than photographs, and minutes to solve."""
MOST_ROWS = 10_000
"""Of so many training photographs the last layer is solved."""


def plans_of(folder: Path) -> dict[str, str]:
    """Number format and layout with which each stage of a run was trained."""
    return {file.parent.name: str(Plan(**json.loads(file.read_text()))) for file in sorted(folder.glob("*/plan.json"))}


def train_classifier_stage(prepared: Prepared) -> None:
    """Train the classifier, fit its temperature and write its weights, unless they are there."""
    config, bins = prepared.config, prepared.bins
    if weights_file(prepared.folder, "classifier").is_file():
        return
    classifier = build_classifier(config, bins)
    initialize(classifier.network, config, "classifier", *prepared.normalization(), prepared.start)
    targets = classifier.targets(prepared.photos.table.targets, bins, config.classifier.smoothing)
    _fit(classifier, "classifier", targets, prepared)
    if is_first_process():
        _refit(classifier, "classifier", prepared)
        validation = prepared.examples("validation", targets)
        logits = _logits(classifier, validation.pixels, prepared)
        classifier.temperature.fill_(fit_temperature(logits, validation.targets.numpy()))
    _finish(classifier, "classifier", prepared)


def train_regressor_stage(prepared: Prepared) -> None:
    """Train the regressor, from the classifier's weights if so wished, and write its own, unless they are there."""
    config, bins = prepared.config, prepared.bins
    if weights_file(prepared.folder, "regressor").is_file():
        return
    regressor = build_regressor(config, bins)
    initialize(regressor.network, config, "regressor", *prepared.normalization(), prepared.start)
    if config.method == "two_stage" and config.regressor.warm_start:
        classifier = build_classifier(config, bins)
        load_weights(weights_file(prepared.folder, "classifier"), classifier)
        for name in warm_start(regressor, classifier, keep_backbone=starts_from_own_weights(config)):
            log.warning("regressor.warm_start: the stages differ in %s, which starts from scratch", name)
    targets = regressor.targets(prepared.photos.table.targets, bins, config.regressor.overlap)
    _fit(regressor, "regressor", targets, prepared)
    if is_first_process():
        _refit(regressor, "regressor", prepared)
    _finish(regressor, "regressor", prepared)


def _is_refitted(stage: Classifier | Regressor, config: Config) -> bool:
    return config.train.refit and stage.network.pooled_width <= MOST_COLUMNS


def _refit(stage: Classifier | Regressor, name: str, prepared: Prepared) -> None:
    """Solve the last layer from what it sees of the training photographs, or of so many of them as make it certain."""
    config, bins = prepared.config, prepared.bins
    if not _is_refitted(stage, config):
        return
    begin = time.perf_counter()
    # where the regressor goes on to train, more views for the classifier are not worth their time
    views = 1 if name == "classifier" and config.method == "two_stage" else config.combine.views
    rows = spread(prepared.part("train"), MOST_ROWS), prepared.part("validation")
    train, validation = (_seen(stage, part, views, prepared) for part in rows)
    if isinstance(stage, Classifier):
        what, errors = "cross entropy", refit_classifier(stage, bins, train, validation)
    else:
        what, errors = "RMSE", refit_regressor(stage, bins, config.regressor.overlap, train, validation)
    seconds = time.perf_counter() - begin
    write_json(prepared.folder / name / "refit.json", {"seconds": seconds, "before": errors[0], "after": errors[1]})
    log.info("%s: last layer solved in %.0f s, validation %s %.4g to %.4g", name, seconds, what, *errors)


def _seen(stage: Classifier | Regressor, rows: np.ndarray, views: int, prepared: Prepared) -> Seen:
    table = prepared.photos.table
    groups = None if table.groups is None else table.groups[rows]
    return Seen(_pooled(stage, rows, views, prepared), table.targets[rows], groups)


@torch.no_grad()
def _pooled(stage: Classifier | Regressor, rows: np.ndarray, views: int, prepared: Prepared) -> np.ndarray:
    """Pooled vectors (N,P) of photographs, averaged over so many views."""
    stage.eval()
    pixels, found = prepared.pixels(rows), []
    for start in range(0, len(pixels), 64):
        images = to_color(to_srgb(pixels[start : start + 64], prepared.device), prepared.config.image.color)
        seen = different_views(images, [stage.network], views)
        found.append(torch.stack([stage.network.pooled(view).double() for view in seen]).mean(0).cpu().numpy())
    return np.concatenate(found)


def _fit(stage: Classifier | Regressor, name: str, targets: Tensor, prepared: Prepared) -> None:
    config, folder = prepared.config, prepared.folder / name
    course = Course(
        config.train,
        epochs=1,
        label=name,
        color=config.image.color,
        augmentation=config.augment,
        seed=config.seed,
        device=prepared.device,
        plan=from_first_process(_plan(stage, targets, prepared, folder) if is_first_process() else None),
        progress=config.runtime.progress,
        checkpoint_seconds=config.runtime.checkpoint_seconds,
        keep_last=_is_refitted(stage, config) and not config.train.patience,
    )
    if isinstance(stage, Regressor) and course.keep_last:  # after the plan, which one process measures alone
        stage.mean_of_batch = mean_of_batch
    train, validation = prepared.examples("train", targets), prepared.examples("validation", targets)
    course = with_length(course, stage, train, validation, prepared)
    fit(stage, train, validation, course, Checkpoint(folder, prepared.identity(), force=config.resume == "force"))


def _plan(stage: torch.nn.Module, targets: Tensor, prepared: Prepared, folder: Path) -> Plan:
    """As the run began, or else as is fastest here."""
    path, config = folder / "plan.json", prepared.config
    if path.is_file():
        try:
            plan = Plan(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error}): delete it, and the choice is made again") from error
        if config.runtime.precision in ("auto", plan.precision) or config.resume == "force":
            return plan
        raise RunError(
            f"run '{config.run}' was begun with runtime.precision={plan.precision}, now it is "
            f"{config.runtime.precision}: leave it at auto, choose another run=NAME, or say resume=force"
        )
    rows = prepared.part("train")[: max(1, config.train.batch_size // process_count())]
    images = to_color(to_srgb(prepared.pixels(rows)[:], prepared.device), config.image.color)
    memory = prepared.photos.store.path.parent / "plans.json"
    measured = stage.to(prepared.device)
    plan = choose_plan(measured, images, targets[rows].to(prepared.device), config.runtime.precision, memory)
    write_json(path, asdict(plan))
    return plan


def _finish(stage: torch.nn.Module, name: str, prepared: Prepared) -> None:
    """Write the weights of a stage, which ends it; the other processes wait for them."""
    if is_first_process():
        Checkpoint(prepared.folder / name).forget_earlier()
        save_weights(weights_file(prepared.folder, name), stage)
    from_first_process(None)


@torch.no_grad()
def _logits(classifier: Any, pixels: Pixels, prepared: Prepared) -> np.ndarray:
    classifier.eval()
    found = []
    for start in range(0, len(pixels), 64):
        images = to_color(to_srgb(pixels[start : start + 64], prepared.device), prepared.config.image.color)
        found.append(classifier(images).cpu())
    return torch.cat(found).numpy()
