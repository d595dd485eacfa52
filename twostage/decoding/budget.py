"""How much memory decoding may take: for one photograph, and for all that are decoded at the same time."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["DECODING", "MEMORY", "Budget", "give_back"]

MEMORY = 660_000_000
"""Bytes that one photograph, or all that threads decode at the same time, may take: with the interpreter and a model
the process stays below 1 GB. 150 million pixels in colour take 600 million."""

LARGE = 32_000_000


class Budget:
    """So many units, lent to threads in the order in which they ask."""

    def __init__(self, total: int) -> None:
        self.total, self.lent = total, 0
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def hold(self, units: int) -> Iterator[None]:
        """Wait until so many (of at most all) are free, and give them back at the end."""
        units = min(units, self.total)
        with self._turn:  # one waits at a time: small photographs do not overtake a large one for ever
            with self._changed:
                self._changed.wait_for(lambda: self.lent + units <= self.total)
                self.lent += units
        try:
            yield
        finally:
            with self._changed:
                self.lent -= units
                self._changed.notify_all()


def give_back(freed: int) -> None:
    """After so many bytes were freed, let the C library return them to the system.

    glibc keeps what a thread has freed for that thread: four threads, one after another, would keep four photographs.
    """
    if freed > LARGE:
        with suppress(OSError, AttributeError):  # other libraries have no such function, and no need
            ctypes.CDLL(None).malloc_trim(0)


DECODING = Budget(MEMORY)
"""Memory belongs to the process, so there is one budget for all its threads."""
