"""What a search has found, as a picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from twostage.report.canvas import BLUE, GRAY, RED, log_scale, named, new_figure, png_of, text_of

__all__ = ["search_figure"]

MOST_COLUMNS = 4
TOP, ROW = 2.9, 2.3
"""Height of the first row, and of each one below, inches."""


def search_figure(
    trials: pd.DataFrame,
    options: Mapping[str, Sequence[str]],
    by_factors: Collection[str],
    importances: Mapping[str, float],
    unit: str,
) -> bytes:
    """RMSE of the trials in their order, what options explain of it, and RMSE against each option.

    Args:
        trials: `trial`, `rmse` (NaN where there is none) and a column per option, as text.
        options: {option: what it may be, in order; nothing for a number}.
        by_factors: Options with a logarithmic axis.
        importances: {option: share}; {} where nothing is known.
    """
    columns = min(MOST_COLUMNS, max(2, len(options)))
    rows = -(-len(options) // columns)
    figure = new_figure(2.7 * columns, TOP + ROW * rows)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[TOP, ROW * rows])[:, 0]
    left, right = above.subplots(1, 2)
    _history(left, trials, unit)
    _shares(right, importances, list(options))
    places = below.subplots(rows, columns, squeeze=False, sharey=True).flat
    done = trials[trials["rmse"].notna()]
    for axes, (option, choices) in zip(places, options.items(), strict=False):
        _slice(axes, done, option, choices)
        if option in by_factors:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(text_of(option, 40))
    for place, axes in enumerate(below.axes):
        axes.set_ylabel(named("RMSE", unit) if place % columns == 0 else "")
        axes.set_visible(place < len(options))
    log_scale(below.axes[0], done["rmse"])
    return png_of(figure)


def _history(axes: Axes, trials: pd.DataFrame, unit: str) -> None:
    ordered = trials.sort_values("trial")
    done, others = ordered[ordered["rmse"].notna()], ordered[ordered["rmse"].isna()]
    axes.plot(done["trial"], done["rmse"], "o", color=BLUE, markersize=4, label="finished")
    if len(others):  # whose RMSE, if any, is another one
        top, across = np.full(len(others), 0.97), axes.get_xaxis_transform()
        axes.plot(others["trial"], top, "x", color=GRAY, markersize=4, transform=across, label="not finished")
    axes.step(done["trial"], done["rmse"].cummin(), where="post", color=RED, linewidth=1.2, label="best so far")
    log_scale(axes, done["rmse"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(named("RMSE", unit))
    axes.legend(frameon=False, fontsize="x-small", loc="best")


def _shares(axes: Axes, importances: Mapping[str, float], options: list[str]) -> None:
    order = sorted(options, key=lambda option: importances.get(option, 0.0))
    axes.barh([text_of(option, 40) for option in order], [importances.get(option, 0.0) for option in order], color=BLUE)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the differences it explains")
    if not importances:
        axes.text(0.5, 0.5, "too few trials to tell", transform=axes.transAxes, ha="center", color=GRAY)


def _slice(axes: Axes, done: pd.DataFrame, option: str, choices: Sequence[str]) -> None:
    """RMSE against an option; the best is marked."""
    if choices:
        places = np.array([choices.index(value) for value in done[option]], float)
        axes.set_xticks(range(len(choices)), [text_of(name, 20) for name in choices], fontsize="small")
        axes.tick_params(axis="x", rotation=20 if max(map(len, choices)) > 6 else 0)
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        places = done[option].astype(float).to_numpy()
    axes.plot(places, done["rmse"], "o", color=BLUE, markersize=4)
    rmse = done["rmse"].to_numpy()
    axes.plot(places[rmse == rmse.min()], rmse[rmse == rmse.min()], "D", color=RED, markersize=6)
