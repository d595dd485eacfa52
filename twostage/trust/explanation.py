"""Which parts of a photograph move what is read from it: each is covered in turn, and the photograph read anew.

Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2 (occlusion). It asks
the whole model, robust surfaces and closed forms too, which gradients of a network would leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twostage.errors import ConfigError, suggest
from twostage.files import given_path, write_output
from twostage.trust.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanation", "covered", "explain", "squares"]

MOST = 64
"""Squares along a side: more are thousands of readings."""


@dataclass(frozen=True)
class Explanation:
    """One photograph with what moves its reading; arrays (G,G) hold one number for each square that was covered.

    `photograph` is uint8 (S,S,3), as the model saw it; `masks` (M,h,w), each with sum one, None for a model without;
    `prediction` holds the one reading. A map says by how much a number moves when the square is covered with the
    photograph's median colour: `concentration` the reading, and `estimate` what stage 1 alone estimates, both in the
    unit of the concentration; `probability` stage 1's probability of the bin that is named. A map is None where the
    model has no such number (there is no stage 1, or it estimates none), and all are where the photograph is refused.
    """

    photograph: np.ndarray
    masks: np.ndarray | None
    prediction: Prediction
    concentration: np.ndarray | None = None
    estimate: np.ndarray | None = None
    probability: np.ndarray | None = None

    def plot(self) -> Figure:
        """Where the masks look, what moved the bin, what moved the concentration, and the reading in words."""
        from twostage.report.explanation_figure import explanation_figure

        return explanation_figure(self.photograph, self.masks, self._maps(), self.prediction.in_words(0))

    def picture(self) -> np.ndarray:
        """The same as pixels, uint8 (H,W,3)."""
        from twostage.report.canvas import pixels_of

        return pixels_of(self.plot())

    def save(self, path: str | Path) -> None:
        """Write the picture: a file that ends in .png, .pdf or .svg.

        Raises:
            ConfigError: It ends otherwise.
            StorageError: It cannot be written.
        """
        from twostage.report.canvas import FILES, file_of

        place = given_path(path, "path")
        if (kind := place.suffix.lower()) not in FILES:
            raise ConfigError(f"{place}: a picture ends in {' or '.join(FILES)}; {suggest(kind, FILES)}")
        write_output(place, file_of(self.plot(), kind))

    def _maps(self) -> list[tuple[str, str, np.ndarray]]:
        """Title, unit and values (G,G) of each map that is drawn."""
        prediction, found = self.prediction, []
        if self.probability is not None:
            k, edges = prediction.bin_index[0], prediction.bins.edges
            title = f"what moves the bin, {edges[k]:g}..{edges[k + 1]:g}"
            if self.estimate is not None:
                found.append((f"{title}:\nstage 1's estimate", prediction.unit, self.estimate))
            else:
                found.append((f"{title}:\nits probability", "%", 100 * self.probability))
        if self.concentration is not None:
            found.append(("what moves the concentration:\nboth stages", prediction.unit, self.concentration))
        return found


def squares(size: int, detail: int) -> list[tuple[slice, slice]]:
    """Rows and columns of detail x detail squares, row by row, that cover a photograph of `size` pixels exactly.

    >>> squares(4, 2)[1]
    (slice(0, 2, None), slice(2, 4, None))
    """
    ends = [size * i // detail for i in range(detail + 1)]
    parts = [slice(start, end) for start, end in pairwise(ends)]
    return [(rows, columns) for rows in parts for columns in parts]


def covered(photograph: np.ndarray, detail: int) -> np.ndarray:
    """A photograph uint8 (S,S,3) with each of detail x detail squares covered in turn: (detail*detail,S,S,3).

    The cover has the photograph's median colour, which a network has met; black or gray it may never have seen.
    """
    places = squares(len(photograph), detail)
    found = np.repeat(photograph[None], len(places), 0)
    color = np.median(photograph.reshape(-1, 3), 0)
    for one, (rows, columns) in zip(found, places, strict=True):
        one[rows, columns] = color
    return found


def explain(
    photograph: np.ndarray,
    masks: np.ndarray | None,
    prediction: Prediction,
    read: Callable[[np.ndarray], Prediction],
    detail: int,
) -> Explanation:
    """Cover the squares of a photograph uint8 (S,S,3), read it anew, and compare.

    Args:
        prediction: The reading of the photograph as it is.
        read: Reads photographs (N,S,S,3), and refuses none for what it looks like.
        detail: Squares along each side.

    Raises:
        ConfigError: They would be none, or smaller than a pixel.
    """
    most = min(MOST, len(photograph))
    if not 1 <= detail <= most:
        raise ConfigError(f"detail={detail} is none: give the squares along a side, 1 to {most}")
    if not prediction.is_read[0]:
        return Explanation(photograph, masks, prediction)
    before, after = read(photograph[None]), read(covered(photograph, detail))
    bins, k = prediction.bins, prediction.bin_index[0]
    first, then = (bins.scale.back(one.reading.first) for one in (before, after))
    maps = {"concentration": bins.difference(after.concentration, before.concentration)}
    if bins.count > 1:
        maps["probability"] = after.reading.probabilities[:, k] - before.reading.probabilities[:, k]
    if np.isfinite(first).all():
        maps["estimate"] = bins.difference(then, first)
    return Explanation(photograph, masks, prediction, **{name: one.reshape(detail, -1) for name, one in maps.items()})
