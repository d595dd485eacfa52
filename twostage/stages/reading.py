"""What both stages say of photographs, and how photographs come before a network: in batches, in views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from twostage.data.color import to_color, to_srgb
from twostage.data.store import Pixels
from twostage.stages.network import Network

__all__ = ["BATCH", "Reading", "batches", "different_views", "mean_around"]

Values = TypeVar("Values", np.ndarray, Tensor)

BATCH = 64
"""Photographs that pass through a network at once where nothing is learned; all at once would be gigabytes."""


@dataclass(frozen=True)
class Reading:
    """What both stages say of N photographs, float64 (N,K) each, averaged over the views.

    `probabilities` of the bins; `offsets` in every bin and their `log_scales`, the logarithm of the standard deviation
    that the regressor expects of each, in half widths of the bin; NaN where there is no regressor. `first` (N,) is the
    place on the scale of what the classifier alone estimates; NaN where it estimates none.
    """

    probabilities: np.ndarray
    offsets: np.ndarray
    log_scales: np.ndarray
    first: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if len(self.first) != len(self.probabilities):
            object.__setattr__(self, "first", np.full(len(self.probabilities), np.nan))

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, rows: np.ndarray | slice) -> Reading:
        return Reading(*(said[rows] for said in self))

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.probabilities, self.offsets, self.log_scales, self.first))

    @classmethod
    def nothing(cls, count: int, bins: int) -> Reading:
        """Room for the reading of `count` photographs, NaN for now."""
        probabilities, offsets, log_scales = np.full((3, count, bins), np.nan)
        return cls(probabilities, offsets, log_scales)

    def put(self, rows: slice | np.ndarray, other: Reading) -> None:
        """Take the reading of some rows from another."""
        for mine, theirs in zip(self, other, strict=True):
            mine[rows] = theirs


def batches(pixels: Pixels, color: str, device: torch.device, rows: slice = slice(None)) -> Iterator[Tensor]:
    """Photographs uint8 (N,H,W,3), or those of some rows, as a network sees them: (n,C,H,W), n at most `BATCH`."""
    first, last, _ = rows.indices(len(pixels))
    for start in range(first, last, BATCH):
        yield to_color(to_srgb(pixels[start : min(start + BATCH, last)], device), color)


def different_views(networks: Sequence[Network], views: Sequence[int] = range(8)) -> list[int]:
    """Of the turns and flips that are asked for, numbers of `dihedral_views`, which the networks can tell apart."""
    alike = min(network.backbone.views_alike for network in networks)
    first_of = {number // alike: number for number in sorted(views, reverse=True)}
    return sorted(first_of.values())


def mean_around(said: Values, turn: Values | float) -> Values:
    """Mean over the first axis (V,...) of numbers that come again after `turn`, near the first of them."""
    half = turn / 2
    return said[0] + ((said - said[0] + half) % turn - half).mean(0)
