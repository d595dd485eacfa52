"""The range of what a model says: numbers cut at its ends, and estimates bent into it (`combine.limit`).

A concentration is cut in one place, after it was combined, whatever it was combined from. With ``logistic`` the
estimate of a network never leaves the range in the first place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twostage.bins import Bins

__all__ = ["BENDS", "Limits", "Logistic", "Straight"]

NEAREST = 0.01
"""A target is as far as this from an end, in shares of the range, when the readout is solved: at an end it is infinite,
and nearer than this it counts for next to nothing."""


@dataclass(frozen=True)
class Limits:
    """The concentrations that a model may say, and cuts to.

    `minimum` is the least that there can be (`data.minimum`); `ends` are those of the bins, where `combine.limit` asks
    for them. None: there is no such limit.

    >>> limits = Limits(ends=(80.0, 350.0))
    >>> limits.cut(np.array([79.0, 100.0, np.nan])).tolist(), limits.reasons(np.array([79.0, 100.0]))
    ([80.0, 100.0, nan], {0: 'read as 79, beyond 80..350, which combine.limit cuts'})
    """

    minimum: float | None = None
    ends: tuple[float, float] | None = None

    def cut(self, concentration: np.ndarray) -> np.ndarray:
        """Concentrations (N,), each that lies beyond a limit moved to it; NaN stays."""
        if self.ends is not None:
            concentration = np.clip(concentration, *self.ends)
        return concentration if self.minimum is None else np.maximum(concentration, self.minimum)

    def reasons(self, concentration: np.ndarray) -> dict[int, str]:
        """Rows that were read beyond a limit, with what was read."""
        low, high = self.ends or (-np.inf, np.inf)
        found = {
            i: f"read as {concentration[i]:.4g}, beyond {low:g}..{high:g}, which combine.limit cuts"
            for i in np.flatnonzero((concentration < low) | (concentration > high)).tolist()
        }
        below = [] if self.minimum is None else np.flatnonzero(concentration < self.minimum).tolist()
        return found | {i: f"read as {concentration[i]:.4g}, below data.minimum={self.minimum:g}" for i in below}


class Straight:
    """Between what a readout says and places: nothing on a line, an angle on a circle (`Scale.code`)."""

    def __init__(self, bins: Bins) -> None:
        self.scale = bins.scale
        low, high = map(float, bins.edges[[0, -1]])
        self.middle, self.half = (low + high) / 2, (high - low) / 2

    def __call__(self, said: Tensor) -> Tensor:
        """Estimated places of what the readout says on a line, (...) each."""
        return said

    def code(self, place: np.ndarray) -> np.ndarray:
        """What the readout is to say for places (N,): (N,R)."""
        return self.scale.code(place)

    def decoded(self, code: np.ndarray) -> np.ndarray:
        """Inverse of `code`: (N,R) -> (N,)."""
        return self.scale.decoded(code)

    def slope(self, place: np.ndarray) -> np.ndarray:
        """By how much an error in what is said moves places (N,), (N,)."""
        return np.ones(len(place))


class Logistic(Straight):
    """``low + (high - low) / (1 + exp(-z))``, with z = 4 (said - middle) / (high - low): of slope one in the middle.

    Least squares are not linear any more. To first order an error in what is said moves the place by the slope times as
    much, so that the readout is solved for the code of the targets, each weighed by the slope squared: the first step
    of iterated reweighing, begun at the targets (McCullagh and Nelder 1989, "Generalized linear models", 2.5).
    """

    def __call__(self, said: Tensor) -> Tensor:
        """Places (...) within the range."""
        return self.middle + self.half * torch.tanh((said - self.middle) / self.half)

    def code(self, place: np.ndarray) -> np.ndarray:
        """What the readout is to say for places (N,), or for some a little inside, where they are not: (N,1)."""
        return np.asarray(self.middle + self.half * np.arctanh(self._inside(place)))[:, None]

    def decoded(self, code: np.ndarray) -> np.ndarray:
        """Inverse of `code`: (N,1) -> (N,)."""
        return np.asarray(self.middle + self.half * np.tanh((code[:, 0] - self.middle) / self.half))

    def slope(self, place: np.ndarray) -> np.ndarray:
        """One in the middle, and less and less to both ends."""
        return np.asarray(1 - self._inside(place) ** 2)

    def _inside(self, place: np.ndarray) -> np.ndarray:
        most = 1 - 2 * NEAREST
        return np.clip((place - self.middle) / self.half, -most, most)


BENDS: dict[str, type[Straight]] = {"none": Straight, "clip": Straight, "logistic": Logistic}
"""From what a readout says to an estimate, by `combine.limit`."""
