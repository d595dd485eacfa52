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
        self.low, self.high, self.period = float(bins.places[0]), float(bins.places[-1]), bins.period
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

    def apart(self, place: Tensor, other: Tensor) -> Tensor:
        """How far places (...) lie above others (...), on a circle the shorter way; as `Scale.apart`."""
        away = place - other
        return away if self.period is None else _remainder(away + self.period / 2, self.period) - self.period / 2

    def home(self, concentration: Tensor) -> Tensor:
        """Concentrations (...) by the one name that each has; as `Scale.home`."""
        return concentration if self.period is None else self.low + _remainder(concentration - self.low, self.period)

    def near(self, place: Tensor, middle: Tensor) -> Tensor:
        """Places (...) by the name that lies nearest to `middle` (...); as `Scale.near`."""
        return place if self.period is None else middle + self.apart(place, middle)

    def around(self, concentration: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Ends of intervals (N,), on a circle by the names that lie around the concentrations (N,)."""
        if self.period is None:
            return lower, upper
        middle = (lower + upper) / 2
        turn = self.near(middle, concentration) - middle
        return lower + turn, upper + turn

    def average(self, places: Tensor, weights: Tensor) -> Tensor:
        """Places (N,) of the weighted means of places (N,K); as `Scale.mean`."""
        if self.period is None:
            return (weights * places).sum(1)
        turn = 2 * math.pi / self.period
        up, across = ((weights * one).sum(1) for one in ((turn * places).sin(), (turn * places + math.pi / 2).sin()))
        return self.home(_direction(up, across) / turn)

    def index(self, concentration: Tensor) -> Tensor:
        """Bin (N,) of each concentration (N,), as `Bins.index`."""
        return (self.home(concentration)[:, None] >= self.edges[1:-1]).sum(1)

    def offset(self, concentration: Tensor, index: Tensor) -> Tensor:
        """Offset (N,) of each concentration (N,) in the bin named for it (N,)."""
        return self.apart(self.to_place(concentration), self.middle[index]) / self.half_width[index]

    def mean(self, places: Tensor, weights: Tensor) -> Tensor:
        """Concentration (N,) at the weighted means of places (N,K); as `Bins.mean`."""
        if self.period is not None:
            return self.average(places, weights)
        return self.back(self.origin + (weights * (places - self.origin)).sum(1))

    def moved(self, place: Tensor, by: Recalibration) -> Tensor:
        """Places (...) after a recalibration."""
        middle = (self.low + self.high) / 2
        return middle + by.offset + by.slope * (place - middle)


def _remainder(values: Tensor, period: float) -> Tensor:
    """From zero, included, to the period, not included: numbers at the border may be rounded to beyond it.

    ONNX has a modulus of floating point numbers with the sign of the dividend alone.
    """
    rest = values - period * (values / period).floor()
    return torch.where((rest < 0) | (rest >= period), 0.0, rest)


def _direction(up: Tensor, across: Tensor) -> Tensor:
    """Angles (N,) of arrows, as atan2 gives them; runtimes have the arcus tangent of float32 alone.

    How far an angle of seven digits lies from the arrow is the sine of what the other digits are.
    """
    near = torch.atan2(up.float(), across.float()).double()
    length = torch.sqrt(up * up + across * across).clamp_min(1e-300)
    return near + (up * (near + math.pi / 2).sin() - across * near.sin()) / length


def _mixture(places: Places, probabilities: Tensor, said: Tensor) -> Tensor:
    return places.mean(said, probabilities)


def _argmax(places: Places, probabilities: Tensor, said: Tensor) -> Tensor:
    return places.home(places.back(said.gather(1, probabilities.argmax(1, keepdim=True))[:, 0]))


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
