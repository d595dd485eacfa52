"""Trust: all that is learned about whether a model's numbers may be believed, as one thing that goes with the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.errors import ConfigError
from twostage.options.choices import INTERVALS
from twostage.options.family import resolve
from twostage.scale import Scale
from twostage.stages.combination import combine
from twostage.stages.reading import Reading
from twostage.trust.dispersion import PARTS, Dispersion, alike, parts_by_specimen
from twostage.trust.distribution import Distribution
from twostage.trust.drift import Then, of_specimens
from twostage.trust.intervals import Intervals, load_intervals, specimens_needed
from twostage.trust.typicality import Typicality, upper_limit

__all__ = ["Judged", "Trust"]


@dataclass(frozen=True)
class Judged:
    """N photographs with known concentrations that no network and no closed form has learned from.

    `reading` is what the stages say of them, `distance` (N,) how far they lie from the photographs of the training
    (see `Typicality`), `target` (N,) their true concentrations, `groups` (N,) their specimens.
    """

    reading: Reading
    distance: np.ndarray
    target: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: np.ndarray) -> Judged:
        return Judged(self.reading[rows], self.distance[rows], self.target[rows], self.groups[rows])

    @property
    def specimens(self) -> int:
        """How many."""
        return len(np.unique(self.groups))

    def places(self, bins: Bins, combination: str) -> tuple[np.ndarray, np.ndarray]:
        """Where on the scale the specimens (S,) are read, and where they lie: means over the photographs of each."""
        read, wanted = self.named(bins.scale, combine(bins, self.reading, combination))
        return of_specimens(read, self.groups), of_specimens(wanted, self.groups)

    def named(self, scale: Scale, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places on the scale of what was read, and of the targets, (N,), beside each other on a circle."""
        wanted = scale.together(scale.to(self.target), self.groups)
        return scale.near(scale.to(concentration), wanted), wanted

    def errors(self, bins: Bins, combination: str) -> np.ndarray:
        """How far above that they are read, (S,)."""
        read, wanted = self.places(bins, combination)
        return read - wanted


@dataclass(frozen=True)
class Trust:
    """What a photograph is like, how wrong a reading may be, and how wide its interval is; None where not known.

    `method` is the name of the intervals; `unlike` says whether a photograph unlike the training is flagged or refused;
    `max_width` is the length of an interval, in the unit of the concentration, above which confidence is low;
    `false_alarm` is the share of specimens of the right kind that may be called unlike; `errors` (S,) are those of the
    calibration's specimens, on the scale; `disagreement` is how far what stage 1 alone estimates may lie from the
    number, on the scale, with the same share of false alarms.
    """

    typicality: Typicality | None = None
    dispersion: Dispersion | None = None
    intervals: Intervals | None = None
    method: str = "none"
    unlike: str = "flag"
    confidence: float = 0.9
    max_width: float | None = None
    false_alarm: float = 0.01
    errors: np.ndarray | None = None
    disagreement: float | None = None

    def knowing(self, typicality: Typicality) -> Trust:
        """With what the photographs of the training look like."""
        return replace(self, typicality=typicality)

    def fitted(self, bins: Bins, judged: Judged, combination: str = "mixture") -> Trust:
        """With dispersion, intervals and errors, learned from photographs that nothing else has seen.

        The strangeness of each is measured with a dispersion that has not seen its specimen either.

        Args:
            combination: How bins and offsets become one concentration.
        """
        if judged.specimens < 2:
            return self
        dispersion = Dispersion.fit(bins, judged.reading, judged.distance, judged.target, judged.groups)
        family = resolve(INTERVALS.member(self.method))
        intervals = family.fit(_left_out(bins, judged), judged.target, alike(judged.groups))
        return replace(
            self,
            dispersion=dispersion,
            intervals=intervals,
            errors=judged.errors(bins, combination),
            disagreement=_usual_disagreement(bins, judged, combination, self.false_alarm),
        )

    @property
    def has_intervals(self) -> bool:
        """Does a reading get an interval?"""
        have = 0.0 if self.intervals is None or self.method == "none" else float(self.intervals.weight.sum())
        return have + 1e-9 >= specimens_needed(self.confidence)

    @property
    def then(self) -> Then | None:
        """What the model could do when it was new; None where that was not kept."""
        return None if self.errors is None or len(self.errors) < 2 else Then(self.errors)

    def at(self, confidence: float) -> Trust:
        """The same with intervals of another confidence.

        Raises:
            ConfigError: That is none, or too few specimens were there for it.
        """
        if not 0 < confidence < 1:
            raise ConfigError(f"confidence={confidence:g} is none: give a number between 0 and 1, such as 0.95")
        have = 0.0 if self.intervals is None else float(self.intervals.weight.sum())
        if have + 1e-9 < specimens_needed(confidence):
            most = f": give at most {have / (have + 1):.3g}" if have else ""
            raise ConfigError(
                f"confidence={confidence:g} needs {specimens_needed(confidence)} specimens for calibration, the model "
                f"has {have:g}{most}"
            )
        return replace(self, confidence=float(confidence))

    def distance(self, pixels: Any) -> np.ndarray:
        """How far photographs (N,H,W,3) lie from those of the training, (N,); NaN where that was not learned."""
        return np.full(len(pixels), np.nan) if self.typicality is None else self.typicality.distance(pixels)

    def distribution(self, bins: Bins, reading: Reading, distance: np.ndarray) -> Distribution | None:
        """The predictive distributions of N photographs; None where that was not learned."""
        return None if self.dispersion is None else self.dispersion.distribution(bins, reading, distance)

    def bounds(self, distribution: Distribution | None, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends for `count` photographs, NaN where there are none."""
        if self.intervals is None or distribution is None:
            return np.full(count, np.nan), np.full(count, np.nan)
        return self.intervals.bounds(distribution, self.confidence)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs."""
        names = ("unlike", "confidence", "max_width", "false_alarm")
        found = {name: getattr(self, name) for name in names}
        for name, part in (("typicality", self.typicality), ("dispersion", self.dispersion)):
            found |= {} if part is None else {name: part.to_json()}
        if self.intervals is not None:
            found["intervals"] = {"method": self.method, **self.intervals.to_json()}
        if self.disagreement is not None:
            found["disagreement"] = self.disagreement
        if self.errors is not None:
            found["errors"] = [float(f"{value:.9g}") for value in self.errors]
        return found

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Trust:
        """The same.

        Raises:
            ConfigError, KeyError, TypeError, ValueError: The description is not what was written.
        """
        given: dict[str, Any] = {}
        if "typicality" in content:
            given["typicality"] = Typicality.from_json(content["typicality"])
        if "dispersion" in content:
            given["dispersion"] = Dispersion.from_json(content["dispersion"])
        if "intervals" in content:
            given |= {"intervals": load_intervals(content["intervals"]), "method": content["intervals"]["method"]}
        if "disagreement" in content:
            given["disagreement"] = float(content["disagreement"])
        if "errors" in content:
            given["errors"] = np.array(content["errors"], float).reshape(-1)
        width, confidence, alarm = content["max_width"], float(content["confidence"]), float(content["false_alarm"])
        if content["unlike"] not in ("flag", "refuse") or not 0 < confidence < 1:
            raise ValueError("unlike is flag or refuse, and confidence lies between 0 and 1")
        width = None if width is None else float(width)
        return cls(**given, unlike=content["unlike"], confidence=confidence, max_width=width, false_alarm=alarm)


def _usual_disagreement(bins: Bins, judged: Judged, combination: str, false_alarm: float) -> float | None:
    """Beyond which the stages differ in a share of specimens, by the worst photograph of each; None without stage 1."""
    read = bins.scale.to(combine(bins, judged.reading, combination))
    apart = np.abs(bins.scale.apart(judged.reading.first, read))
    if not np.isfinite(apart).all():
        return None
    farthest = pd.Series(apart).groupby(judged.groups).max().to_numpy()
    limit = float(np.exp(upper_limit(np.log(np.maximum(farthest, 1e-12)), false_alarm)))
    return limit if np.isfinite(limit) else None


def _left_out(bins: Bins, judged: Judged) -> Distribution:
    """The predictive distributions of photographs, each by a dispersion that was learned without its specimen."""
    parts = parts_by_specimen(judged.groups, PARTS)
    found, order = [], []
    for part in range(parts.max() + 1):
        rows, rest = np.flatnonzero(parts == part), judged[parts != part]
        dispersion = Dispersion.fit(bins, rest.reading, rest.distance, rest.target, rest.groups)
        found.append(dispersion.distribution(bins, judged.reading[rows], judged.distance[rows]))
        order.append(rows)
    return Distribution.joined(found)[np.argsort(np.concatenate(order))]
