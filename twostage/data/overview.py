"""What kinds and shapes the photographs of a table have, and what becomes of those that are not square."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

__all__ = ["Shapes", "fate"]


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
