"""Status and reason of every photograph, as a graph: the checks of `trust.checks` on tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from twostage.export.places import Places
from twostage.export.views import Said
from twostage.stages.limits import Limits
from twostage.trust.checks import BEYOND, CONTRADICTION, ELSEWHERE, NO_COLOR, VALLEY
from twostage.trust.status import Status
from twostage.trust.trust import Trust

__all__ = ["CHECKED", "REASONS", "Checked", "Seen", "gravest", "least_between"]


@dataclass(frozen=True)
class Seen:
    """What `trust.checks.Seen` holds, in tensors; `concentration` is the one before `limits` cut it."""

    pixels: Tensor
    said: Said
    concentration: Tensor
    places: Places
    trust: Trust
    distance: Tensor
    probabilities: Tensor
    lower: Tensor
    upper: Tensor
    before: Tensor
    limits: Limits

    @property
    def is_unlike(self) -> Tensor:
        """Which photographs lie farther from those of the training than the threshold, (N,)."""
        known = self.trust.typicality
        return torch.zeros_like(self.distance, dtype=torch.bool) if known is None else self.distance > known.threshold


def not_finite(seen: Seen) -> Tensor:
    """The network gave no number."""
    said = (seen.said.probabilities.isfinite() & seen.said.offsets.isfinite()).all(1)
    return ~(said & seen.concentration.isfinite())


def out_of_range(seen: Seen) -> Tensor:
    """The number lies beyond the bins."""
    offset = seen.places.offset(seen.concentration, seen.places.index(seen.concentration))
    return offset.abs() > 1 + 2 * BEYOND


def contradicts_itself(seen: Seen) -> Tensor:
    """The number lies well outside stage 1's likeliest bin, on a side where there are others."""
    if seen.trust.disagreement is not None:
        return torch.zeros_like(seen.is_unlike)
    likeliest = _no_nan(seen.said.probabilities).argmax(1)
    offset = seen.places.offset(seen.before, likeliest)
    far, last = 1 + 2 * CONTRADICTION, seen.places.count - 1
    if seen.places.period is not None:
        return offset.abs() > far
    return ((offset > far) & (likeliest < last)) | ((offset < -far) & (likeliest > 0))


def stages_disagree(seen: Seen) -> Tensor:
    """Stage 1 alone estimates another concentration than both together read, by more than it usually does."""
    if seen.trust.disagreement is None:
        return torch.zeros_like(seen.is_unlike)
    return seen.places.apart(seen.said.first, seen.places.to_place(seen.before)).abs() > seen.trust.disagreement


def could_be_elsewhere(seen: Seen) -> Tensor:
    """Another bin is likely as well, and those between are not."""
    mass = _no_nan(seen.probabilities)
    density = mass / seen.places.half_width
    named = seen.places.index(_no_nan(seen.concentration))[:, None]
    number = torch.arange(seen.places.count)
    if seen.places.period is not None:  # from the named bin on, once around: between are those of either way
        around = (named + number) % seen.places.count
        mass, density = mass.gather(1, around), density.gather(1, around)
        others = torch.where(number > 0, density, torch.inf)
        between = torch.maximum(least_between(others), least_between(others.flip(1)).flip(1))
        return ((mass >= ELSEWHERE) & (density > VALLEY * between)).any(1)
    above = least_between(torch.where(number > named, density, torch.inf))
    below = least_between(torch.where(number < named, density, torch.inf).flip(1)).flip(1)
    between = torch.where(number > named, above, torch.where(number < named, below, torch.inf))
    return ((mass >= ELSEWHERE) & (density > VALLEY * between)).any(1)


def least_between(values: Tensor) -> Tensor:
    """Of each value of a row (N,K) the least of those before it, infinite for none; ONNX has no running minimum.

    >>> least_between(torch.tensor([[3.0, 1.0, 2.0, 0.0]])).tolist()
    [[inf, 3.0, 1.0, 1.0]]
    """
    least, step = torch.cat([torch.full_like(values[:, :1], torch.inf), values[:, :-1]], 1), 1
    while step < values.shape[1]:
        moved = torch.cat([torch.full_like(least[:, :step], torch.inf), least[:, :-step]], 1)
        least, step = torch.minimum(least, moved), 2 * step
    return least


def too_wide(seen: Seen) -> Tensor:
    """The interval is longer than `intervals.max_width`."""
    most = torch.inf if seen.trust.max_width is None else seen.trust.max_width
    return seen.upper - seen.lower > most


def unlike(seen: Seen) -> Tensor:
    """The photograph is unlike those of the training."""
    return seen.is_unlike


def refused_unlike(seen: Seen) -> Tensor:
    """It is, and such are to be refused."""
    return seen.is_unlike if seen.trust.unlike == "refuse" else torch.zeros_like(seen.is_unlike)


def flat(seen: Seen) -> Tensor:
    """It is, and shows one flat colour."""
    low, high = _extremes(seen)
    return seen.is_unlike & ((high - low).amax(1) <= NO_COLOR)


def white(seen: Seen) -> Tensor:
    """It is, and is overexposed."""
    return seen.is_unlike & (_extremes(seen)[0].amin(1) >= 255 - NO_COLOR)


def black(seen: Seen) -> Tensor:
    """It is, and is black."""
    return seen.is_unlike & (_extremes(seen)[1].amax(1) <= NO_COLOR)


def beyond_ends(seen: Seen) -> Tensor:
    """The number was beyond the range to which it is held, and became its end."""
    low, high = seen.limits.ends or (-torch.inf, torch.inf)
    return (seen.concentration < low) | (seen.concentration > high)


def below_minimum(seen: Seen) -> Tensor:
    """The number was below the least that there can be, and became it."""
    return seen.concentration < (-torch.inf if seen.limits.minimum is None else seen.limits.minimum)


def _extremes(seen: Seen) -> tuple[Tensor, Tensor]:
    """Darkest and brightest level of each channel, (N,3)."""
    levels = seen.pixels.float()
    return levels.amin((1, 2)), levels.amax((1, 2))


def _no_nan(values: Tensor) -> Tensor:
    return torch.where(values.isnan(), 0.0, values)


Rule = tuple[Callable[[Seen], Tensor], Status, str]
CHECKED: dict[str, list[Rule]] = {
    "limits": [
        (beyond_ends, Status.OK, "read beyond the range of the bins, which combine.limit cuts"),
        (below_minimum, Status.OK, "read below the least concentration that there can be"),
    ],
    "finite": [(not_finite, Status.REFUSED, "the network gave no finite number for it")],
    "range": [(out_of_range, Status.OUT_OF_RANGE, "outside the bins of the model")],
    "contradiction": [
        (
            contradicts_itself,
            Status.LOW_CONFIDENCE,
            "the stages disagree: the concentration lies outside the likeliest bin",
        )
    ],
    "stages": [
        (
            stages_disagree,
            Status.LOW_CONFIDENCE,
            "the stages disagree: stage 1 alone reads another concentration than both together",
        )
    ],
    "elsewhere": [
        (could_be_elsewhere, Status.LOW_CONFIDENCE, "it may as well lie in another bin, and hardly between the two")
    ],
    "width": [(too_wide, Status.LOW_CONFIDENCE, "its interval is wider than intervals.max_width")],
    "unlike": [(unlike, Status.UNLIKE, "unlike the training photographs in colour, layout and sharpness")],
    "nothing": [
        (refused_unlike, Status.REFUSED, "unlike the training photographs in colour, layout and sharpness"),
        (flat, Status.REFUSED, "nothing to read: the photograph has one flat colour"),
        (white, Status.REFUSED, "nothing to read: the photograph is white, it is overexposed"),
        (black, Status.REFUSED, "nothing to read: the photograph is black"),
    ],
}
"""What every member of `CHECKS` is in a graph, in their order: which photographs (N,), the status, and a sentence."""
RULES = [rule for rules in CHECKED.values() for rule in rules]
REASONS = list(dict.fromkeys(["", *(sentence for _, _, sentence in RULES)]))
"""What the numbers of a graph's output `reason` mean."""


@dataclass(frozen=True)
class Checked:
    """Numbers of status and reason, int64 (N,) each, in `Status` and `REASONS`."""

    status: Tensor
    reason: Tensor


def gravest(seen: Seen) -> Checked:
    """The gravest status of all checks, and its reason; of two as grave the later."""
    status = torch.zeros_like(seen.distance, dtype=torch.int64)
    reason = status
    for check, given, sentence in RULES:
        taken = check(seen) & (status <= given.gravity)
        status = torch.where(taken, given.gravity, status)
        reason = torch.where(taken, REASONS.index(sentence), reason)
    return Checked(status, reason)
