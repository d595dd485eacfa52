"""Trust after a recalibration: intervals of old and new specimens together, and what the new day looks like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twostage.bins import Bins
from twostage.stages.reading import Reading
from twostage.trust.dispersion import alike
from twostage.trust.intervals import specimens_needed
from twostage.trust.recalibration import Choice
from twostage.trust.trust import Judged, Trust

__all__ = ["OLD_WEIGHT", "renewed"]

OLD_WEIGHT = 0.7
"""What a specimen of an earlier day counts beside a new one, with each recalibration once more.

Who reads four standards every morning then has a weight of 4 / (1 - 0.7) = 13 specimens in the long run, and with three
10: enough for intervals of 90 %, which ask for 9. With a half it would be 8, and no interval."""
UNDERSTOOD = 3.0
"""A new day's photographs are known as such where their errors stay below so many standard deviations of the old."""


def renewed(trust: Trust, bins: Bins, standards: Judged, combination: str, choice: Choice) -> tuple[Trust, list[str]]:
    """Trust that goes with a recalibration, and lines about what changed.

    Each standard is judged by the recalibration without its specimen. Where days differ, old and new specimens are not
    exchangeable, and the quantile of strangeness is taken with old ones at a lower weight: it then holds but for the
    weighted distance of the old from the new. Source: Barber, Candes, Ramdas and Tibshirani 2023, "Conformal prediction
    beyond exchangeability".

    Args:
        standards: As the model reads them before the recalibration.
        combination: How bins and offsets become one concentration.
    """
    left_out = _left_out(bins, standards, choice)
    trust, notes = _like(trust, bins, standards, left_out, combination)
    if trust.errors is not None and not choice.recalibration.is_none:
        trust = replace(trust, errors=trust.errors - trust.errors.mean())  # from now on no bias is expected
    if trust.intervals is None or trust.dispersion is None:
        return trust, notes
    distribution = trust.dispersion.distribution(bins, left_out.reading, left_out.distance)
    new = trust.intervals.fit(distribution, left_out.target, alike(left_out.groups))
    intervals = trust.intervals.followed_by(new, OLD_WEIGHT)
    weight, needed = intervals.weight.sum(), specimens_needed(trust.confidence)
    if weight < needed - 1e-6:
        notes.append(
            f"no intervals of {trust.confidence:.0%}: they ask for {needed} specimens, and old ones, which count "
            f"{OLD_WEIGHT:g}, and these standards weigh {weight:.3g}: add standards"
        )
    return replace(trust, intervals=intervals), notes


def _left_out(bins: Bins, standards: Judged, choice: Choice) -> Judged:
    """The standards as a recalibration reads them that has not seen their specimen."""
    which = np.unique(standards.groups, return_inverse=True)[1]
    reading = Reading.nothing(len(standards), bins.count)
    for i, recalibration in enumerate(choice.left_out):
        rows = np.flatnonzero(which == i)
        reading.put(rows, recalibration.apply(bins, standards.reading[rows]))
    return replace(standards, reading=reading)


def _like(trust: Trust, bins: Bins, standards: Judged, left_out: Judged, combination: str) -> tuple[Trust, list[str]]:
    """Let photographs as those of the new day count as known, where they are unlike the old ones and read well."""
    known = trust.typicality
    if known is None or np.median(standards.distance) <= known.threshold:
        return trust, []
    rms = float(np.sqrt(np.mean(left_out.errors(bins, combination) ** 2)))
    usual = np.inf if trust.then is None else trust.then.sd
    if rms > UNDERSTOOD * usual:
        return trust, [
            f"the standards are unlike the training photographs and not read well, each without its own help (error "
            f"{rms:.3g}, usual is {usual:.3g}): such photographs are still called unlike; give more standards, or "
            f"train with them"
        ]
    threshold = float(standards.distance.max())
    times = float(np.exp((threshold - known.threshold) / 2))
    return replace(trust, typicality=replace(known, threshold=threshold)), [
        f"the standards are unlike the training photographs: what lies {times:.3g} times as far from these as the old "
        f"threshold counts as known now"
    ]
