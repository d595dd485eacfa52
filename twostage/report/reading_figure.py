"""One photograph as the model reads it: where its masks look, what its bins say, and the reading that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from twostage.report.canvas import named, new_figure, png_of, text_of
from twostage.report.masks_figure import colors_of, enlarged, masks_over
from twostage.scale import LINEAR, Scale

__all__ = ["ShownReading", "draw_bins", "reading_figure"]

MOST_BINS = 60
"""More bins than these are not drawn as bars."""


@dataclass(frozen=True)
class ShownReading:
    """The photograph that is shown, uint8 (H,W,3), its masks (M,h,w), each with sum one, and its row in the outcome."""

    photograph: np.ndarray
    masks: np.ndarray
    row: int


def reading_figure(
    shown: ShownReading,
    probabilities: np.ndarray,
    edges: np.ndarray,
    predicted: float,
    target: float,
    unit: str,
    scale: Scale = LINEAR,
) -> bytes:
    """The photograph with the outlines of its masks, the masks one by one, and the bins with the reading.

    Args:
        shown: Photograph and masks.
        probabilities: Of each bin, (K,).
        edges: Of the bins, (K+1,).
        predicted: The reading, in the table's unit.
        target: The measured concentration.
        unit: May be empty.
        scale: Of the axis.
    """
    count = len(shown.masks)
    columns = max(1, -(-count // 4))
    figure = new_figure(9.6, 3.6)
    parts = figure.subfigures(1, 3, squeeze=False, width_ratios=[3.1, 0.8 * columns, 4.1]).ravel()
    _outlines(parts[0].subplots(), shown)
    tiles = parts[1].subplots(-(-count // columns), columns, squeeze=False).ravel()
    for axes, mask, color in zip(tiles, shown.masks, colors_of(count), strict=False):
        _one_mask(axes, shown.photograph, mask, color)
    for axes in tiles[count:]:
        axes.set_axis_off()
    parts[1].suptitle(f"where its {count} masks look", fontsize="medium")
    bars = parts[2].subplots()
    bars.set_xscale(scale.name)
    draw_bins(bars, probabilities, edges, unit)
    bars.axvline(target, color="0.6", linewidth=5, label=_said("measured", target, unit))
    bars.axvline(predicted, color="black", linewidth=1.4, label=_said("read", predicted, unit))
    bars.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return png_of(figure)


def _outlines(axes: Axes, shown: ShownReading) -> None:
    """The photograph; each outline holds half of the weight of a mask."""
    axes.imshow(masks_over(enlarged(shown.photograph), shown.masks))
    axes.set_title("the photograph, its masks as outlines", fontsize="medium")
    _bare(axes)


def _one_mask(axes: Axes, photograph: np.ndarray, mask: np.ndarray, color: str) -> None:
    """The photograph, lit where the mask is."""
    height, width = photograph.shape[:2]
    rows = np.arange(height) * mask.shape[0] // height
    light = (mask / mask.max())[rows][:, np.arange(width) * mask.shape[1] // width]
    axes.imshow((photograph * (0.12 + 0.88 * light[..., None])).astype(np.uint8))
    for side in axes.spines.values():
        side.set(color=color, linewidth=2)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def draw_bins(axes: Axes, probabilities: np.ndarray, edges: np.ndarray, unit: str, most_named: int = 0) -> None:
    """Probabilities (K,) of the bins between edges (K+1,), over the range; as numbers too where there are few."""
    if len(probabilities) <= MOST_BINS:
        bars = axes.bar(edges[:-1], probabilities, np.diff(edges), align="edge", color="#A6CBE3", edgecolor="white")
        if len(probabilities) <= most_named:
            axes.bar_label(bars, [f"{one:.0%}" if one >= 0.005 else "" for one in probabilities])
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlabel(named("concentration", unit))
    axes.set_ylabel("probability of each bin")


def _said(what: str, value: float, unit: str) -> str:
    return f"{what} {value:#.4g} {text_of(unit, 24)}".rstrip(" .")
