"""Optimizer, learning-rate schedule and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

__all__ = ["Average", "build_optimizer", "build_schedule", "restore"]

BETAS = (0.9, 0.99)
"""Memory of Adam's first and second moments. The usual 0.999 takes a thousand steps to learn that gradients have grown;
with it one long training fell apart (docs/pages/results/trials.md)."""


def build_optimizer(module: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and the scales of norms are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # fused: one pass over the weights instead of several, half the time of a step where they are many
    fused = trained[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=fused)


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


def restore(optimizer: torch.optim.Optimizer, schedule: LambdaLR, saved: dict[str, Any]) -> None:
    """Go on where a checkpoint was written, with the options of today, which resume=force may have changed."""
    base = schedule.base_lrs
    groups = [
        {**old, **{name: value for name, value in new.items() if name != "params"}}
        for old, new in zip(saved["optimizer"]["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**saved["optimizer"], "param_groups": groups})
    schedule.load_state_dict(saved["schedule"])
    schedule.base_lrs = base
    for group, rate, factor in zip(optimizer.param_groups, base, schedule.lr_lambdas, strict=True):
        group["lr"] = rate * factor(schedule.last_epoch)


class Average(AveragedModel):
    """Exponential moving average of weights and batch-norm statistics, with a shorter memory in the first updates.

    `decay` is that of one step; set `steps` to the number of steps since the last update before the next.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, multi_avg_fn=self._mix, use_buffers=True)
        self.decay, self.steps = decay, 1

    def _mix(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():  # torch hands over tensors of one kind
            now = min(self.decay**self.steps, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(list(averaged), list(current), 1 - now)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)
