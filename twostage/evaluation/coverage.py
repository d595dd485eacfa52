"""Do intervals hold as often as they say? Overall, in every part of the range, near its edges, for every specimen."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import beta

from twostage.scale import LINEAR, Scale

__all__ = ["binomial_band", "coverage", "inside"]

NEAR_EDGE = 0.1
"""Share of the whole range on each side that counts as near its edges."""


def inside(target: np.ndarray, lower: np.ndarray, upper: np.ndarray, scale: Scale = LINEAR) -> np.ndarray:
    """Which concentrations (N,) lie within their intervals, ends included, by whichever name they have: (N,).

    >>> from twostage.scale import Circular
    >>> inside(np.array([5.0, 355.0]), np.array([350.0, 10.0]), np.array([370.0, 20.0]), Circular(360, 0)).tolist()
    [True, False]
    """
    named = target if scale.period is None else scale.near(target, (lower + upper) / 2)
    return (lower <= named) & (named <= upper)


def coverage(
    target: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    part: np.ndarray,
    edges: np.ndarray,
    groups: np.ndarray | None = None,
    scale: Scale = LINEAR,
) -> dict[str, Any]:
    """How often concentrations (N,) lie within their intervals, ends included, as metrics.json can hold it.

    Args:
        part: In which part of the range each lies, (N,), of those between `edges` (K+1,).
        groups: The specimen of each, (N,), where that is known: a band then counts specimens, since photographs of one
            are near-copies.
        scale: A circle has no edges to be near to.

    Returns:
        `share`, `band` (its 95 % confidence interval), `n`, `n_groups` and mean `width`, overall and in the lists
        `by_range` (of each part that has photographs) and `near_edges`; `groups_missed` names specimens of which less
        than half of the photographs lie within their intervals. None where there are no intervals.
    """
    if not len(target) or np.isnan(lower).any():
        return {"share": None}
    holds, width = inside(target, lower, upper, scale), upper - lower

    def told(rows: np.ndarray) -> dict[str, Any]:
        count = int(rows.sum()) if groups is None else len(np.unique(groups[rows]))
        share = float(holds[rows].mean())
        found = {"share": share, "band": binomial_band(share, count), "n": int(rows.sum())}
        return {**found, "n_groups": None if groups is None else count, "width": float(width[rows].mean())}

    margin = NEAR_EDGE * (edges[-1] - edges[0])
    near = (target < edges[0] + margin) | (target > edges[-1] - margin)
    missed = [] if groups is None else [str(one) for one in np.unique(groups) if holds[groups == one].mean() < 0.5]
    return {
        **told(np.ones(len(target), bool)),
        "by_range": [{"low": float(edges[k]), "high": float(edges[k + 1]), **told(part == k)} for k in np.unique(part)],
        "near_edges": told(near) if near.any() and scale.period is None else None,
        "groups_missed": missed,
    }


def binomial_band(share: float, count: int, confidence: float = 0.95) -> list[float]:
    """Confidence interval of a share that was found in `count` trials.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial"; a share of photographs among specimens may be a broken number of hits.

    >>> [round(end, 3) for end in binomial_band(0.9, 10)]
    [0.555, 0.997]
    """
    hits, rest = share * count, (1 - confidence) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(rest, hits, count - hits + 1))
    high = 1.0 if hits >= count else float(beta.ppf(1 - rest, hits + 1, count - hits))
    return [low, high]
