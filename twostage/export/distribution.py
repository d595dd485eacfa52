"""Predictive distributions and intervals, as a graph: `Dispersion`, `Distribution` and `Intervals` on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from twostage.export.places import Places
from twostage.export.views import Said
from twostage.trust.dispersion import FARTHEST, LEAST_BETWEEN, LEAST_SCALE, Dispersion
from twostage.trust.distribution import distance_of_tail, tail
from twostage.trust.intervals import Intervals

__all__ = ["ENDS", "Ends", "Mixture", "Scales", "bin_mass", "quantile"]

PARTS, ROUNDS = 128, 6
"""A quantile is sought among so many parts of its interval at once, so often: as exact as 42 halvings."""


class Mixture(NamedTuple):
    """A `Distribution` in tensors: `weights`, `means` and `scales`, (N,K), on the scale of the bins."""

    weights: Tensor
    means: Tensor
    scales: Tensor


class Scales(nn.Module):
    """What the stages say and the distance (N,) -> the predictive distribution; as `Dispersion.distribution`."""

    slopes: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, places: Places, dispersion: Dispersion) -> None:
        super().__init__()
        self.places, self.base, self.width = places, dispersion.base, places.high - places.low
        for name in ("slopes", "middle", "spread"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(dispersion, name), np.float64)))

    def forward(self, said: Said, distance: Tensor) -> Mixture:
        """One scale for all bins of a photograph."""
        place = self.places.of_offsets(said.offsets)
        standard = ((self.signs(said, distance) - self.middle) / self.spread).clamp(-FARTHEST, FARTHEST)
        scale = (self.base + (standard * self.slopes).sum(1)).exp().clamp_min(LEAST_SCALE * self.width)
        place = self.places.near(place, self.places.average(place, said.probabilities)[:, None])
        return Mixture(said.probabilities, place, scale[:, None].expand_as(place))

    def signs(self, said: Said, distance: Tensor) -> Tensor:
        """As `dispersion.signs`: (N,len(SIGNS)), zero where it is not known."""
        place, weights = self.places.of_offsets(said.offsets), said.probabilities
        mean = self.places.average(place, weights)
        scale = (weights * (said.log_scales + self.places.half_width.log())).sum(1)
        between = (weights * self.places.apart(place, mean[:, None]) ** 2).sum(1).sqrt()
        middle = (self.places.low + self.places.high) / 2
        between = (between / self.width).clamp_min(LEAST_BETWEEN).log()
        in_range = (mean - middle) / self.width if self.places.period is None else torch.zeros_like(mean)
        found = torch.stack([in_range, scale, between, distance], 1)
        return torch.where(found.isfinite(), found, 0.0)


def bin_mass(places: Places, mixture: Mixture) -> Tensor:
    """Probability of each bin, (N,K), as `Distribution.mass`."""
    weights, means, scales = (values[:, None] for values in mixture)
    if (period := places.period) is not None:
        turns = (places.edges + period * torch.arange(-2, 3)[:, None]).flatten()
        middle = places.average(mixture.means, mixture.weights)[:, None]
        turns = torch.minimum(torch.maximum(turns, middle - 1.5 * period), middle + 1.5 * period)
        lower = _survival(means - turns[..., None], scales, weights).unflatten(1, (5, -1))
        share = (lower[..., 1:] - lower[..., :-1]).sum(1)
        return share / share.sum(1, keepdim=True)
    below = _survival(means - places.to_place(places.edges[1:-1])[:, None], scales, weights)
    one = torch.ones_like(mixture.means[:, :1])
    return torch.cat([below, one], 1) - torch.cat([0 * one, below], 1)


def quantile(mixture: Mixture, beyond: Tensor, z: Tensor, side: Tensor) -> Tensor:
    """Places (N,M) beyond which probabilities `beyond` (N,M), up to 1/2, lie: above them where `side` (M,) is 1.

    Args:
        z: How many scales from the middle of one part of the mixture its own quantile lies, (N,M).
        side: 1, or -1 for what lies below: there it is sought in the mirror image.
    """
    weights, means, scales = (values[:, None] for values in mixture)  # (N,1,K)
    means = means * side[:, None]  # (N,M,K)
    ends = means + scales * z[..., None]
    low = torch.where(weights > 0, ends, torch.inf).amin(-1)
    width = torch.where(weights > 0, ends, -torch.inf).amax(-1) - low
    weights, means, scales = (values[..., None, :] for values in (weights, means, scales))
    shares = torch.arange(1, PARTS, dtype=torch.float64) / PARTS
    for _ in range(ROUNDS):
        tried = low[..., None] + width[..., None] * shares  # (N,M,PARTS-1)
        above = _survival(tried[..., None] - means, scales, weights)
        low = low + width * (above > beyond[..., None]).sum(-1) / PARTS
        width = width / PARTS
    return (low + width / 2) * side


def _survival(away: Tensor, scales: Tensor, weights: Tensor) -> Tensor:
    """Probability of more, as far away from the means of the K parts of mixtures as (...,K) says: (...)."""
    far = tail(away.abs() / scales)
    return (weights * torch.where(away > 0, far, 1 - far)).sum(-1)


class Ends(nn.Module):
    """Predictive distributions -> lower and upper ends of the intervals, (N,) each; as `Intervals.bounds`."""

    limits: Tensor
    far: Tensor
    z: Tensor

    def __init__(self, places: Places, intervals: Intervals, method: str, confidence: float) -> None:
        super().__init__()
        self.places, self.ends = places, ENDS[method]
        limits = intervals.limits(confidence, places.count)
        self.alike = len(np.unique(limits)) == 1
        far = np.exp(-np.where(np.isfinite(limits), limits, 0.0)) / 2
        for name, values in (("limits", limits), ("far", far), ("z", distance_of_tail(far))):
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """NaN where so high a confidence asks for more specimens."""
        inside = torch.zeros_like(mixture.means[:, 0], dtype=torch.int64)
        if not self.alike:  # each bin has limits of its own, and the median says which bin it is
            half = torch.full_like(mixture.means[:, :1], 0.5)
            median = quantile(mixture, half, 0 * half, _sides(1))[:, 0]
            inside = self.places.index(self.places.back(median))
        limit = self.limits[inside]
        lower, upper = (self.places.back(end) for end in self.ends(self, mixture, limit, inside))
        if (period := self.places.period) is not None:  # at most once around
            middle = self.places.average(mixture.means, mixture.weights)
            lower, upper = torch.maximum(lower, middle - period / 2), torch.minimum(upper, middle + period / 2)
        return tuple(torch.where(limit.isfinite(), end, torch.nan) for end in (lower, upper))  # type: ignore[return-value]


def _sides(*sides: float) -> Tensor:
    return torch.tensor(sides, dtype=torch.float64)


def _distributional(ends: Ends, mixture: Mixture, limit: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    far, z = (values[inside][:, None].expand(-1, 2) for values in (ends.far, ends.z))
    found = quantile(mixture, far, z, _sides(-1, 1))
    return found[:, 0], found[:, 1]


def _conformal(ends: Ends, mixture: Mixture, limit: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    mean = ends.places.average(mixture.means, mixture.weights)
    return mean - limit, mean + limit


ENDS: dict[str, Callable[[Ends, Mixture, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "distributional": _distributional,
    "conformal": _conformal,
    "none": _conformal,
}
"""What every member of `INTERVALS` is in a graph: the ends, as places, at the limit (N,) of the bin `inside` (N,)."""
