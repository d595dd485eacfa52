"""Training of one stage of a run: start, course, last layer, weights."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostage.errors import RunError
from twostage.options.choices import METHODS
from twostage.options.run import Config
from twostage.run.folder import RunFolder
from twostage.run.length import epochs_of_stages, with_length
from twostage.run.preparation import Prepared, spread
from twostage.run.start import initialize
from twostage.stages.aligned import AlignedRegressor
from twostage.stages.build import build_classifier, build_stage, is_refitted, starts_from_own_weights, warm_start
from twostage.stages.classifier import Classifier
from twostage.stages.encoded import Encoded
from twostage.stages.left_out import few_rows
from twostage.stages.reading import BATCH, batches, different_views
from twostage.stages.refit import Seen
from twostage.stages.stage import Stage
from twostage.stages.two_stage import TwoStage
from twostage.stages.weights import load_weights, save_weights
from twostage.training.checkpoint import Checkpoint
from twostage.training.course import Course
from twostage.training.distributed import once, process_count
from twostage.training.fit import fit
from twostage.training.precision import Plan, choose_plan
from twostage.training.progress import history_table

__all__ = ["plans_of", "train_stage"]

log = logging.getLogger("twostage")

MOST_ROWS = 10_000
"""Of so many training photographs the last layer is solved."""
MOST_ROWS_OF_FEW = 600
"""Where specimens are few: of so many, as many of each specimen; others are nearly the same."""
NEARLY = 1.1
"""One view is nearly as good as all if its error is at most so many times as large."""
WORTH_MEASURING = 2000
"""Photographs to show, from which on it is measured how they are shown fastest; that takes as long as some thousand."""
GENTLE = 1 / 3
"""Share of the learning rate with which few specimens change a network that has been taught already."""


def plans_of(folder: RunFolder) -> dict[str, str]:
    """Number format and layout with which each stage of a run was trained."""
    return {name: str(Plan(**json.loads(folder.stage(name).plan.read_text()))) for name in folder.stages()}


def train_stage(name: str, prepared: Prepared, tell: Callable[[float], None]) -> None:
    """Train a stage, solve its last layer and write its weights, unless they are there; `tell` as in `Course`."""
    config = prepared.config
    if prepared.folder.weights(name).is_file():
        return
    stage = build_stage(name, config, prepared.bins)
    if isinstance(stage, AlignedRegressor):
        stage.follow(_guide(prepared))
    initialize(stage.network, config, name, *prepared.normalization(), prepared.start)
    warm = name != METHODS[config.method][0] and config.regressor.warm_start
    if warm:
        _start_warm(stage, prepared)
    solved = is_refitted(stage.network, config)
    begun = warm and not isinstance(stage, AlignedRegressor)  # whose readout tells something else
    if solved and prepared.gently and (not begun or config.train.epochs == 0):
        _solve_first(stage, prepared)
    stage.solved_later = solved and not prepared.gently and not config.train.patience
    _fit(stage, prepared, tell)
    _finish(stage, prepared)


def _start_warm(regressor: Stage, prepared: Prepared) -> None:
    """Let the regressor start where the classifier ended."""
    classifier = _trained_classifier(prepared)
    for name in warm_start(regressor, classifier, keep_backbone=starts_from_own_weights(prepared.config)):
        log.warning("regressor.warm_start: the stages differ in %s, which starts from scratch", name)


def _guide(prepared: Prepared) -> Callable[[Tensor], Tensor]:
    """What the classifier says of images (N,C,H,W), (N,K), to a stage that is shown them as it says."""
    classifier = _trained_classifier(prepared).to(prepared.device).eval()
    return lambda images: classifier.probabilities(images.to(torch.float32))


def _trained_classifier(prepared: Prepared) -> Classifier | Encoded:
    classifier = build_classifier(prepared.config, prepared.bins.moved())
    load_weights(prepared.folder.weights("classifier"), classifier)
    return classifier


def _fit(stage: Stage, prepared: Prepared, tell: Callable[[float], None]) -> None:
    config, folder = prepared.config, prepared.folder.stage(stage.name)
    rate = config.train.learning_rate * (GENTLE if prepared.gently else 1)
    prepared.threads.begin()
    course = Course(
        replace(config.train, learning_rate=rate),
        epochs=1,
        label=stage.name,
        color=config.image.color,
        augmentation=config.augment,
        seed=config.seed,
        device=prepared.device,
        plan=_plan(stage, prepared),
        progress=config.runtime.progress,
        checkpoint_seconds=config.runtime.checkpoint_seconds,
        keep_last=stage.solved_later or prepared.gently,
        tell=tell,
        threads=prepared.threads,
    )
    train, validation = prepared.examples("train", stage), prepared.examples("validation", stage)
    course = with_length(course, stage, train, validation, prepared)
    if not course.epochs:
        prepared.folder.write(folder.history, history_table([]))
        return
    fit(stage, train, validation, course, Checkpoint(folder.path, prepared.identity(), force=config.resume == "force"))
    prepared.threads.end()


@once
def _plan(stage: Stage, prepared: Prepared) -> Plan:
    """As the run began, or else as is fastest here; where so little is shown that it would not pay, unmeasured."""
    path, config = prepared.folder.stage(stage.name).plan, prepared.config
    if path.is_file():
        return _begun_with(path, config)
    shown = epochs_of_stages(prepared)[stage.name == "regressor"] * len(prepared.training_rows)
    if config.runtime.precision != "bfloat16" and not config.train.minutes and shown < WORTH_MEASURING:
        plan = Plan()
        prepared.folder.write_json(path, asdict(plan))
        return plan
    rows = prepared.training_rows[: max(1, config.train.batch_size // process_count())]
    images = torch.cat(list(batches(prepared.pixels(rows), config.image.color, prepared.device)))
    memory = prepared.photos.store.path.parent / "plans.json"
    measured = stage.to(prepared.device)
    targets = stage.targets(prepared.learned_targets[rows]).to(prepared.device)
    plan = choose_plan(measured, images, targets, config.runtime.precision, memory)
    prepared.folder.write_json(path, asdict(plan))
    return plan


def _begun_with(path: Path, config: Config) -> Plan:
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


@once
def _finish(stage: Stage, prepared: Prepared) -> None:
    """Solve what is solved in the end, and write the weights of a stage, which ends it."""
    solved = is_refitted(stage.network, prepared.config)
    if solved and not prepared.gently:
        _over_views(_refit, stage, prepared)
    elif not solved and prepared.config.combine.views == "auto":
        log.info("%s: its last layer is not solved, so combine.views=auto means 8", stage.name)
    if not (solved and prepared.gently):  # else what was left out has settled it
        validation, color = prepared.part("validation"), prepared.config.image.color
        images = batches(prepared.pixels(validation), color, prepared.device)
        stage.settle(images, prepared.learned_targets[validation])
    Checkpoint(prepared.folder.stage(stage.name).path).forget_earlier()
    save_weights(prepared.folder.weights(stage.name), stage)


def _solve_first(stage: Stage, prepared: Prepared) -> None:
    """Let the readout begin where closed forms over the start's features lead; all processes at the same place."""
    path = prepared.folder.stage(stage.name).solved
    if not path.is_file():
        once(_over_views)(_solve_few, stage, prepared)
        once(save_weights)(path, stage)
    load_weights(path, stage)


Solve = Callable[[Stage, Prepared, Sequence[int]], dict[str, float]]
"""Solves the last layer for views and tells the "seconds" and the "error" that is left; {} where nothing is solved."""


def _over_views(solve: Solve, stage: Stage, prepared: Prepared) -> None:
    """Solve the last layer for the views over which it is to be read.

    With combine.views=auto these are all, or the first alone where it is read nearly as well: what was solved for the
    mean of eight views reads a single one badly, what was solved for single ones does not.
    """
    config = prepared.config
    last = stage.name == METHODS[config.method][-1]
    # where another stage goes on to train from this one, more views are not worth their time
    views = different_views([stage.network], config.views if last else (0,))
    found = solve(stage, prepared, views) | {"views": len(views)}
    if last and config.combine.views == "auto" and len(views) > 1 and "error" in found:
        for_all = {name: value.clone() for name, value in stage.state_dict().items()}
        alone = solve(stage, prepared, (0,)) | {"views": 1}
        near = alone["error"] <= NEARLY * found["error"]
        said = (stage.name, alone["error"], len(views), found["error"], "one" if near else "all")
        log.info("%s: one view %.4g, %d views %.4g: it will read with %s", *said)
        if not near:
            stage.load_state_dict(for_all)
        found = (alone if near else found) | {"seconds": found["seconds"] + alone["seconds"]}
    if "error" in found:
        prepared.folder.write_json(prepared.folder.stage(stage.name).refit, found)


def _refit(stage: Stage, prepared: Prepared, views: Sequence[int]) -> dict[str, float]:
    """Solve the last layer from what it sees of the training photographs, or of so many of them as make it certain."""
    begin = time.perf_counter()
    train = _seen(stage, spread(prepared.part("train"), MOST_ROWS), prepared, views)
    validation = _seen(stage, prepared.part("validation"), prepared, views)
    if stage.name == "regressor" and "classifier" in METHODS[prepared.config.method]:
        validation = replace(validation, probabilities=_probabilities(prepared, views))
    ambiguous = _ambiguous(stage, prepared)
    train, validation = (replace(one, pooled=np.where(ambiguous, 0.0, one.pooled)) for one in (train, validation))
    before, after = stage.refit(train, validation)
    seconds = time.perf_counter() - begin
    said = (stage.name, seconds, stage.measure, before, after)
    log.info("%s: last layer solved in %.0f s, validation %s %.4g to %.4g", *said)
    return {"seconds": seconds, "before": before, "error": after}


def _solve_few(stage: Stage, prepared: Prepared, views: Sequence[int]) -> dict[str, float]:
    """Solve the last layer of few specimens by leaving out each."""
    begin = time.perf_counter()
    groups = prepared.specimens[prepared.training_rows]
    rows = prepared.training_rows[few_rows(groups, MOST_ROWS_OF_FEW)]
    seen = _seen(stage, rows, prepared, views)
    found = stage.refit_few(replace(seen, groups=prepared.specimens[rows]))
    if found is None:
        return {}
    seconds = time.perf_counter() - begin
    said = (stage.name, seconds, len(np.unique(groups)), found.rmse)
    log.info("%s: last layer solved in %.0f s; each of %d specimens left out in turn, RMSE %.4g", *said)
    return {"seconds": seconds, "strength": found.strength, "error": found.rmse}


def _seen(stage: Stage, rows: np.ndarray, prepared: Prepared, views: Sequence[int]) -> Seen:
    groups = prepared.photos.table.groups
    pooled, reference = _pooled(stage, rows, prepared, views)
    groups = None if groups is None else groups[rows]
    return Seen(pooled, prepared.learned_targets[rows], groups, reference=reference)


def _probabilities(prepared: Prepared, views: Sequence[int]) -> np.ndarray:
    """What the classifier says of the validation photographs, (N,K), as it will be read."""
    classifier = _trained_classifier(prepared).to(prepared.device)
    classifier.to(classifier.network.reading_dtype(prepared.device))
    alone = TwoStage(prepared.bins, classifier, None, prepared.config.image.color)
    return alone.read(prepared.pixels(prepared.part("validation")), views=views).probabilities


@torch.no_grad()
def _ambiguous(stage: Stage, prepared: Prepared) -> np.ndarray:
    """Columns (P,), as booleans, that are not to be read; where all are zero, the closed form gives them no weight."""
    pixels = prepared.pixels(spread(prepared.part("train"), BATCH))
    images = next(batches(pixels, prepared.config.image.color, prepared.device))
    return stage.eval().network.ambiguous(images).numpy()


@torch.no_grad()
def _pooled(
    stage: Stage, rows: np.ndarray, prepared: Prepared, views: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pooled vectors (N,P) of photographs, averaged over the views, as they will be read, and their `Seen.reference`.

    Where another stage goes on to train from this one, nothing is fitted that its gradients do not see.
    """
    last = stage.name == METHODS[prepared.config.method][-1]
    fitted = last and not prepared.few  # whom more columns than specimens mislead
    dtype = stage.network.reading_dtype(prepared.device)
    stage.eval().to(dtype)
    found, references = [], []
    for images in batches(prepared.pixels(rows), prepared.config.image.color, prepared.device):
        shown, reference = stage.shown(images.to(dtype))
        found.append(stage.network.seen(shown, views, fitted=fitted).numpy())
        references += [] if reference is None else [reference[:, 0].cpu().double().numpy()]
    stage.float()
    return np.concatenate(found), np.concatenate(references) if references else None
