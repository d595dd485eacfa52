"""The one training loop, for either stage."""

from __future__ import annotations

import copy
import logging
import time
import zlib
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from twostage.config import AugmentConfig, TrainConfig
from twostage.data.augment import augment
from twostage.data.color import to_color
from twostage.errors import TrainingError, some
from twostage.stages.two_stage import to_srgb
from twostage.training.optimizer import average_of, build_optimizer, build_schedule

__all__ = ["Epoch", "Examples", "Stage", "fit", "history_rows", "stream_seed"]

log = logging.getLogger("twostage")


class Stage(Protocol):
    """What the loop needs of a stage, beside being a module."""

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of a batch."""

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentrations (N,) for validation."""


@dataclass(frozen=True)
class Examples:
    """N photographs with what a stage should learn of them.

    `pixels` uint8 (N,H,W,3), `concentration` (N,), `targets` (N,...) as the stage's loss takes them.
    """

    names: list[str]
    pixels: np.ndarray
    concentration: np.ndarray
    targets: Tensor


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv; `validation_rmse` in the unit of the concentration."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_rmse: float
    best_rmse: float
    seconds: float
    images_per_second: float


def stream_seed(seed: int, *words: int | str) -> int:
    """A seed for one purpose, independent of every other: a function of `seed` and the words alone.

    Zeros at the end of the words do not count.
    """
    numbers = [word if isinstance(word, int) else zlib.crc32(word.encode()) for word in words]
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0] >> 1)


def fit(
    stage: nn.Module,
    train: Examples,
    validation: Examples,
    options: TrainConfig,
    *,
    epochs: int,
    augmentation: AugmentConfig,
    color: str,
    seed: int,
    device: torch.device,
    label: str,
    warm: bool = False,
    progress: bool = True,
) -> list[Epoch]:
    """Train `stage` in place and leave it with the averaged weights of the epoch of lowest validation RMSE.

    A `warm` start, from trained weights, skips the rise of the learning rate.

    Order of the images, augmentation and dropout are functions of (seed, label, epoch, step) alone.

    Raises:
        TrainingError: The loss is no longer finite; the message names photographs of the batch.
    """
    stage.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = max(1, len(train.names) // options.batch_size)
    optimizer = build_optimizer(stage, options.learning_rate, options.weight_decay)
    schedule = build_schedule(optimizer, options.schedule, epochs * steps, 0.0 if warm else options.warmup)
    average = average_of(stage, options.ema_decay) if options.ema_decay else None
    kept = stage if average is None else average.module
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    with _Progress(label, epochs, len(train.names), progress) as bar, torch.random.fork_rng():
        for epoch in range(epochs):
            begin = time.perf_counter()
            losses = []
            stage.train()
            for step, rows in enumerate(_batches(len(train.names), steps, stream_seed(seed, label, epoch))):
                torch.manual_seed(stream_seed(seed, label, epoch, step))
                generator = torch.Generator().manual_seed(stream_seed(seed, label, epoch, step, "augment"))
                srgb = augment(to_srgb(train.pixels[rows], device), augmentation, generator)
                loss = stage.loss(to_color(srgb, color), train.targets[rows].to(device))  # type: ignore[operator]
                losses.append(_finite(loss, train.names, rows, label))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                if average is not None:
                    average.update_parameters(stage)
                bar.images(len(rows))
            rmse = _validation_rmse(kept, validation, color, device)
            if not history or rmse < history[-1].best_rmse:
                best = copy.deepcopy(kept.state_dict())
            seconds = time.perf_counter() - begin
            best_rmse = min([rmse, *(row.best_rmse for row in history[-1:])])
            history.append(
                Epoch(
                    epoch + 1, optimizer.param_groups[0]["lr"], float(np.mean(losses)), rmse, best_rmse,
                    seconds, len(train.names) / seconds,
                )
            )  # fmt: skip
            bar.epoch(history[-1])
            if (
                options.patience
                and epoch - int(np.argmin([row.validation_rmse for row in history])) >= options.patience
            ):
                log.info("%s: no better validation RMSE for %d epochs, stopped early", label, options.patience)
                break
    stage.load_state_dict(best)
    return history


def _batches(count: int, steps: int, seed: int) -> list[np.ndarray]:
    """All images once, shuffled, in `steps` batches that differ in size by one at most."""
    return np.array_split(np.random.default_rng(seed).permutation(count), steps)


def _finite(loss: Tensor, names: list[str], rows: np.ndarray, label: str) -> float:
    value = float(loss.detach())
    if not np.isfinite(value):
        raise TrainingError(
            f"{label}: the loss is {value}, training stopped; lower train.learning_rate, "
            f"or look at the photographs of this batch: {some(names[i] for i in rows)}"
        )
    return value


@torch.no_grad()
def _validation_rmse(stage: nn.Module, examples: Examples, color: str, device: torch.device) -> float:
    """RMSE of one view of each photograph, in the unit of the concentration."""
    stage.eval()
    found = []
    for start in range(0, len(examples.names), 64):
        images = to_color(to_srgb(examples.pixels[start : start + 64], device), color)
        found.append(stage.estimate(images, examples.targets[start : start + 64].to(device)))  # type: ignore[operator]
    error = torch.cat(found).double().cpu().numpy() - examples.concentration
    rmse = float(np.sqrt(np.mean(error**2)))
    if not np.isfinite(rmse):
        raise TrainingError("the validation RMSE is not a finite number, training stopped; lower train.learning_rate")
    return rmse


class _Progress:
    """A bar with time left on a terminal, about ten lines elsewhere, nothing if not wanted."""

    def __init__(self, label: str, epochs: int, count: int, wanted: bool) -> None:
        self.label, self.epochs, self.wanted = label, epochs, wanted
        self.bar = tqdm(
            total=epochs * count, desc=label, unit="img", unit_scale=True, dynamic_ncols=True,
            disable=None if wanted else True,
        )  # fmt: skip

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def images(self, count: int) -> None:
        self.bar.update(count)

    def epoch(self, row: Epoch) -> None:
        text = f"epoch {row.epoch}/{self.epochs}, validation RMSE {row.validation_rmse:.4g}"
        self.bar.set_postfix_str(text)
        due = row.epoch == self.epochs or row.epoch % max(1, self.epochs // 10) == 0
        if self.wanted and self.bar.disable and due:
            log.info("%s: %s, %.0f images/s", self.label, text, row.images_per_second)


def history_rows(history: list[Epoch]) -> list[dict[str, float]]:
    """The history as rows for a table."""
    return [asdict(row) for row in history]
