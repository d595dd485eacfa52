"""Bins, their scale and the combinations, as a graph: the arithmetic of `Bins` and `combine` on tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.trust.recalibration import Recalibration

__all__ = ["COMBINED", "Places"]


class Places(nn.Module):
    """Concentrations and their places on the scale, over K bins; all float64."""

    edges: Tensor
    middle: Tensor
    half_width: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        self.count, self.origin, self.logarithmic = bins.count, bins.origin, bins.scale.name == "log"
        self.low, self.high = float(bins.places[0]), float(bins.places[-1])
        self.register_buffer("edges", torch.from_numpy(bins.edges.copy()))
        self.register_buffer("middle", torch.from_numpy((bins.places[:-1] + bins.places[1:]) / 2))
        self.register_buffer("half_width", torch.from_numpy(bins.half_width))

    def to_place(self, concentration: Tensor) -> Tensor:
        """Places (...) of concentrations."""
        return concentration.log() / math.log(10) if self.logarithmic else concentration

    def back(self, place: Tensor) -> Tensor:
        """Inverse of `to_place`."""
        return (place * math.log(10)).exp() if self.logarithmic else place

    def of_offsets(self, offsets: Tensor) -> Tensor:
        """Place (N,K) that every bin says."""
        return self.middle + self.half_width * offsets

    def index(self, concentration: Tensor) -> Tensor:
        """Bin (N,) of each concentration (N,), as `Bins.index`."""
        return (concentration[:, None] >= self.edges[1:-1]).sum(1)

    def offset(self, concentration: Tensor, index: Tensor) -> Tensor:
        """Offset (N,) of each concentration (N,) in the bin named for it (N,)."""
        return (self.to_place(concentration) - self.middle[index]) / self.half_width[index]

    def mean(self, places: Tensor, weights: Tensor) -> Tensor:
        """Concentration (N,) at the weighted means of places (N,K)."""
        return self.back(self.origin + (weights * (places - self.origin)).sum(1))

    def moved(self, place: Tensor, by: Recalibration) -> Tensor:
        """Places (...) after a recalibration."""
        middle = (self.low + self.high) / 2
        return middle + by.offset + by.slope * (place - middle)


def _mixture(places: Places, probabilities: Tensor, said: Tensor) -> Tensor:
    return places.mean(said, probabilities)


def _argmax(places: Places, probabilities: Tensor, said: Tensor) -> Tensor:
    return places.back(said.gather(1, probabilities.argmax(1, keepdim=True))[:, 0])


def _top2(places: Places, probabilities: Tensor, said: Tensor) -> Tensor:
    if places.count < 2 or probabilities.shape[1] < 2:
        return _argmax(places, probabilities, said)
    smallest = probabilities.topk(2, 1).values[:, 1:]
    kept = torch.where(probabilities >= smallest, probabilities, 0.0)
    return places.mean(said, kept / kept.sum(1, keepdim=True))


COMBINED: dict[str, Callable[[Places, Tensor, Tensor], Tensor]] = {
    "mixture": _mixture,
    "argmax": _argmax,
    "top2": _top2,
}
"""What every member of `COMBINATIONS` is in a graph: probabilities and places (N,K) -> concentrations (N,)."""
