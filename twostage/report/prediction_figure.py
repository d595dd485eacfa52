"""One reading: the probabilities of the bins, and around the number the predictive density and the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twostage.report.canvas import BLUE, RED, named, new_figure, text_of
from twostage.report.reading_figure import draw_bins
from twostage.scale import Scale

__all__ = ["ShownPrediction", "prediction_figure"]

MOST_NAMED = 12
"""More bins than these have no room for numbers above them."""
POINTS = 400
BESIDE = 1.0
"""Lengths of the interval that are shown on either side of it."""


@dataclass(frozen=True)
class ShownPrediction:
    """A reading in the unit of the table: its number, NaN where refused; the interval's ends, NaN without one.

    `edges` (K+1,) and `probabilities` (K,) are of the bins; `density` gives the predictive density at places on the
    scale (M,), and is None where it is not known; `words` are lines that say all of it.
    """

    concentration: float
    lower: float
    upper: float
    edges: np.ndarray
    probabilities: np.ndarray
    density: Callable[[np.ndarray], np.ndarray] | None
    unit: str
    scale: Scale
    words: Sequence[str]


def prediction_figure(shown: ShownPrediction) -> Figure:
    """The bins, where there are several, and the number; of a refused photograph only the words."""
    read, several = np.isfinite(shown.concentration), len(shown.probabilities) > 1
    figure = new_figure(8 if several and read else 4.8, 3.4 if read else 1.2)
    figure.suptitle("\n".join(text_of(line, 100 if several else 60) for line in shown.words), fontsize="medium")
    if read:
        parts = figure.subplots(1, 1 + several, squeeze=False).ravel()
        if several:
            parts[0].set_xscale(shown.scale.name)
            draw_bins(parts[0], shown.probabilities, shown.edges, shown.unit, MOST_NAMED)
            parts[0].axvline(shown.concentration, ymax=1 / 1.1, color="black", linewidth=1.4)
            parts[0].set_title("the bins", fontsize="medium")
            parts[0].set_ylim(0, 1.1)
        _number(parts[-1], shown)
    return figure


def _number(axes: Axes, shown: ShownPrediction) -> None:
    """Density and interval around the number."""
    axes.set_xscale(shown.scale.name)
    ends = [end for end in (shown.lower, shown.upper) if np.isfinite(end)]
    places = shown.scale.to(np.array([shown.concentration, *ends]))
    low, high = places.min(), places.max()
    beside, edges = BESIDE * (high - low) or np.ptp(shown.scale.to(shown.edges)) / 4, shown.edges
    if (period := shown.scale.period) is not None:  # once around at most
        beside, edges = min(beside, (period - high + low) / 2), np.unique([edges - period, edges, edges + period])
    places = np.linspace(low - beside, high + beside, POINTS)
    at = shown.scale.back(places)
    if shown.density is not None:
        density = shown.density(places)
        axes.fill_between(at, density / density.max(), color="#A6CBE3", label="how likely")
    if len(ends) == 2:
        axes.axvspan(*ends, color=RED, alpha=0.15, linewidth=0, label="interval")
    axes.axvline(shown.concentration, color="black", linewidth=1.4, label="read")
    for edge in edges[(edges > at[0]) & (edges < at[-1])]:
        axes.axvline(edge, color=BLUE, linewidth=0.8, linestyle=":")
    axes.set_xlim(at[0], at[-1])
    axes.set_ylim(0, 1.05)
    axes.set_yticks([])
    axes.set_xlabel(named("concentration", shown.unit))
    axes.set_title("the number", fontsize="medium")
    axes.legend(frameon=False, fontsize="small")
