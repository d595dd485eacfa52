"""What is random in training, as functions of the seed and the position alone."""

from __future__ import annotations

import zlib

import numpy as np

from twostage.files import as_bytes

__all__ = ["batches_of", "stream_seed"]


def stream_seed(seed: int, *words: int | str) -> int:
    """A seed for one purpose, independent of every other: a function of `seed` and the words alone.

    Zeros at the end of the words do not count.
    """
    numbers = [word if isinstance(word, int) else zlib.crc32(as_bytes(word)) for word in words]
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0] >> 1)


def batches_of(count: int, steps: int, seed: int) -> list[np.ndarray]:
    """All images once, shuffled, in `steps` batches that differ in size by one at most."""
    return np.array_split(np.random.default_rng(seed).permutation(count), steps)
