"""One photograph with its masks, and maps of what moves its reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from twostage.report.canvas import BLUE, RED, new_figure, text_of
from twostage.report.masks_figure import enlarged, masks_over

__all__ = ["explanation_figure"]

LOWER_HIGHER = LinearSegmentedColormap.from_list("lower_higher", [BLUE, "white", RED])
FAINT = 0.25
"""How much of a square of no effect is covered by the map's white."""
NOTE = (
    "A square's colour says how far the number moves when this square is covered with the photograph's median colour."
)


def explanation_figure(
    photograph: np.ndarray, masks: np.ndarray | None, maps: Sequence[tuple[str, str, np.ndarray]], words: Sequence[str]
) -> Figure:
    """The photograph uint8 (S,S,3) with the outlines of its masks (M,h,w), and beside it each map over it.

    Args:
        maps: Title, unit and values (G,G) of each.
        words: Lines above all; the first is the largest.
    """
    figure = new_figure(3.4 * (1 + len(maps)), 4.6 if maps else 4.2)
    parts = figure.subplots(1, 1 + len(maps), squeeze=False).ravel()
    _photograph(parts[0], photograph, masks)
    for axes, (title, unit, values) in zip(parts[1:], maps, strict=True):
        _map(axes, photograph, values, title, unit)
    figure.suptitle("\n".join(text_of(line, 110 if maps else 46) for line in words), fontsize="medium")
    if maps:
        figure.supxlabel(NOTE, fontsize="small")
    return figure


def _photograph(axes: Axes, photograph: np.ndarray, masks: np.ndarray | None) -> None:
    large = enlarged(photograph)
    axes.imshow(large if masks is None else masks_over(large, masks))
    looks = "" if masks is None else f",\nand where its {len(masks)} masks look"
    axes.set_title(f"the photograph as the model sees it{looks}", fontsize="small")
    axes.set_axis_off()


def _map(axes: Axes, photograph: np.ndarray, values: np.ndarray, title: str, unit: str) -> None:
    """The photograph in gray, blue where covering lowers the number and red where it raises it."""
    most = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    normal = Normalize(-most, most)
    colors = LOWER_HIGHER(normal(values))
    colors[..., 3] = np.where(np.isnan(values), 0, FAINT + (0.85 - FAINT) * np.abs(values) / most)
    gray, side = photograph.mean(2), len(photograph)
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, side, side, 0))
    axes.imshow(colors, extent=(0, side, side, 0), interpolation="nearest")
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()
    bar = axes.figure.colorbar(ScalarMappable(normal, LOWER_HIGHER), ax=axes, orientation="horizontal", shrink=0.9)
    bar.set_label(f"lower  ←  {text_of(unit, 24) or 'concentration'}  →  higher", fontsize="small")
    bar.ax.tick_params(labelsize="small")
    bar.ax.locator_params(nbins=5)
