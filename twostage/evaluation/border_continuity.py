"""Does a prediction jump where the concentration crosses from one bin into the next?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["BorderSweep", "around_edges"]

MOST_EDGES = 3
POINTS = 14
REACH = 0.2
"""To both sides of an edge, widths of the narrower bin there."""


@dataclass(frozen=True)
class BorderSweep:
    """Each of P photographs at G concentrations around each of E edges, all else in it the same.

    `edges` (E,) and `targets` (E,G) are concentrations; `errors` (P,E,G), predicted minus true, by combination.
    """

    edges: np.ndarray
    targets: np.ndarray
    errors: Mapping[str, np.ndarray]

    def largest_jumps(self) -> dict[str, float]:
        """Largest change of the error from one concentration to the next, by combination."""
        return {name: float(np.abs(np.diff(errors)).max()) for name, errors in self.errors.items()}


def around_edges(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Up to three inner ones (E,) of K+1 edges, K > 1, spread over the range, and concentrations (E,G) on both sides.

    >>> some, targets = around_edges(np.array([0.0, 10.0, 20.0]))
    >>> some.tolist(), targets.shape, round(float(targets.min()), 3), round(float(targets.max()), 3)
    ([10.0], (1, 14), 8.143, 11.857)
    """
    inner = 1 + np.unique(((np.arange(MOST_EDGES) + 0.5) / MOST_EDGES * (len(edges) - 2)).astype(int))
    widths = np.diff(edges)
    reach = REACH * np.minimum(widths[inner - 1], widths[inner])
    steps = (np.arange(POINTS) + 0.5) / POINTS * 2 - 1  # none is on the edge itself
    return edges[inner], edges[inner, None] + reach[:, None] * steps
