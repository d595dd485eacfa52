"""Several processes under torchrun: who talks, who takes which images, and sums over all of them.

Alone, without torchrun, every function here does nothing or returns what it was given.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from twostage.errors import DeviceError, TwoStageError
from twostage.stages.stage import Learner

__all__ = [
    "any_process",
    "first_process_first",
    "from_first_process",
    "gather",
    "is_first_process",
    "join_processes",
    "mean_of_batch",
    "mean_over_processes",
    "my_device",
    "my_share",
    "of_the_machine",
    "once",
    "parallel_loss",
    "process_count",
    "process_number",
]

P = ParamSpec("P")
T = TypeVar("T")


def join_processes() -> None:
    """Meet the other processes that torchrun started, once; gloo on processors, NCCL on GPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # DistributedDataParallel loads it, and its functions keep the group that is there then, as a default.
        import torch.distributed.nn.functional

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timedelta(days=30))  # the others wait while the first decodes
        atexit.register(_leave_processes)


def _leave_processes() -> None:
    """End the threads of the group before Python ends.

    A thread of gloo lets go of tensors, which needs Python. Where Python has ended meanwhile, it aborts the process
    ("terminate called without an active exception"). The threads end with the group, and the group with the last that
    holds on to it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun asks those that are left to end, which they do
    gc.collect()  # DistributedDataParallel does, until it is collected
    dist.destroy_process_group()


def of_the_machine(error: Exception) -> DeviceError | None:
    """What an error of torch says of memory, or of processes that are no longer there; None of any other."""
    text, lost = str(error).lower(), ("closed by peer", "reset by peer", "broken pipe", "connection refused")
    if "out of memory" in text or isinstance(error, MemoryError):
        return DeviceError("there is too little memory: lower train.batch_size or image.size, or end other programs")
    if process_count() > 1 and (isinstance(error, dist.DistError) or any(words in text for words in lost)):
        return DeviceError("another process of this training has ended: the same command with the same run goes on")
    return None


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_number() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first_process() -> bool:
    """Does this process write and talk?"""
    return process_number() == 0


def my_device(device: torch.device) -> torch.device:
    """The GPU of this process, where each has one.

    Raises:
        DeviceError: This machine has fewer GPUs than processes.
    """
    if process_count() == 1 or device.type != "cuda":
        return device
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if rank >= torch.cuda.device_count():
        raise DeviceError(
            f"there are {torch.cuda.device_count()} GPUs for more processes: lower --nproc-per-node, or say "
            f"runtime.device=cpu"
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def from_first_process(thing: Any) -> Any:
    """What the first process has, a number, a text or the like, for all."""
    box = [thing]
    if process_count() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def once(find: Callable[P, T]) -> Callable[P, T]:
    """Let the first process alone call a function, and give all of them what it returns, or the error that it raises.

    The others wait for it, so that a call also brings all processes together.
    """

    @wraps(find)
    def found_by_first(*args: P.args, **kwargs: P.kwargs) -> T:
        if process_count() == 1:
            return find(*args, **kwargs)
        value, error = None, None
        if is_first_process():
            try:
                value = find(*args, **kwargs)
            except TwoStageError as mistake:
                error = mistake
        value, error = from_first_process((value, error))
        if error is not None:
            raise error
        return value

    return found_by_first


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process do it alone, then the others, which find what it made."""
    if not is_first_process():
        dist.barrier()
    yield
    if process_count() > 1 and is_first_process():
        dist.barrier()


def any_process(condition: bool) -> bool:
    """Is it so in any process?"""
    if process_count() == 1:
        return condition
    count = torch.tensor(int(condition))
    dist.all_reduce(count)
    return bool(count)


def mean_over_processes(mine: float) -> float:
    """The mean of a number over all processes; it is finite only if all are."""
    if process_count() == 1:
        return mine
    total = torch.tensor(mine, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / process_count()


def mean_of_batch(mine: Tensor) -> Tensor:
    """The mean over a whole batch, of which `mine` (N,...) is this process's share; gradients flow to every share."""
    if process_count() == 1:
        return mine.mean()
    total, count = _sum_over_processes(torch.stack([mine.sum(), mine.new_tensor(mine.numel())]))
    return total / count


def my_share(rows: np.ndarray) -> slice:
    """Which of the rows of a whole batch, or of a whole set, are this process's."""
    if process_count() == 1:
        return slice(None)
    ends = np.linspace(0, len(rows), process_count() + 1).astype(int)
    return slice(int(ends[dist.get_rank()]), int(ends[dist.get_rank() + 1]))


def gather(mine: np.ndarray) -> np.ndarray:
    """The shares (N,...) of all processes, one after another."""
    if process_count() == 1:
        return mine
    shares: list[Any] = [None] * process_count()
    dist.all_gather_object(shares, mine)
    return np.concatenate(shares)


class _Loss(nn.Module):
    """DistributedDataParallel wraps a module's forward; ours is the loss."""

    def __init__(self, stage: Learner) -> None:
        super().__init__()
        self.stage: Learner = stage

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.stage.loss(images, targets, mean_of_batch)
        return loss


def parallel_loss(stage: Learner, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """The stage's loss, with gradients and batch statistics that are those of the whole batch."""
    if process_count() == 1:
        return stage.loss
    _share_batch_statistics(stage)
    ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # the new name of broadcast_buffers is newer than our oldest torch
        return DistributedDataParallel(_Loss(stage), device_ids=ids, broadcast_buffers=False)


def _share_batch_statistics(stage: nn.Module) -> None:
    """Make every batch norm one over all processes; torch's own SyncBatchNorm works on GPUs only."""
    for module in stage.modules():
        if isinstance(module, nn.BatchNorm2d) and not isinstance(module, _SharedStatistics):
            module.__class__ = type("Shared" + type(module).__name__, (_SharedStatistics, type(module)), {})


class _SharedStatistics(nn.BatchNorm2d):
    """Batch norm over the images of all processes, mixed into any subclass of torch's that has `act` and `drop`."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        wide = images if images.dtype == torch.float64 else images.float()
        count = wide.new_full((1,), images.numel() // images.shape[1])
        total = _sum_over_processes(torch.cat([wide.sum((0, 2, 3)), count]))
        mean, number = total[:-1] / total[-1], total[-1].detach()
        centered = wide - mean.view(1, -1, 1, 1)
        variance = _sum_over_processes(centered.square().sum((0, 2, 3))) / number
        self._keep_running(mean.detach(), variance.detach() * number / (number - 1))
        normal = centered * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.affine:
            normal = normal * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        normal = normal.to(images.dtype)
        for name in ("drop", "act"):  # timm's batch norms end with these
            normal = getattr(self, name, nn.Identity())(normal)
        return normal

    @torch.no_grad()
    def _keep_running(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient)


def _sum_over_processes(mine: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow to each."""
    total: Tensor = _SumOverProcesses.apply(mine)
    return total
