"""Do intervals hold as often as they say? Overall, in every part of the range, near its edges, for every specimen."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import beta

__all__ = ["binomial_band", "coverage"]

NEAR_EDGE = 0.1
"""Share of the whole range on each side that counts as near its edges."""


def coverage(
    target: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    part: np.ndarray,
    edges: np.ndarray,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """How often concentrations (N,) lie within their intervals, ends included, as metrics.json can hold it.

    Args:
        part: In which part of the range each lies, (N,), of those between `edges` (K+1,).
        groups: The specimen of each, (N,), where that is known: a band then counts specimens, since photographs of one
            are near-copies.

    Returns:
        `share`, `band` (its 95 % confidence interval), `n`, `n_groups` and mean `width`, overall and in the lists
        `by_range` (of each part that has photographs) and `near_edges`; `groups_missed` names specimens of which less
        than half of the photographs lie within their intervals. None where there are no intervals.
    """
    if not len(target) or np.isnan(lower).any():
        return {"share": None}
    inside, width = (lower <= target) & (target <= upper), upper - lower

    def told(rows: np.ndarray) -> dict[str, Any]:
        count = int(rows.sum()) if groups is None else len(np.unique(groups[rows]))
        share = float(inside[rows].mean())
        found = {"share": share, "band": binomial_band(share, count), "n": int(rows.sum())}
        return {**found, "n_groups": None if groups is None else count, "width": float(width[rows].mean())}

    margin = NEAR_EDGE * (edges[-1] - edges[0])
    near = (target < edges[0] + margin) | (target > edges[-1] - margin)
    missed = [] if groups is None else [str(one) for one in np.unique(groups) if inside[groups == one].mean() < 0.5]
    return {
        **told(np.ones(len(target), bool)),
        "by_range": [{"low": float(edges[k]), "high": float(edges[k + 1]), **told(part == k)} for k in np.unique(part)],
        "near_edges": told(near) if near.any() else None,
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
