"""How long each stage is trained: so many epochs, or as many as fit into so many minutes."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from twostage.data.splits import UNUSED
from twostage.errors import RunError
from twostage.options.run import METHODS, TrainConfig
from twostage.run.folder import StageFolder
from twostage.run.preparation import Prepared
from twostage.stages.stage import Stage
from twostage.training.course import Course, Examples
from twostage.training.distributed import from_first_process, once
from twostage.training.fit import fit

__all__ = ["describe", "epochs_of_stages", "spent_seconds", "with_length"]

log = logging.getLogger("twostage")

FEW_IMAGES = 10_000
"""So many photographs of few specimens are shown, unless train.images says otherwise: networks learn them by heart."""
LEAST_EPOCHS = 8
"""Where minutes allow fewer passes over the photographs, epochs end early, so that the best of several is kept."""
VALIDATION_SHARE = 0.2
"""At most this share of the minutes goes to validation where epochs end early."""
MEASURED_SECONDS = 2.0


def describe(prepared: Prepared) -> str:
    """One phrase for the start of a run."""
    minutes = prepared.config.train.minutes
    if minutes:
        return f"{minutes:g} minutes of training"
    epochs = dict(zip(("classifier", "regressor"), epochs_of_stages(prepared), strict=True))
    return "epochs: " + ", ".join(f"{stage} {epochs[stage]}" for stage in METHODS[prepared.config.method])


def epochs_of_stages(prepared: Prepared) -> tuple[int, int]:
    """Epochs of the classifier and of the regressor; small training sets are shown more often.

    With a share of the photographs (split.train_share) there are as many more as it takes to show as many images. A
    stage that is the only one has them all.
    """
    config = prepared.config
    used = len(prepared.training_rows)
    whole = used + len(prepared.part(UNUSED))
    if config.train.epochs == 0:
        return 0, 0
    usual = config.train.images == TrainConfig.images
    images = FEW_IMAGES if prepared.few and usual else config.train.images
    epochs = config.train.epochs or min(400, max(32, round(images / whole)))
    total = round(epochs * whole / used)
    if config.method != "two_stage":
        return total, total
    classifier = min(total - 1, max(1, round(total * config.classifier_share)))
    return classifier, total - classifier


def with_length(course: Course, stage: Stage, train: Examples, validation: Examples, prepared: Prepared) -> Course:
    """The course with its number of epochs, and of steps in them; once chosen, a run keeps them.

    Raises:
        RunError: What was chosen before cannot be read.
    """
    if not prepared.config.train.minutes:
        return replace(course, epochs=epochs_of_stages(prepared)[course.label == "regressor"])
    path = prepared.folder.stage(course.label).length
    options = prepared.config.train
    asked = {"minutes": float(options.minutes or 0), "batch_size": options.batch_size}
    length = once(_read)(path)
    if length is None or length.items() & asked.items() != asked.items():  # other minutes only with resume=force
        seconds = once(_seconds_left)(course.label, prepared)
        length = asked | _length(seconds, course, stage, train, validation)  # measured by all together
        prepared.folder.write_json(path, length)
        log.info("%s: %d epochs of %d steps fit into %.0f s", course.label, length["epochs"], length["steps"], seconds)
    return replace(course, epochs=length["epochs"], steps=length["steps"])


def _read(path: Path) -> dict[str, Any] | None:
    """What was chosen before."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        return content | {key: int(content[key]) for key in ("epochs", "steps")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} cannot be read ({error}): delete it, and the length is chosen again") from error


def _seconds_left(stage: str, prepared: Prepared) -> float:
    """The classifier's share of the minutes, or what it left of them; all, where there is none.

    What solving the last layer takes at the very end comes on top.
    """
    config = prepared.config
    total = 60 * float(config.train.minutes or 0)
    if config.method != "two_stage":
        return total
    if stage == "classifier":
        return total * config.classifier_share
    return max(total - spent_seconds(prepared.folder.stage("classifier")), total * (1 - config.classifier_share) / 2)


def spent_seconds(stage: StageFolder) -> float:
    """What a finished stage took: its epochs, and solving its last layer."""
    solving = float(json.loads(stage.refit.read_text())["seconds"]) if stage.refit.is_file() else 0.0
    return float(pd.read_csv(stage.history)["seconds"].sum()) + solving


def _length(seconds: float, course: Course, stage: Stage, train: Examples, validation: Examples) -> dict[str, int]:
    """Epochs and steps that fit into so many seconds, from the time that a few real ones take.

    That time, some seconds, is not counted.
    """
    steps_of_epoch = max(1, len(train.names) // course.options.batch_size)

    def seconds_of(steps: int) -> float:
        short = replace(course, epochs=1, steps=steps, progress=False)
        return float(from_first_process(fit(copy.deepcopy(stage), train, validation, short)[0].seconds))

    seconds_of(1)  # what is slow only once
    while course.threads.is_trying:
        seconds_of(steps_of_epoch)
    one = seconds_of(1)
    many, measured = 4, 0.0
    while measured < min(MEASURED_SECONDS, 0.1 * seconds) and many < steps_of_epoch:
        many = min(4 * many, steps_of_epoch)
        measured = seconds_of(many) - one
    step = max(measured, 1e-4) / max(1, many - 1)
    validating = max(one - step, 1e-4)
    epochs = int(seconds / (validating + step * steps_of_epoch))
    if epochs >= LEAST_EPOCHS:
        return {"epochs": epochs, "steps": steps_of_epoch}
    epochs = max(1, min(LEAST_EPOCHS, int(VALIDATION_SHARE * seconds / validating)))
    return {"epochs": epochs, "steps": max(1, min(steps_of_epoch, int((seconds / epochs - validating) / step)))}
