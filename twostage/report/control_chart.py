"""The control chart of a model: the bias of every check beside what the calibration lets expect, as PNG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from twostage.report.canvas import BLUE, GRAY, GREEN, RED, named, new_figure, png_of, text_of

__all__ = ["control_chart"]

NAMED = 12
"""More checks than these are numbered."""


def control_chart(
    names: Sequence[str],
    bias: np.ndarray,
    center: float,
    spread: np.ndarray,
    average: np.ndarray,
    limit: np.ndarray,
    unit: str,
) -> bytes:
    """Shewhart's chart of T checks, above the moving average that finds small shifts which last.

    Source: Montgomery 2020, "Introduction to statistical quality control", chapters 6 and 9.

    Args:
        names: Of the checks.
        bias: Of each, (T,), on the scale.
        center: What is expected.
        spread: Standard deviation of each, (T,), NaN where it is not known: more specimens, narrower limits.
        average: Moving average of the checks in standard deviations, (T,), with its `limit` (T,); NaN where not known.
        unit: Of `bias`.
    """
    known = bool(np.isfinite(spread).any())
    figure = new_figure(6.4, 5.2 if known else 3.4)
    ratios = [3, 2] if known else [1]
    upper, *rest = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    places = np.arange(1, len(bias) + 1)
    upper.axhline(center, color=GRAY, linewidth=1)
    for width, color, style in ((2, GREEN, "--"), (3, RED, "-")) if known else ():
        for sign in (-1, 1):
            upper.step(
                np.append(places - 0.5, places[-1] + 0.5),
                center + sign * width * np.append(spread, spread[-1]),
                where="post",
                color=color,
                linestyle=style,
                linewidth=1,
                label=f"{width} standard deviations" if sign > 0 else None,
            )
    upper.plot(places, bias, "-o", color=BLUE, markersize=5, label="bias of a check")
    upper.set_ylabel(named("bias", unit))
    upper.legend(frameon=False, fontsize="small", ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    for lower in rest:
        lower.plot(places, average, "-o", color=BLUE, markersize=4)
        for sign in (-1, 1):
            lower.plot(places, sign * limit, color=RED, linewidth=1)
        lower.axhline(0, color=GRAY, linewidth=1)
        lower.set_ylabel("moving average\n(standard deviations)")
    last = rest[-1] if rest else upper
    last.set_xlim(0.5, len(bias) + 0.5)
    last.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    last.set_xlabel("check")
    if len(bias) <= NAMED:
        last.set_xticks(places, [text_of(name, 40) for name in names], rotation=45, ha="right", fontsize=8)
    return png_of(figure)
