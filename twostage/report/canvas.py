"""What all figures share: colours, size, the way they become PNG."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

__all__ = ["BLUE", "GRAY", "GREEN", "PURPLE", "RED", "log_scale", "named", "new_figure", "png_of", "text_of"]

BLUE, RED, GREEN, PURPLE, GRAY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "0.4"
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; inches, small enough for a page of paper."""
    return Figure(figsize=(width, height), layout="constrained")


def png_of(figure: Figure) -> bytes:
    """The file's bytes: sharp enough for print; with a palette, a quarter of the bytes."""
    figure.set_dpi(150)
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name in a script that the font lacks is drawn as boxes
        canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", dpi=(150, 150))
    return buffer.getvalue()


def text_of(text: str, longest: int = 200) -> str:
    """What a user wrote is shown as it is: dollars are no mathematics, and what is too long is cut."""
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def named(name: str, unit: str) -> str:
    """An axis's name with its unit."""
    return f"{name} ({text_of(unit)})" if unit else name


def log_scale(axes: Axes, values: pd.Series) -> None:
    """A logarithmic axis where the values ask for it, with plain numbers as its labels."""
    if values.min() > 0 and values.max() > 5 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
