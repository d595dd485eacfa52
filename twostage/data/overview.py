"""What kinds and shapes the photographs of a table have, and what becomes of those that are not square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twostage.decoding.facts import PhotographFacts, describe_photograph
from twostage.tables.table import Table

__all__ = ["Shapes", "facts_of", "fate", "shapes_of"]


@dataclass(frozen=True)
class Shapes:
    """Width and height (N,2), in pixels, of what is brought to a square: photographs, or boxes in them."""

    sides: np.ndarray

    @property
    def narrow(self) -> np.ndarray:
        """Share of the longer side that the shorter one has, (N,); 1 for a square."""
        return np.asarray(self.sides.min(1) / self.sides.max(1))

    def sizes(self) -> Counter[str]:
        """How many have which size, the commonest first."""
        return Counter(f"{width:g}x{height:g}" for width, height in self.sides)

    def smaller_than(self, size: int) -> int:
        """How many have fewer than `size` pixels along a side: they are enlarged."""
        return int((self.sides.min(1) < size).sum())


def facts_of(table: Table, threads: int = 0) -> dict[Path, PhotographFacts]:
    """What the header of each file says.

    Raises:
        ImageError: One has changed since it was decoded.
    """
    paths = list(dict.fromkeys(table.paths))
    with ThreadPoolExecutor(threads or None) as pool:
        return dict(zip(paths, pool.map(describe_photograph, paths), strict=True))


def shapes_of(table: Table, facts: Mapping[Path, PhotographFacts]) -> Shapes:
    """Of the photographs of a table, or of the boxes in them."""
    sides = [(float(facts[path].width), float(facts[path].height)) for path in table.paths]
    if table.boxes is not None:
        boxes = [box.in_pixels(*side) for box, side in zip(table.boxes, sides, strict=True)]
        sides = [(box.width, box.height) for box in boxes]
    return Shapes(np.array(sides))


def fate(shapes: Shapes, fit: str) -> str:
    """What `image.fit` does to those that are not square, in words; "" where all are."""
    other = shapes.narrow[shapes.narrow < 1]
    if not len(other):
        return ""
    lost = 1 - other
    between = f"{100 * lost.min():.0f}" + (f" to {100 * lost.max():.0f}" if lost.max() - lost.min() > 0.005 else "")
    done = {
        "crop": f"image.fit=crop cuts away {between} % of",
        "pad": f"image.fit=pad keeps all, and adds a border, {between} % of the square, to",
        "stretch": "image.fit=stretch keeps all, and squeezes the longer side of",
    }
    count = f"{len(other)} that are" if len(other) < len(shapes.sides) else "all photographs, which are"
    return f"{done[fit]} {count} not square"
