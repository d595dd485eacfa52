"""From bin probabilities and offsets to one concentration."""

from __future__ import annotations

import numpy as np

from twostage.bins import Bins
from twostage.options.choices import COMBINATIONS
from twostage.options.family import resolve
from twostage.stages.reading import Reading

__all__ = ["argmax", "combine", "mixture", "top2"]


def combine(bins: Bins, reading: Reading, method: str = "mixture", target: np.ndarray | None = None) -> np.ndarray:
    """One concentration per image, float64 (N,).

    Args:
        reading: What both stages say of N photographs.
        method: A member of the family `COMBINATIONS`, or "oracle": the bin in which `target` (N,) lies.

    Raises:
        ConfigError: There is no such method.
        ValueError: "oracle" without `target`.
    """
    candidates = bins.candidates(reading.offsets)
    if method == "oracle":
        if target is None:
            raise ValueError("oracle needs the true concentrations")
        return bins.scale.home(candidates[np.arange(len(candidates)), bins.index(target)])
    found: np.ndarray = resolve(COMBINATIONS.member(method))(bins, reading.probabilities, candidates)
    return found


def mixture(bins: Bins, probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Mean of what the bins say, candidates (N,K), by their probabilities (N,K): (N,)."""
    return bins.mean(candidates, probabilities)


def argmax(bins: Bins, probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """What the likeliest bin says, (N,)."""
    return bins.scale.home(candidates[np.arange(len(candidates)), probabilities.argmax(1)])


def top2(bins: Bins, probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Mixture of the two likeliest bins, (N,)."""
    if probabilities.shape[1] < 2:
        return argmax(bins, probabilities, candidates)
    smallest = np.partition(probabilities, -2, axis=1)[:, -2, None]
    kept = np.where(probabilities >= smallest, probabilities, 0.0)
    return mixture(bins, kept / kept.sum(1, keepdims=True), candidates)
