"""Figures of the intervals around readings: on the first page, and whether they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twostage.evaluation.coverage import inside
from twostage.report.canvas import BLUE, GRAY, RED, named, new_figure, png_of
from twostage.scale import LINEAR, Scale

__all__ = ["MOST_INTERVALS", "coverage_figure", "first_figure"]

MOST_INTERVALS = 200
"""Intervals of more photographs than these would hide one another."""


def first_figure(
    target: np.ndarray, predicted: np.ndarray, lower: np.ndarray, upper: np.ndarray, unit: str, scale: Scale = LINEAR
) -> bytes:
    """Small scatter of predicted (N,) against measured (N,), with the intervals where they can be seen."""
    figure = new_figure(3.3, 3.3)
    axes = figure.subplots()
    axes.set(xscale=scale.name, yscale=scale.name)
    ends = np.array([min(target.min(), predicted.min()), max(target.max(), predicted.max())])
    axes.plot(ends, ends, color=GRAY, linewidth=1)
    if len(target) <= MOST_INTERVALS and np.isfinite(lower).all():
        axes.vlines(target, lower, upper, color=BLUE, alpha=0.4, linewidth=1)
    axes.scatter(target, predicted, s=14 if len(target) <= 1000 else 5, alpha=0.6, color=BLUE, edgecolors="none")
    axes.set_xlabel(named("measured", unit))
    axes.set_ylabel(named("predicted", unit))
    return png_of(figure)


def coverage_figure(
    by_range: Sequence[Mapping[str, Any]],
    confidence: float,
    target: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    unit: str,
    scale: Scale = LINEAR,
) -> bytes:
    """Share of concentrations inside their intervals in each part of the range, above the widths of the intervals.

    Args:
        by_range: As `evaluation.coverage.coverage` gives it.
        confidence: The share that shall lie inside.
        target: Measured concentrations (N,).
        lower: Lower ends (N,).
        upper: Upper ends (N,).
    """
    figure = new_figure(6.4, 5.2)
    shares, widths = figure.subplots(2, 1, sharex=True)
    shares.set_xscale(scale.name)
    low, high = (np.array([part[end] for part in by_range]) for end in ("low", "high"))
    share, bands = np.array([part["share"] for part in by_range]), np.array([part["band"] for part in by_range])
    middle = scale.back((scale.to(low) + scale.to(high)) / 2)
    shares.axhline(confidence, color=RED, linestyle="--", linewidth=1.2, label=f"as it should be: {confidence:g}")
    shares.hlines(share, low, high, color=BLUE, linewidth=2)
    ends = np.maximum(np.abs(bands - share[:, None]).T, 0)
    shares.errorbar(middle, share, ends, fmt="o", color=BLUE, markersize=5, capsize=3, label="found, with 95 % band")
    shares.set_ylim(0, 1.04)
    shares.set_ylabel("share inside\ntheir intervals")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    size, alpha = (14, 0.6) if len(target) <= 1000 else (6, 0.3)
    holds = inside(target, lower, upper, scale)
    for rows, color, label in ((holds, BLUE, "inside"), (~holds, RED, "outside")):
        widths.scatter(
            target[rows], (upper - lower)[rows], s=size, alpha=alpha, color=color, edgecolors="none", label=label
        )
    widths.legend(frameon=False, fontsize="small", ncols=2)
    widths.set_ylim(0, 1.25 * float((upper - lower).max()) or 1)
    widths.set_ylabel(named("width of the interval", unit))
    widths.set_xlabel(named("measured concentration", unit))
    return png_of(figure)
