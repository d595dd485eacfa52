"""Number format and memory layout of training: the fastest here, found by a short measurement of the real step."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from twostage.errors import StorageError
from twostage.files import write_json
from twostage.stages.network import Network

__all__ = ["Plan", "apply_plan", "candidates", "choose_plan", "least_time", "seconds_per_step", "set_precision"]

log = logging.getLogger("twostage")

SECONDS = 0.5
"""Time to measure one candidate."""
GAIN = 1.1
"""A candidate must be this much faster than those before it, else noise would decide."""

CHOICES = 2
"""To be raised when a change here changes what may be chosen: earlier choices are then forgotten."""


@dataclass(frozen=True)
class Plan:
    """`precision` of the backbone, "float32" or "bfloat16", and the memory layout of images and weights."""

    precision: str = "float32"
    channels_last: bool = True

    def __str__(self) -> str:
        return f"{self.precision}, {'channels_last' if self.channels_last else 'contiguous'}"


def apply_plan(plan: Plan, stage: nn.Module) -> None:
    """Lay out the weights and let the backbone compute as planned; weights, pooling and losses stay float32."""
    layout = torch.channels_last if plan.channels_last else torch.contiguous_format
    stage.to(memory_format=layout)  # type: ignore[call-overload]
    set_precision(stage, getattr(torch, plan.precision))


def set_precision(module: nn.Module, precision: torch.dtype) -> None:
    """Let the backbones in a module compute in torch.float32 or torch.bfloat16."""
    for part in module.modules():
        if isinstance(part, Network):
            part.precision = precision


def choose_plan(
    stage: nn.Module, images: Tensor, targets: Tensor, precision: str = "auto", memory: Path | None = None
) -> Plan:
    """The fastest plan for training `stage` on batches like this one.

    torch.compile is no candidate: on two cores it was slower by 4 to 14 % and took 9 to 35 s to start (compact and
    resnet18 at 64 pixels, torch 2.13).

    Args:
        precision: "float32" or "bfloat16" leaves only the layout to be measured.
        memory: A JSON file of earlier choices on this machine. The same training always gets the same plan there, for
            the last digits of its weights depend on it.
    """
    key = _key(stage, images, precision)
    known = _remembered(memory)
    if key in known:
        return Plan(**known[key])
    plans = candidates(stage, images, targets, precision)
    with torch.random.fork_rng():  # dropout draws
        seconds = {plan: seconds_per_step(plan, stage, images, targets) for plan in plans}
    chosen = plans[0]
    for plan in plans[1:]:
        chosen = plan if seconds[chosen] > GAIN * seconds[plan] else chosen
    log.info(
        "measured, images/s: %s; chosen: %s",
        ", ".join(f"{plan} {len(images) / time:.0f}" for plan, time in seconds.items()),
        chosen,
    )
    if memory is not None:
        with contextlib.suppress(StorageError):  # a cache that is only to be read; the run has a record of its own
            write_json(memory, _remembered(memory) | {key: asdict(chosen)})
    return chosen


def candidates(stage: nn.Module, images: Tensor, targets: Tensor, precision: str = "auto") -> list[Plan]:
    """The plans that can be trusted for this stage, the safest first."""
    device = images.device.type
    precisions = ["float32", "bfloat16"] if precision == "auto" and device in ("cpu", "cuda") else [precision]
    precisions = ["float32"] if precisions == ["auto"] else precisions
    plans = [Plan(name, layout) for name in precisions for layout in (True, False)]
    if device == "cpu" and _has_faulty_convolution(stage, images, targets):
        return [plan for plan in plans if plan != Plan("bfloat16", channels_last=True)]
    return plans


def _has_faulty_convolution(stage: nn.Module, images: Tensor, targets: Tensor) -> bool:
    """Is there one whose weights get a gradient from memory that was never written?

    So does oneDNN 3.12 (torch 2.13, AVX512) in bfloat16 and channels_last where the filters are dilated and the input
    channels are more than 16 and no multiple of 16: found with memory full of NaN, over 24 numbers of channels.
    """
    found = False

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal found
            if func is torch.ops.aten.convolution.default:
                channels, dilation = args[1].shape[1], args[5]
                found = found or (max(dilation) > 1 and channels > 16 and channels % 16 > 0)
            return func(*args, **(kwargs or {}))

    with torch.random.fork_rng(), torch.no_grad(), Look():
        copy.deepcopy(stage).loss(images, targets)  # type: ignore[operator]
    return found


def seconds_per_step(plan: Plan, stage: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Time of forward, backward and step on a copy of the stage, in seconds."""
    stage = copy.deepcopy(stage).train()
    apply_plan(plan, stage)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        stage.loss(images, targets).backward()  # type: ignore[operator]
        optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    step()
    return least_time(step)


def least_time(step: Callable[[], None]) -> float:
    """The least time of a step, in seconds, not the median: other work on the machine only ever adds to it."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < SECONDS and len(times) < 50):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return min(times)


def _key(stage: nn.Module, images: Tensor, precision: str) -> str:
    """What the choice depends on."""
    machine = platform.machine() + " " + torch.backends.cpu.get_cpu_capability()
    if images.is_cuda:
        machine = torch.cuda.get_device_name(images.device)
    weights = sum(p.numel() for p in stage.parameters())
    batch = "x".join(map(str, images.shape))
    return (
        f"{CHOICES}: {machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {type(stage).__name__} "
        f"of {weights} parameters, batch {batch}, precision={precision}"
    )


def _remembered(memory: Path | None) -> dict[str, dict[str, Any]]:
    if memory is None:
        return {}
    try:
        return {key: asdict(Plan(**plan)) for key, plan in json.loads(memory.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or not what was written
        return {}
