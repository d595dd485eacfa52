"""Figures of a run, as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from twostage.files import write_atomically

__all__ = ["predicted_against_measured"]


def predicted_against_measured(
    path: Path, target: np.ndarray, predicted: np.ndarray, edges: np.ndarray, unit: str, title: str
) -> None:
    """Scatter of predicted (N,) against measured (N,) above their residuals; bin edges as thin lines.

    Raises:
        StorageError: It cannot be written.
    """
    figure = Figure(figsize=(6, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    label = f" / {unit}" if unit else ""
    ends = np.array([min(target.min(), predicted.min()), max(target.max(), predicted.max())])
    upper.plot(ends, ends, color="0.4", linewidth=1, label="predicted = measured")
    upper.scatter(target, predicted, s=14, alpha=0.6, color="#0072B2", edgecolors="none", label="test photographs")
    upper.set_ylabel(f"predicted concentration{label}")
    upper.set_title(title)
    upper.legend(frameon=False)
    lower.axhline(0, color="0.4", linewidth=1)
    lower.scatter(target, target - predicted, s=14, alpha=0.6, color="#D55E00", edgecolors="none")
    lower.set_ylabel("residual\n(measured - predicted)")
    lower.set_xlabel(f"measured concentration{label}")
    if len(edges) <= 40:
        for axes in (upper, lower):
            for edge in edges:
                axes.axvline(edge, color="0.85", linewidth=0.7, zorder=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_atomically(path, buffer.getvalue())
