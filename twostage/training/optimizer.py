"""Optimizer, learning-rate schedule and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

__all__ = ["average_of", "build_optimizer", "build_schedule"]


def build_optimizer(module: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and the scales of norms are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # one pass over the weights instead of several: half the time of a step where they are many
    return torch.optim.AdamW(groups, lr=learning_rate, fused=trained[0].device.type in ("cpu", "cuda"))


def build_schedule(optimizer: torch.optim.Optimizer, name: str, steps: int, warmup: float) -> LambdaLR:
    """Learning rate over `steps`: "one_cycle" (cosine up for a share `warmup`, cosine down), "cosine", "constant".

    Source of one_cycle: Smith and Topin 2018, "Super-convergence".
    """
    rising = warmup * steps

    def one_cycle(step: int) -> float:
        if step < rising:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rising))
        return cosine_down((step - rising) / max(1.0, steps - rising))

    def cosine_down(progress: float) -> float:
        return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    courses: dict[str, Callable[[int], float]] = {
        "one_cycle": one_cycle,
        "cosine": lambda step: cosine_down(step / steps),
        "constant": lambda step: 1.0,
    }
    return LambdaLR(optimizer, courses[name])


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and batch-norm statistics, with a shorter memory in the first steps."""

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():  # torch hands over tensors of one kind
            now = min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(list(averaged), list(current), 1 - now)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return AveragedModel(module, multi_avg_fn=update, use_buffers=True)
