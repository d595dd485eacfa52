"""What all figures share: colours, size, the way they become PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

__all__ = [
    "BLUE",
    "FILES",
    "GRAY",
    "GREEN",
    "PURPLE",
    "RED",
    "file_of",
    "log_scale",
    "named",
    "new_figure",
    "pixels_of",
    "png_of",
    "text_of",
]

BLUE, RED, GREEN, PURPLE, GRAY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "0.4"
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

DPI = 150
FILES = (".png", ".pdf", ".svg")
"""What a figure can be written as."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; inches, small enough for a page of paper."""
    return Figure(figsize=(width, height), layout="constrained")


def pixels_of(figure: Figure) -> np.ndarray:
    """The figure as it is drawn, uint8 (H,W,3): sharp enough for print."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with _any_script():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png_of(figure: Figure) -> bytes:
    """The file's bytes; with a palette, a quarter of them."""
    drawn, buffer = Image.fromarray(pixels_of(figure)), io.BytesIO()
    drawn.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", dpi=(DPI, DPI))
    return buffer.getvalue()


def file_of(figure: Figure, kind: str) -> bytes:
    """The bytes of a file of one of the kinds `FILES`, in all its colours."""
    buffer = io.BytesIO()
    with _any_script():
        figure.savefig(buffer, format=kind.lstrip("."), dpi=DPI)
    return buffer.getvalue()


@contextmanager
def _any_script() -> Iterator[None]:
    """A name in a script that the font lacks is drawn as boxes, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


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
