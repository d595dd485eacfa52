"""Concentration <-> (bin, offset): the geometry that both stages share.

K bins have K+1 edges. The offset of a concentration in bin k is ``(concentration - center[k]) / half_width[k]``: in
[-1, 1] inside the bin, beyond it outside. Concentrations outside the range belong to the first or the last bin and
have an offset beyond -1 or 1, so (bin, offset) always gives the concentration back.

On a circle, with a period, the first bin lies beside the last, and differences, means and offsets take the shorter way.
On a logarithmic scale centers, widths and distances are those of the logarithms: bins as wide in decades are alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from twostage.errors import ConfigError
from twostage.scale import LINEAR, SCALES, Scale, circle

__all__ = ["Bins"]

FAR_FROM_ZERO = 4
"""Ranges; nearer, float32 loses less than a millionth of the range."""

LARGEST = 1e30
"""Widths and centers of bins stay finite in float32, which the networks count with."""


class Bins:
    """Immutable bin geometry over K+1 increasing edges, in the unit of the concentration, on a scale.

    Examples:
        >>> bins = Bins.uniform(80, 350, 9)
        >>> bins.index([80, 109.9, 110, 400]).tolist()
        [0, 0, 1, 8]
        >>> offset = bins.offset([125.0], [1])
        >>> bins.concentration([1], offset).tolist()
        [125.0]
        >>> Bins.uniform(0, 360, 4, period=360).mean([[350.0, 30.0]], [[0.5, 0.5]]).round(9).tolist()
        [10.0]
    """

    def __init__(self, edges: Sequence[float] | np.ndarray, scale: str = "linear", period: float | None = None) -> None:
        """`scale` is "linear" or "log"; `period` is that of a circle, which the edges must fill.

        Raises:
            ConfigError: There are not two or more finite, strictly increasing edges that are numbers, above zero on a
                logarithmic scale and a period apart on a circle.
        """
        given = np.array(edges)
        if given.dtype.kind not in "iuf":  # numpy would make numbers of texts
            raise ConfigError(f"bin edges must be numbers, not {given.tolist()}")
        array = given.astype(np.float64)
        if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
            raise ConfigError(f"bin edges must be two or more finite, increasing numbers, not {array.tolist()}")
        if np.abs(array).max() > LARGEST:
            raise ConfigError(f"bin edges must lie within {LARGEST:g} of zero, not {array.tolist()}: use another unit")
        if scale == "log" and array[0] <= 0:
            raise ConfigError(f"with data.scale=log bin edges must be above zero, not {array.tolist()}")
        array.setflags(write=False)
        self.scale: Scale = SCALES[scale] if period is None else circle(array, scale, period)
        self.places = self.scale.to(array)
        self.edges = array

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "edges"):
            raise AttributeError("bins cannot be changed: make others")
        super().__setattr__(name, value)

    @classmethod
    def uniform(cls, low: float, high: float, count: int, scale: str = "linear", period: float | None = None) -> Bins:
        """`count` bins of equal width, on the scale, between `low` and `high`."""
        ends = cls([low, high], scale, period)
        edges = ends.scale.back(np.linspace(ends.places[0], ends.places[1], count + 1))
        edges[0], edges[-1] = low, high  # which a logarithm may miss by a last digit
        return ends.with_edges(edges)

    @classmethod
    def quantile(
        cls,
        targets: ArrayLike,
        count: int,
        low: float | None = None,
        high: float | None = None,
        scale: str = "linear",
        period: float | None = None,
    ) -> Bins:
        """Bins with about equally many of `targets` (N,) each; equal quantiles are joined, so there may be fewer."""
        targets = np.asarray(targets, np.float64)
        low, high = (targets.min() if low is None else low), (targets.max() if high is None else high)
        inside = targets[(targets >= low) & (targets <= high)]
        if not len(inside):
            raise ConfigError(f"no training target lies in the range {low:g}..{high:g}: set bins.range=null")
        inner = np.quantile(inside, np.linspace(0, 1, count + 1)[1:-1])
        inner = inner[(inner > low) & (inner < high)]
        return cls(np.unique(np.concatenate([[low], inner, [high]])), scale, period)

    def with_edges(self, edges: Sequence[float] | np.ndarray) -> Bins:
        """Bins with other edges on the same scale."""
        return Bins(edges, self.scale.name, self.period)

    @property
    def period(self) -> float | None:
        """After which concentrations come again; None on a line."""
        return self.scale.period

    @property
    def count(self) -> int:
        """Number of bins K."""
        return len(self.edges) - 1

    @property
    def center(self) -> np.ndarray:
        """Middle of each bin, (K,); on a logarithmic scale the geometric mean of its edges."""
        return self.scale.back(self._middle)

    @property
    def _middle(self) -> np.ndarray:
        """Place of each center on the scale, (K,)."""
        return np.asarray((self.places[:-1] + self.places[1:]) / 2)

    @property
    def half_width(self) -> np.ndarray:
        """Half of each bin's width, (K,); on a logarithmic scale in decades."""
        return np.diff(self.places) / 2

    @property
    def origin(self) -> float:
        """What networks count places on the scale from: zero, or the middle of a range that lies far from zero.

        There float32, of 7 digits, would spend most of them on what all concentrations have in common.
        """
        low, high = float(self.places[0]), float(self.places[-1])
        middle = low + (high - low) / 2
        return middle if abs(middle) > FAR_FROM_ZERO * (high - low) else 0.0

    def moved(self) -> Bins:
        """The same bins as networks count them: on a linear scale, from `origin`."""
        return Bins(self.places - self.origin, period=self.period)

    def move(self, concentration: ArrayLike) -> np.ndarray:
        """Concentrations (N,) as networks count them, (N,): their places in `moved`."""
        return self.scale.to(self.scale.home(concentration)) - self.origin

    def index(self, concentration: ArrayLike) -> np.ndarray:
        """Bin of each concentration (N,) -> int64 (N,). An edge belongs to the bin above it; the last to the last."""
        found = np.searchsorted(self.edges, self.scale.home(concentration), side="right") - 1
        return np.clip(found, 0, self.count - 1)

    def offset(self, concentration: ArrayLike, bin_index: ArrayLike) -> np.ndarray:
        """Offset of each concentration (N,) in the bin named for it (N,) -> (N,)."""
        bin_index = np.asarray(bin_index)
        return self.scale.apart(self.scale.to(concentration), self._middle[bin_index]) / self.half_width[bin_index]

    def concentration(self, bin_index: ArrayLike, offset: ArrayLike) -> np.ndarray:
        """Inverse of `offset`: (N,) bins and (N,) offsets -> (N,) concentrations."""
        bin_index = np.asarray(bin_index)
        place = self._middle[bin_index] + self.half_width[bin_index] * np.asarray(offset, np.float64)
        return self.scale.home(self.scale.back(place))

    def offsets(self, concentration: ArrayLike) -> np.ndarray:
        """Offset of each concentration (N,) in every bin -> (N,K)."""
        return self.scale.apart(self.scale.to(concentration)[:, None], self._middle) / self.half_width

    def candidates(self, offsets: ArrayLike) -> np.ndarray:
        """What every bin says, given the offsets in all of them (N,K): concentrations (N,K)."""
        return self.scale.back(self._middle + self.half_width * np.asarray(offsets, np.float64))

    def difference(self, first: ArrayLike, second: ArrayLike) -> np.ndarray:
        """How far the first concentrations (N,) lie above the second (N,), in their unit.

        On a circle the shorter way counts.
        """
        return self.scale.apart(np.asarray(first, np.float64), np.asarray(second, np.float64))

    def mean(self, concentrations: ArrayLike, weights: ArrayLike) -> np.ndarray:
        """Weighted means on the scale of concentrations (N,K), weights (N,K) of sum one: (N,).

        Weights of float32 sum to one within a ten millionth: far from zero that would be units, from `origin` not.
        On a circle it is their common direction.
        """
        if self.period is not None:
            return self.scale.mean(np.asarray(concentrations), np.asarray(weights))
        mean = (np.asarray(weights, np.float64) * self.move(concentrations)).sum(1)
        return self.scale.back(self.origin + mean)

    @property
    def stretch(self) -> np.ndarray:
        """How much each bin lacks, as a share of its width, to be as wide as the mean: (K,), zero for equal widths."""
        return self.half_width.mean() / self.half_width - 1

    def stretched(self, concentration: ArrayLike) -> np.ndarray:
        """Places of concentrations (...) where all bins are as wide as their mean, and so is what lies beyond."""
        place = self.scale.to(concentration)[..., None]
        low, high = np.zeros(self.count), 2 * self.half_width
        if self.period is None:
            low[0], high[-1] = -np.inf, np.inf
        return np.asarray(place[..., 0] + (self.stretch * np.clip(place - self.places[:-1], low, high)).sum(-1))

    def soft_targets(self, concentration: ArrayLike, smoothing: float) -> np.ndarray:
        """Bin probabilities of a Gaussian around each concentration (N,) -> (N,K), rows of sum one.

        The standard deviation is `smoothing` times the mean bin width, on a scale on which all bins are that wide, so
        that the bin which holds the concentration is the likeliest; the tails beyond the range go to the first and last
        bin, on a circle around it. Source: HL-Gauss, Imani and White 2018, "Improving regression performance with
        distributional losses".
        """
        sd = smoothing * 2 * self.half_width.mean()
        if self.period is not None:
            home = self.scale.home(concentration)
            places = self.stretched(self.edges) + self.period * np.arange(-1, 2)[:, None, None]
            mass = np.diff(ndtr((places - self.stretched(home)[:, None]) / sd), axis=-1).sum(0)
            return np.asarray(mass / mass.sum(1, keepdims=True))
        below = ndtr((self.stretched(self.edges[1:-1]) - self.stretched(concentration)[:, None]) / sd)
        padded = np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
        return np.diff(padded, axis=1)

    def membership(self, concentration: ArrayLike, overlap: float) -> np.ndarray:
        """How much each concentration (N,) counts for the regressor of each bin -> (N,K) in [0, 1].

        One inside the bin, falling as a cosine to zero `overlap` bin widths outside it. The first and last bin keep
        everything beyond the range, on a line.
        """
        if self.period is not None and overlap > 0:
            outside = np.maximum(np.abs(self.offsets(concentration)) - 1, 0.0) / 2
            return 0.5 * (1 + np.cos(np.pi * np.clip(outside / overlap, 0.0, 1.0)))
        place = self.scale.to(concentration)[:, None]
        low, high = self.places[:-1].copy(), self.places[1:].copy()
        low[0], high[-1] = -np.inf, np.inf
        outside = np.maximum(np.maximum(low - place, place - high), 0.0) / (2 * self.half_width)
        if overlap == 0:
            return np.eye(self.count)[self.index(concentration)]
        return 0.5 * (1 + np.cos(np.pi * np.clip(outside / overlap, 0.0, 1.0)))

    def between(self, levels: ArrayLike) -> Bins:
        """The bins with every inner edge moved to the middle, on the scale, between the two levels (L,) beside it.

        Where concentrations are few levels an edge on one of them would leave its bin to rounding. An edge on a level
        moves up; edges that meet become one; one that has no level on a side stays.
        """
        known = self.scale.to(np.unique(np.asarray(levels, np.float64)))
        inner = self.places[1:-1]
        above = np.searchsorted(known, inner + 1e-9 * np.ptp(self.places), side="right")
        has_both = (above > 0) & (above < len(known))
        middle = (known[np.clip(above - 1, 0, None)] + known[np.clip(above, None, len(known) - 1)]) / 2
        moved = np.where(has_both, self.scale.back(middle), self.edges[1:-1])
        moved = moved[(moved > self.edges[0]) & (moved < self.edges[-1])]
        return self.with_edges(np.unique(np.concatenate([self.edges[[0]], moved, self.edges[[-1]]])))

    def merged(self, targets: ArrayLike, least: int, groups: np.ndarray | None = None) -> Bins:
        """Merge each bin that holds fewer than `least` of `targets` (N,) with its emptier neighbour.

        Args:
            groups: Of each target, (N,): then a bin needs targets of so many groups.
        """
        edges = list(self.edges)
        of_group = None if groups is None else np.unique(groups, return_inverse=True)[1]
        while len(edges) > 2:
            index = self.with_edges(edges).index(targets)
            if of_group is not None:  # each group once in each bin
                index = np.unique(np.stack([index, of_group], 1), axis=0)[:, 0]
            counts = np.bincount(index, minlength=len(edges) - 1)
            k = int(np.argmin(counts))
            if counts[k] >= least:
                break
            neighbours = [j for j in (k - 1, k + 1) if 0 <= j < len(counts)]
            j = min(neighbours, key=lambda j: counts[j])
            del edges[max(j, k)]
        return self.with_edges(edges)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bins) or (self.scale.name, self.period) != (other.scale.name, other.period):
            return False
        return np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash(self.edges.tobytes())

    def __repr__(self) -> str:
        on = "" if self.scale.name == LINEAR.name else f", scale={self.scale.name!r}"
        on += "" if self.period is None else f", period={self.period:g}"
        return f"Bins({self.edges.tolist()}{on})"
