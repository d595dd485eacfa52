"""How much memory decoding may take: for one photograph, and for all that are decoded at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DECODING", "MEMORY", "Budget"]

MEMORY = 660_000_000
"""Bytes that one photograph, or all that threads decode at the same time, may take: with the interpreter and a model
the process stays below 1 GB. 150 million pixels in colour take 600 million."""


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


DECODING = Budget(MEMORY)
"""Memory belongs to the process, so there is one budget for all its threads."""
