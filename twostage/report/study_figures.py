"""Figures that more than one training or reading goes into, as PNG."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import LogFormatter, MaxNLocator, NullLocator

from twostage.evaluation.power_law import PowerLaw
from twostage.report.canvas import BLUE, GRAY, RED, log_scale, named, new_figure, png_of

__all__ = ["learning_curve_figure", "ranking_figure"]


def learning_curve_figure(points: pd.DataFrame, law: PowerLaw, twice: tuple[float, float, float], unit: str) -> bytes:
    """RMSE against the number of training photographs, with the fitted law as far as twice the largest number.

    Args:
        points: `n_train`, `rmse`, `rmse_low_95`, `rmse_high_95` (NaN where there is no interval) and
            `rmse_colour_baseline` of each training.
        twice: RMSE expected of twice the photographs, with the ends of its interval (NaN where there is none).
    """
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    count, error = points["n_train"].to_numpy(), points["rmse"].to_numpy()
    axes.errorbar(
        count,
        error,
        np.abs(points[["rmse_low_95", "rmse_high_95"]].to_numpy().T - error),
        fmt="o",
        color=BLUE,
        capsize=3,
        label="test photographs, with 95 % interval",
    )
    grid = np.geomspace(count.min(), 2 * count.max(), 100)
    inside = grid <= count.max()
    axes.plot(grid[inside], law.rmse(grid[inside]), color="black", linewidth=1.2, label="fitted law")
    axes.plot(grid[~inside], law.rmse(grid[~inside]), color="black", linewidth=1.2, linestyle="--")
    ends = np.abs(np.array(twice[1:]) - twice[0])[:, None]
    axes.errorbar(
        [2 * count.max()],
        [twice[0]],
        ends,
        fmt="D",
        color=RED,
        markerfacecolor="white",
        capsize=3,
        label="expected of twice the photographs",
    )
    ridge = points["rmse_colour_baseline"]
    axes.plot(count, ridge, marker="s", markersize=4, linestyle=":", color=GRAY, label="colour statistics + ridge")
    axes.set_xscale("log")
    places = [*count, 2 * count.max()]
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    values = pd.Series(np.concatenate([error, ridge, twice, points["rmse_low_95"], points["rmse_high_95"]])).dropna()
    axes.set_ylim(0, 1.15 * values.max())
    log_scale(axes, values)
    if axes.get_yscale() == "log":
        axes.set_ylim(0.8 * values.min(), 1.25 * values.max())
    axes.set_xlabel("training photographs")
    axes.set_ylabel(named("RMSE", unit))
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return png_of(figure)


def ranking_figure(table: pd.DataFrame, unit: str) -> bytes:
    """RMSE of each method with its interval, best on top, beside its distance to the best with the interval of that.

    Args:
        table: As `rank_methods` gives it.
    """
    figure = new_figure(8.6, 1.4 + 0.32 * len(table))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(table))
    for axes, value, low, high, color in (
        (left, "rmse", "low", "high", BLUE),
        (right, "behind", "behind_low", "behind_high", RED),
    ):
        ends = np.abs(table[[low, high]].to_numpy().T - table[value].to_numpy())
        axes.errorbar(table[value], places, xerr=ends, fmt="o", color=color, capsize=3)
    left.set_yticks(places, table.index)
    left.invert_yaxis()
    left.set_xscale("log")
    left.xaxis.set_major_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    left.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    left.set_xlabel(named("RMSE", unit))
    right.axvline(0, color=GRAY, linewidth=1)
    largest = np.nanmax([table["behind_high"].iloc[: max(2, len(table) // 2)].max(), 1e-9])
    right.set_xlim(-largest, 1.1 * largest)  # what is far behind needs no interval
    right.xaxis.set_major_locator(MaxNLocator(5))  # more would touch
    right.set_xlabel(named("behind the best, same photographs", unit))
    figure.suptitle("with 95 % intervals; methods without a point on the right are farther behind", fontsize="small")
    return png_of(figure)
