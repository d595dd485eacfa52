"""Where to compute."""

from __future__ import annotations

import torch

from twostage.errors import DeviceError

__all__ = ["resolve_device", "threads_to_decode", "use_threads"]


def resolve_device(name: str) -> torch.device:
    """The device that `name` means: "auto" takes cuda, else mps, else cpu.

    Raises:
        DeviceError: No such device here.
    """
    available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device(available[1] if len(available) > 1 else "cpu")
    full = "cuda:0" if name == "cuda" else name
    if full not in available:
        raise DeviceError(f"runtime.device={name} is not there: this machine has {', '.join(available)}; or say auto")
    return torch.device(full)


def threads_to_decode(threads: int | str) -> int:
    """How many threads decode, each photographs of its own, so that none waits for another; 0: one per core."""
    return 0 if threads == "auto" else int(threads)


def use_threads(threads: int | str) -> None:
    """Use that many processor threads; 0 and "auto" leave torch's choice, one per core."""
    if threads and threads != "auto":
        torch.set_num_threads(int(threads))
