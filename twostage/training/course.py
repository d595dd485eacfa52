"""What a training is made of: a stage, its examples, and how it is to learn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from twostage.data.augment import Motion
from twostage.data.store import Pixels
from twostage.options.run import AugmentConfig, TrainConfig
from twostage.scale import LINEAR, Scale
from twostage.training.precision import Plan
from twostage.training.threads import Threads

__all__ = ["Course", "Examples"]


@dataclass(frozen=True)
class Examples:
    """N photographs with what a stage should learn of them.

    `pixels` uint8 (N,H,W,3), `concentration` (N,), `targets` (N,...) as the stage's loss takes them. Where the
    augmentation moves an angle with the photograph, `moved` gives the targets (n,...) of some rows (n,) from their
    motion; `pixels` may then be `finer` than the network's input by a factor, to be turned before they are averaged.
    `scale` is that of the concentrations.
    """

    names: list[str]
    pixels: Pixels
    concentration: np.ndarray
    targets: Tensor
    moved: Callable[[np.ndarray, Motion], Tensor] | None = None
    finer: int = 1
    scale: Scale = LINEAR


def _nobody(done: float) -> None:
    """Whom a training tells that its history has grown."""


@dataclass(frozen=True)
class Course:
    """How a stage is trained.

    An epoch shows every photograph once, or ends after so many `steps` where they are given and fewer.
    `label` names the stage in messages and sets its random numbers apart from those of the other. With `keep_last` the
    weights of the last epoch are kept instead of those of lowest validation RMSE, which says little where the last
    layer is to be solved anew. `tell` is called whenever history.csv was written, which holds what the checkpoint does,
    with the share of the epochs that are done.
    """

    options: TrainConfig
    epochs: int
    label: str
    color: str
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    plan: Plan = field(default_factory=Plan)
    progress: bool = True
    checkpoint_seconds: float = 60.0
    steps: int | None = None
    keep_last: bool = False
    tell: Callable[[float], None] = _nobody
    threads: Threads = field(default_factory=Threads)
