"""How many threads train: as many as are told, or as many as are fastest on a machine that others use as well.

Threads that share every step of a network wait at its end for the last one. Where another program has taken a
processor from it, two are slower than one, and no rule tells how busy a machine will be: so it is measured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from twostage.errors import number_of
from twostage.training.distributed import process_count

__all__ = ["Threads", "candidates", "threads_put_back"]

log = logging.getLogger("twostage")

TURNS = 3
"""Each number is tried so many times, in turn with the others, so that all of them meet the same neighbours."""
TRY_SECONDS, TRY_STEPS = 0.3, 2
"""One turn takes as long, and at least as many steps."""
WATCH_SECONDS = 3.0
"""Over so much training the rate is taken that is compared with that of the trial."""
FALL = 0.5
"""At this share of the rate of the trial the numbers are tried again."""
AGAIN_SECONDS = 300.0
"""And after so much training, for neighbours that leave cannot be told from the rate of one thread."""


def candidates(most: int) -> list[int]:
    """The numbers of threads that are tried: powers of two, and as many as there may be.

    >>> candidates(6)
    [1, 2, 4, 6]
    """
    return sorted({1 << power for power in range(most.bit_length()) if 1 << power < most} | {most})


@contextmanager
def threads_put_back() -> Iterator[None]:
    """Leave torch with as many threads as it had, whatever was chosen in between."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """The number of threads of a run, kept or tried anew while steps are `timed`.

    The trial is made of steps of the training itself, which are lost to nobody. Weights differ in their last digits
    with the number. Several processes keep what torchrun gave each of them, for they wait for each other.
    """

    def __init__(self, asked: int | str = 0) -> None:
        """`asked`: "auto", or a number, which is left to whoever has set it."""
        self.counts = candidates(torch.get_num_threads()) if asked == "auto" and process_count() == 1 else []
        self.chosen, self.rate = torch.get_num_threads(), 0.0
        self._turns: list[int] = []
        self._tried: dict[int, tuple[float, float]] = {}
        self._warm, self._since = False, 0.0
        self._images, self._steps, self._seconds = 0, 0, 0.0

    def begin(self) -> None:
        """A stage begins: try them."""
        self.rate = 0.0
        if len(self.counts) > 1:
            self._try()

    def end(self) -> None:
        """A stage is trained: the number stays for what comes after; of a trial that did not end, the best so far."""
        if self._turns:
            self._turns = []
            self._choose()

    @property
    def is_trying(self) -> bool:
        """Is it not chosen yet?"""
        return bool(self._turns)

    def state_dict(self) -> dict[str, float]:
        """What a training that goes on needs to know: the number, and the photographs per second it was chosen for."""
        return {"chosen": self.chosen, "rate": self.rate}

    def load_state_dict(self, saved: dict[str, float]) -> None:
        """Keep the number with which a training was interrupted; another machine has another rate, and tries again."""
        if saved["chosen"] in self.counts and saved["rate"]:
            self._turns = []
            self._use(int(saved["chosen"]), saved["rate"])
            log.info("goes on with %s", number_of(self.chosen, "thread", "threads"))

    @contextmanager
    def timed(self, images: int) -> Iterator[None]:
        """One step of so many photographs."""
        begin = time.perf_counter()
        yield
        if len(self.counts) < 2:
            return
        self._images, self._steps = self._images + images, self._steps + 1
        self._seconds += time.perf_counter() - begin
        if self._turns:
            self._try_on()
        elif self._seconds >= WATCH_SECONDS:
            self._watch()

    def _try(self) -> None:
        """Begin a trial; its first turn only warms up."""
        self._tried = dict.fromkeys(self.counts, (0.0, 0.0))
        self._turns = [self.counts[-1], *self.counts * TURNS]
        self._warm = True
        torch.set_num_threads(self._turns[0])
        self._forget()

    def _try_on(self) -> None:
        if self._seconds < TRY_SECONDS or self._steps < TRY_STEPS:
            return
        count = self._turns.pop(0)
        if not self._warm:
            images, seconds = self._tried[count]
            self._tried[count] = (images + self._images, seconds + self._seconds)
        self._warm = False
        self._forget()
        if self._turns:
            torch.set_num_threads(self._turns[0])
        else:
            self._choose()

    def _choose(self) -> None:
        rates = {count: images / seconds for count, (images, seconds) in self._tried.items() if seconds}
        if not rates:  # a training of a few steps
            torch.set_num_threads(self.chosen)
            return
        best, before = max(rates, key=lambda count: rates[count]), self.chosen if self.rate else None
        self._use(best, rates[best])
        if best != before:
            said = ", ".join(
                f"with {number_of(count, 'thread', 'threads')} {rate:.0f}" for count, rate in rates.items()
            )
            log.info("measured, images/s: %s; trains with %d%s", said, best, f", before {before}" if before else "")

    def _use(self, count: int, rate: float) -> None:
        self.chosen, self.rate, self._since = count, rate, 0.0
        torch.set_num_threads(count)
        self._forget()

    def _watch(self) -> None:
        self._since += self._seconds
        fell = self._images / self._seconds < FALL * self.rate
        self._forget()
        if fell or self._since >= AGAIN_SECONDS:
            self._try()

    def _forget(self) -> None:
        self._images, self._steps, self._seconds = 0, 0, 0.0
