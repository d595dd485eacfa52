"""What a search has found, as a picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from twostage.report.canvas import BLUE, GRAY, RED, log_scale, named, new_figure, png_of, text_of

__all__ = ["search_figure"]

MOST_COLUMNS = 4


def search_figure(
    trials: pd.DataFrame,
    options: Mapping[str, bool],
    by_factors: Collection[str],
    importances: Mapping[str, float],
    unit: str,
) -> bytes:
    """RMSE of the trials in their order, what options explain of it, and RMSE against each option.

    Args:
        trials: `trial`, `rmse` (NaN where there is none) and a column per option, as text.
        options: {option: is it a number?}.
        by_factors: Options with a logarithmic axis.
        importances: {option: share}; {} where nothing is known.
    """
    columns = min(MOST_COLUMNS, max(2, len(options)))
    rows = -(-len(options) // columns)
    figure = new_figure(2.7 * columns, 2.9 + 2.3 * rows)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[2.9, *[2.3] * rows])
    left = columns - columns // 2
    _history(figure.add_subplot(grid[0, :left]), trials, unit)
    _shares(figure.add_subplot(grid[0, left:]), importances, list(options))
    for place, (option, is_number) in enumerate(options.items()):
        axes = figure.add_subplot(grid[1 + place // columns, place % columns])
        _slice(axes, trials, option, is_number, option in by_factors)
        axes.set_ylabel(named("RMSE", unit) if place % columns == 0 else "")
    return png_of(figure)


def _history(axes: Axes, trials: pd.DataFrame, unit: str) -> None:
    ordered = trials.sort_values("trial")
    done, others = ordered[ordered["rmse"].notna()], ordered[ordered["rmse"].isna()]
    axes.plot(done["trial"], done["rmse"], "o", color=BLUE, markersize=4, label="finished")
    if len(others):
        top = np.full(len(others), 0.98)
        axes.plot(
            others["trial"],
            top,
            "x",
            color=GRAY,
            markersize=4,
            transform=axes.get_xaxis_transform(),
            label="not finished",
        )
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


def _slice(axes: Axes, trials: pd.DataFrame, option: str, is_number: bool, by_factors: bool) -> None:
    done = trials[trials["rmse"].notna()]
    if is_number:
        axes.plot(done[option].astype(float), done["rmse"], "o", color=BLUE, markersize=4)
        if by_factors:
            axes.set_xscale("log")
    else:
        names = sorted(done[option].unique())
        places = [names.index(value) for value in done[option]]
        axes.plot(places, done["rmse"], "o", color=BLUE, markersize=4)
        axes.set_xticks(range(len(names)), [text_of(name, 20) for name in names], rotation=20, fontsize="small")
        axes.set_xlim(-0.5, len(names) - 0.5)
    if len(done):
        best = done["rmse"].to_numpy().argmin()
        value = done[option].iloc[best]
        at = float(value) if is_number else names.index(value)
        axes.plot([at], [done["rmse"].iloc[best]], "D", color=RED, markersize=6)
    log_scale(axes, done["rmse"])
    axes.set_xlabel(text_of(option, 40))
