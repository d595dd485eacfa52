"""A prediction: what a user gets of photographs, a reading that was combined and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.data.store import Pixels
from twostage.errors import ConfigError
from twostage.scale import Scale
from twostage.stages.combination import combine
from twostage.stages.limits import Limits
from twostage.stages.reading import Reading
from twostage.trust.checks import Seen, look
from twostage.trust.distribution import Distribution
from twostage.trust.recalibration import Recalibration
from twostage.trust.status import Status
from twostage.trust.trust import Trust

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What was read from N photographs, in the unit of the training table.

    `concentration`, `lower`, `upper` float64 (N,), NaN where refused; lower and upper are NaN throughout for a model
    without intervals; on a circle they are counted on beyond its ends, as 350 to 370 degrees around 358. `bin_index`
    (N,) int64 names the bin in which the concentration lies, -1 where refused; `bin_probabilities` (N,K) say how likely
    each bin is, calibrated where the model has learned that, and `reading` is what both stages say, its arrays (N,K):
    NaN where refused. `status` (N,) holds the values of `Status`; `reason` (N,) says why a status is not "ok", or that
    a number was beyond a limit. `distribution` is the predictive distribution, None for a model that
    has not learned it. `unit` is that of the concentrations; may be empty.

    Examples:
        >>> bins = Bins.uniform(80, 350, 9)
        >>> said = Reading(np.eye(9)[[2, 4]], np.zeros((2, 9)), np.full((2, 9), -1.0))
        >>> prediction = predict(bins, np.zeros((2, 8, 8, 3), np.uint8), said, "mixture", failed={1: "no photograph"})
        >>> prediction.concentration.tolist(), prediction.status.tolist()
        ([155.0, nan], ['ok', 'refused'])
        >>> prediction.to_frame(["a.jpg", "b.jpg"])[["image", "reason", "concentration", "bin_low", "bin_high"]]
           image         reason  concentration  bin_low  bin_high
        0  a.jpg                         155.0    140.0     170.0
        1  b.jpg  no photograph            NaN      NaN       NaN
    """

    bins: Bins
    reading: Reading
    concentration: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bin_index: np.ndarray
    bin_probabilities: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    distribution: Distribution | None = None
    unit: str = ""

    def __len__(self) -> int:
        return len(self.concentration)

    @classmethod
    def joined(cls, parts: Sequence[Prediction]) -> Prediction:
        """One or more predictions of the same model, one after another."""
        reading = Reading(*(np.concatenate(said) for said in zip(*(part.reading for part in parts), strict=True)))
        known = [part.distribution for part in parts if part.distribution is not None]
        distribution = Distribution.joined(known) if len(known) == len(parts) else None
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls._arrays()}
        return cls(parts[0].bins, reading, distribution=distribution, unit=parts[0].unit, **arrays)

    def select(self, rows: np.ndarray) -> Prediction:
        """The prediction of the given rows (indices or a boolean mask)."""
        distribution = None if self.distribution is None else self.distribution[rows]
        arrays = {name: getattr(self, name)[rows] for name in self._arrays()}
        return Prediction(self.bins, self.reading[rows], distribution=distribution, unit=self.unit, **arrays)

    @classmethod
    def _arrays(cls) -> list[str]:
        return [field.name for field in fields(cls) if field.name not in ("bins", "reading", "distribution", "unit")]

    @property
    def offsets(self) -> np.ndarray:
        """In each bin, (N,K)."""
        return self.reading.offsets

    @property
    def is_read(self) -> np.ndarray:
        """Which photographs have a number, (N,)."""
        return self.status != Status.REFUSED.value

    def cdf(self, concentration: np.ndarray | float) -> np.ndarray:
        """Probability that each concentration is at most this one, or this of (N,): (N,), NaN where refused.

        Raises:
            ConfigError: The model has not learned how wrong its readings are.
        """
        return self._known().cdf(concentration)

    def quantile(self, level: np.ndarray | float) -> np.ndarray:
        """The concentration that is exceeded with probability 1 - level: (N,) for a number, (N,M) for levels (N,M).

        Raises:
            ConfigError: As `cdf`.
        """
        return self._known().quantile(level)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Concentrations drawn from the predictive distributions, (N,count).

        Raises:
            ConfigError: As `cdf`.
        """
        return self._known().sample(count, seed)

    def _known(self) -> Distribution:
        if self.distribution is None:
            raise ConfigError(
                "this model has not learned how wrong its readings are: train it with split.calibration above 0"
            )
        return self.distribution

    def in_words(self, i: int) -> list[str]:
        """The reading of photograph `i`, counted from 0, in lines for people: number and interval; status and reason.

        Raises:
            ConfigError: There is no such photograph.
        """
        if not -len(self) <= i < len(self):
            raise ConfigError(f"there is no photograph {i}: this prediction has {len(self)}, counted from 0")
        status, reason = Status(self.status[i]), str(self.reason[i])
        judged = f"{status.value}: {reason or status.words}"
        if status is Status.REFUSED:
            return [judged]
        number = f"{self.concentration[i]:.4g} {self.unit}".rstrip()
        if np.isfinite([self.lower[i], self.upper[i]]).all():
            number += f", between {self.lower[i]:.4g} and {self.upper[i]:.4g}"
        return [number, judged]

    def plot(self, i: int = 0) -> Figure:
        """The reading of photograph `i`, counted from 0: bins, predictive density, number, interval, status, reason.

        ``prediction.plot(0).savefig("reading.png")`` writes it.

        Raises:
            ConfigError: There is no such photograph.
        """
        from twostage.report.prediction_figure import ShownPrediction, prediction_figure

        words, distribution = self.in_words(i), self.distribution
        one = None if distribution is None else distribution[np.array([i])]
        return prediction_figure(
            ShownPrediction(
                float(self.concentration[i]),
                float(self.lower[i]),
                float(self.upper[i]),
                self.bins.edges,
                self.bin_probabilities[i],
                None if one is None else lambda places: one.density(places[None])[0],
                self.unit,
                self.bins.scale,
                words,
            )
        )

    def to_frame(self, images: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per photograph, in order, with the columns of predictions.csv."""
        refused, rows = ~self.is_read, np.arange(len(self))
        index = np.where(refused, 0, self.bin_index)

        def unless_refused(values: np.ndarray) -> np.ndarray:
            return np.where(refused, np.nan, values)

        return pd.DataFrame(
            {
                "image": [str(i) for i in rows] if images is None else list(images),
                "concentration": self.concentration,
                "lower": self.lower,
                "upper": self.upper,
                "bin_index": pd.array([None if i < 0 else int(i) for i in self.bin_index], "Int64"),
                "bin_low": unless_refused(self.bins.edges[index]),
                "bin_high": unless_refused(self.bins.edges[index + 1]),
                "bin_probability": unless_refused(self.bin_probabilities[rows, index]),
                "status": self.status,
                "reason": self.reason,
            }
        )


def predict(
    bins: Bins,
    pixels: Pixels,
    reading: Reading,
    method: str,
    trust: Trust | None = None,
    failed: Mapping[int, str] | None = None,
    limits: Limits | None = None,
    distance: np.ndarray | None = None,
    recalibration: Recalibration | None = None,
    unit: str = "",
) -> Prediction:
    """Combine and check what both stages say of photographs (N,H,W,3).

    Args:
        method: How bins and offsets become one concentration, a member of `COMBINATIONS`.
        trust: What the model has learned about how far it may be believed.
        limits: What is read beyond them becomes the nearer one, and the reason says so; ends of intervals likewise. The
            checks see what was read.
        failed: Rows that could not be decoded, with the reason.
        distance: How far the photographs lie from those of the training, (N,), where that is known already.
        recalibration: By how much all that is read is to be moved.
        unit: Of the concentrations.
    """
    trust, limits, said = trust or Trust(), limits or Limits(), reading
    reading = reading if recalibration is None else recalibration.apply(bins, reading)
    concentration = combine(bins, reading, method)
    before = concentration if reading is said else combine(bins, said, method)
    distance = trust.distance(pixels) if distance is None else distance
    distribution = trust.distribution(bins, reading, distance)
    probabilities = reading.probabilities if distribution is None else distribution.mass()
    bounds = _around(bins.scale, concentration, *trust.bounds(distribution, len(reading)))
    lower, upper = map(limits.cut, bounds)
    seen = Seen(pixels, said, concentration, bins, trust, distance, probabilities, lower, upper, before)
    found = [(Status.OK, limits.reasons(concentration)), *look(seen), (Status.REFUSED, dict(failed or {}))]
    status, reason = _gravest(len(reading), found)
    refused = status == Status.REFUSED.value

    def unless_refused(values: np.ndarray) -> np.ndarray:
        return np.where(refused if values.ndim == 1 else refused[:, None], np.nan, values)

    concentration = limits.cut(unless_refused(concentration))
    return Prediction(
        bins,
        Reading(*map(unless_refused, reading)),
        concentration,
        unless_refused(lower),
        unless_refused(upper),
        np.where(refused, -1, bins.index(concentration)),
        unless_refused(probabilities),
        status,
        reason,
        None if distribution is None else Distribution(bins, *map(unless_refused, distribution.arrays)),
        unit,
    )


def _around(
    scale: Scale, concentration: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of intervals (N,), on a circle by the names that lie around the concentrations (N,)."""
    if scale.period is None:
        return lower, upper
    middle = (lower + upper) / 2
    turn = scale.near(middle, concentration) - middle
    return lower + turn, upper + turn


def _gravest(count: int, found: Sequence[tuple[Status, Mapping[int, str]]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each of `count` rows the gravest status of those that were found, and its reason, (N,) each."""
    status, reason = [Status.OK] * count, [""] * count
    for given, rows in found:
        for i, why in rows.items():
            if given.gravity >= status[i].gravity:
                status[i], reason[i] = given, why
    return np.array([one.value for one in status], dtype=str), np.array(reason, dtype=str)
