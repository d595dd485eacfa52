"""Figures of a run, as PNG. Every function takes plain arrays and returns the file's bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from twostage.evaluation.agreement import Agreement
from twostage.evaluation.error_budget import Reliability, errors_by, normal_rmse_interval
from twostage.report.canvas import BLUE, GRAY, GREEN, PURPLE, RED, log_scale, named, new_figure, png_of, text_of
from twostage.scale import LINEAR, Scale

__all__ = [
    "COMBINATION_NAMES",
    "MOST_GROUPS",
    "agreement_limits",
    "bin_confusion",
    "bin_reliability",
    "error_budget",
    "learning_history",
    "predicted_against_measured",
    "residuals_by_group",
    "residuals_by_range",
]

MOST_GROUPS = 40
"""More groups, bins or edges than these are not drawn one by one."""
COMBINATION_NAMES = {
    "oracle": "true bin given (oracle)",
    "mixture": "mixture of all bins",
    "top2": "two likeliest bins",
    "argmax": "likeliest bin alone",
}


def predicted_against_measured(
    target: np.ndarray, predicted: np.ndarray, error: np.ndarray, edges: np.ndarray, unit: str, scale: Scale = LINEAR
) -> bytes:
    """Scatter of predicted (N,) against measured (N,) above the residuals, which are minus the errors."""
    figure = new_figure(6, 7.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    everything = np.concatenate([target, predicted, edges[[0, -1]]])
    ends = everything.min(), everything.max()
    upper.set(xscale=scale.name, yscale=scale.name)
    upper.plot(ends, ends, color=GRAY, linewidth=1, label="predicted = measured")
    _points(upper, target, predicted, BLUE, "test photographs")
    upper.set_ylabel(named("predicted concentration", unit))
    upper.set_title(f"test photographs: {len(target)}")
    upper.legend(frameon=False)
    _residuals(lower, target, error, scale.unit(unit))
    lower.set_xlabel(named("measured concentration", unit))
    _draw_edges(upper, edges)
    _draw_edges(lower, edges)
    return png_of(figure)


def residuals_by_range(
    target: np.ndarray, error: np.ndarray, ranges: np.ndarray, edges: np.ndarray, unit: str, scale: Scale = LINEAR
) -> bytes:
    """Residuals against concentration, above the RMSE of each range; `ranges` (N,) says which of those of `edges`."""
    figure = new_figure(6.4, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    table = errors_by(ranges, target, error, scale)
    low, high = edges[table.index], edges[table.index + 1]
    size, count = table["rmse"].to_numpy(), table["count"].to_numpy()
    upper.set_xscale(scale.name)
    _residuals(upper, target, error, scale.unit(unit))
    upper.hlines(-table["bias"], low, high, color="black", linewidth=2, label="mean")
    upper.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1))
    lower.bar(low, size, high - low, align="edge", color=BLUE, edgecolor="white")
    if len(table) <= MOST_GROUPS:
        lower.errorbar(
            scale.back((scale.to(low) + scale.to(high)) / 2),
            size,
            _ends(size, count),
            fmt="none",
            ecolor="black",
            capsize=3,
        )
    lower.set_ylim(0, 1.6 * size.max() or 1)
    lower.set_ylabel(named("RMSE", scale.unit(unit)))
    lower.set_xlabel(named("measured concentration", unit))
    _draw_edges(upper, edges)
    return png_of(figure)


def residuals_by_group(
    groups: np.ndarray, target: np.ndarray, error: np.ndarray, unit: str, scale: Scale = LINEAR
) -> bytes:
    """Residuals of each group (N,), by mean concentration; of more than `MOST_GROUPS` those of the largest RMSE."""
    table = errors_by(groups, target, error, scale)
    shown = table.nlargest(MOST_GROUPS, "rmse").sort_values("target")
    figure = new_figure(6.4, 1.6 + 0.23 * len(shown))
    axes = figure.subplots()
    for place, name in enumerate(shown.index):
        residual = -error[groups == name]
        _points(axes, residual, np.full(len(residual), place), RED)
        axes.plot(residual.mean(), place, "|", color="black", markersize=11, markeredgewidth=2)
    axes.axvline(0, color=GRAY, linewidth=1, zorder=0)
    names = [f"{text_of(str(name), 24)}: {row:.4g}" for name, row in shown["target"].items()]
    axes.set_yticks(range(len(shown)), names, fontsize="small")
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.set_xlabel(named("residual, measured - predicted", scale.unit(unit)))
    axes.set_title(named("specimen: its mean measured concentration", unit), loc="left", fontsize="small")
    return png_of(figure)


def agreement_limits(
    target: np.ndarray, error: np.ndarray, agreement: Agreement, unit: str, scale: Scale = LINEAR
) -> bytes:
    """Bland and Altman's plot: differences against means of both, with limits of agreement and their intervals."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    axes.set_xscale(scale.name)
    _points(axes, scale.shifted(target, error / 2), error, BLUE)
    axes.axhline(0, color="0.75", linewidth=1)
    lines = [
        ("bias", agreement.bias, agreement.bias_interval, "-"),
        ("upper limit", agreement.upper, agreement.upper_interval, "--"),
        ("lower limit", agreement.lower, agreement.lower_interval, "--"),
    ]
    for name, value, interval, style in lines:
        if value is not None:
            axes.axhline(value, color="black", linewidth=1.2, linestyle=style)
            axes.annotate(f"{name}\n{value:+.3g}", (1.01, value), xycoords=("axes fraction", "data"), va="center")
        if interval is not None:
            axes.axhspan(*interval, color=GRAY, alpha=0.2, linewidth=0)
    axes.set_xlabel(named("mean of measured and predicted", unit))
    axes.set_ylabel(named("predicted - measured", scale.unit(unit)))
    return png_of(figure)


def error_budget(costs: pd.DataFrame, borders: pd.DataFrame, unit: str) -> bytes:
    """RMSE of each combination, beside RMSE against the distance to the nearest inner edge (see error_budget.py)."""
    figure = new_figure(7.2, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    colors = {"oracle": GREEN, "mixture": BLUE, "top2": PURPLE, "argmax": RED}
    for place, name in enumerate(colors):
        error = float(costs["rmse"][name])
        left.barh(place, error, color=colors[name])
        left.annotate(f" {error:.3g}", (error, place), va="center")
    left.set_yticks(range(len(colors)), [COMBINATION_NAMES[name].replace(" (", "\n(") for name in colors])
    left.set_xlim(0, 1.25 * costs["rmse"].max() or 1)
    left.xaxis.set_major_locator(MaxNLocator(4))
    left.invert_yaxis()
    left.set_xlabel(named("RMSE", unit))
    places = np.arange(len(borders))
    for shift, (name, marker) in zip(
        (-0.15, 0, 0.15), (("oracle", "s"), ("mixture", "o"), ("argmax", "^")), strict=True
    ):
        errors, count = borders[name].to_numpy(), borders["count"].to_numpy()
        right.errorbar(
            places + shift,
            errors,
            _ends(errors, count),
            fmt=marker,
            color=colors[name],
            elinewidth=1,
            capsize=2,
            markersize=5,
            label=COMBINATION_NAMES[name],
        )
    ranges = [
        f"{low:g}-{high:g}" if np.isfinite(high) else f">{low:g}" for low, high in borders[["low", "high"]].values
    ]
    right.set_xticks(places, [f"{text}\nn={n}" for text, n in zip(ranges, borders["count"], strict=True)], fontsize=8)
    right.set_xlim(-0.5, len(borders) - 0.5)
    right.set_ylim(0, 1.5 * float(borders[["oracle", "mixture", "argmax"]].to_numpy().max()) or 1)
    right.set_xlabel("distance to the nearest edge\nbetween two bins (bin widths)")
    right.set_ylabel(named("RMSE", unit))
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return png_of(figure)


def bin_confusion(matrix: np.ndarray, edges: np.ndarray, unit: str) -> bytes:
    """Photographs by true and likeliest bin (K,K); shades are shares of each true bin."""
    count = len(matrix)
    figure = new_figure(5.6, 4.9)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="lower")
    if count <= 15:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color, fontsize=8)
    step = -(-(count + 1) // 12)
    places = np.arange(0, count + 1, step)
    labels = [f"{edge:.4g}" for edge in edges[places]]
    axes.set_xticks(places - 0.5, labels, rotation=90)
    axes.set_yticks(places - 0.5, labels)
    axes.set_xlabel(named("likeliest bin, its edges", unit))
    axes.set_ylabel(named("true bin, its edges", unit))
    figure.colorbar(image, ax=axes, label="share of the photographs of the true bin")
    return png_of(figure)


def bin_reliability(found: Reliability, before: Reliability) -> bytes:
    """Share of hits against confidence of the likeliest bin, above the number of photographs.

    Args:
        found: Of the bin probabilities that a user gets.
        before: Of those that the classifier gives.
    """
    figure = new_figure(5.2, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GRAY, linewidth=1, label="as often right as it says")
    for said, of, color, style in ((before, "the classifier", RED, "--s"), (found, "what is reported", BLUE, "-o")):
        filled, label = said.count > 0, f"{of}: expected calibration error {said.expected_error:.3f}"
        upper.plot(said.confidence[filled], said.accuracy[filled], style, color=color, markersize=5, label=label)
        lower.stairs(said.count, np.linspace(0, 1, len(said.count) + 1), color=color, linewidth=1.5, ls=style[:-1])
    upper.set_ylabel("share of hits")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    figure.legend(loc="outside upper center", frameon=False, fontsize="small")
    lower.set_ylabel("photographs")
    lower.set_ylim(0, None)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set_xlabel("probability of the likeliest bin")
    return png_of(figure)


def learning_history(histories: Mapping[str, pd.DataFrame], unit: str) -> bytes:
    """Validation RMSE and training loss of each stage by epoch, from the tables of its history.csv."""
    figure = new_figure(7.2, 4.6)
    panels = figure.subplots(2, len(histories), sharex="col", squeeze=False)
    read = {"classifier": "expected bin center", "regressor": "true bin given"}
    for (upper, lower), (stage, history) in zip(panels.T, histories.items(), strict=True):
        marker = "o" if len(history) < 40 else ""
        epoch = history["epoch"]
        upper.plot(epoch, history["validation_rmse"], marker=marker, markersize=3, color=BLUE, label="each epoch")
        upper.plot(epoch, history["best_rmse"], color="black", linestyle="--", linewidth=1, label="best so far")
        log_scale(upper, history["validation_rmse"])
        upper.set_title(f"{stage} ({read[stage]})" if len(histories) > 1 else stage)
        lower.plot(epoch, history["train_loss"], marker=marker, markersize=3, color=RED)
        lower.set_xlabel("epoch")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panels[0, 0].set_ylabel(named("validation RMSE", unit))
    panels[1, 0].set_ylabel("training loss")
    panels[0, 0].legend(frameon=False, fontsize="small")
    return png_of(figure)


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, label: str | None = None) -> None:
    size, alpha = (30, 0.9) if len(x) <= 30 else (14, 0.6) if len(x) <= 1000 else (6, 0.3)
    axes.scatter(x, y, s=size, alpha=alpha, color=color, edgecolors="none", label=label)


def _residuals(axes: Axes, target: np.ndarray, error: np.ndarray, unit: str) -> None:
    axes.axhline(0, color=GRAY, linewidth=1)
    _points(axes, target, -error, RED)
    axes.set_ylabel(named("residual", unit) + "\nmeasured - predicted")


def _ends(error: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Lengths (2,N) of the error bars of RMSEs (N,); those over fewer than three images would say nothing."""
    return np.where(count > 2, np.abs(np.array(normal_rmse_interval(error, count)) - error), np.nan)


def _draw_edges(axes: Axes, edges: np.ndarray) -> None:
    if len(edges) <= MOST_GROUPS:
        for edge in edges:
            axes.axvline(edge, color="0.85", linewidth=0.7, zorder=0)
