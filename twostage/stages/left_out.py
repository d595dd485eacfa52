"""Ridge regression for few specimens: what penalises which columns is found by leaving out each specimen in turn.

Ten photographs of one specimen are nearly one photograph. A validation part of three specimens decides nothing, so
that no part is set aside: every specimen is read once by the solution without it, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

__all__ = ["FEW", "LeftOut", "few_rows", "solve_left_out"]

FEW = 60
"""With fewer specimens than this, validation is by leaving out."""
STRENGTHS = tuple(10.0**power for power in range(-3, 6))
"""Candidates for what a block of columns may explain, against a residual variance of one."""
FLAT = 1e4
"""Strength of the constant, which is as good as free."""
LEAST_SPREAD = 1e-3
"""A column that varies less is not enlarged to the size of the others: in another photograph it may vary."""


@dataclass(frozen=True)
class LeftOut:
    """A linear function of P columns, and what it was chosen by.

    `solution` (P + 1), the constant last; `estimate` (N,): each photograph read by the solution without its specimen;
    `rmse`: of these, each specimen counting the same; `strengths`: the candidate chosen for each block.
    """

    solution: np.ndarray
    estimate: np.ndarray
    rmse: float
    strengths: tuple[float, ...]


def few_rows(groups: np.ndarray, most: int) -> np.ndarray:
    """Rows of at most so many photographs, as many of each specimen, evenly over its own."""
    each = max(1, most // len(np.unique(groups)))
    place = pd.Series(groups).groupby(groups).cumcount().to_numpy()
    count = pd.Series(groups).groupby(groups).transform("size").to_numpy()
    return np.flatnonzero((place * min(each, count.max())) // count != ((place - 1) * min(each, count.max())) // count)


def solve_left_out(columns: np.ndarray, blocks: Sequence[slice], values: np.ndarray, groups: np.ndarray) -> LeftOut:
    """Ridge regression with one penalty for each block of columns, each specimen counting the same.

    The residuals without a specimen follow from one inverse: An, Liu and Venkatesh 2007, "Fast cross-validation
    algorithms for least squares support vector machine and kernel ridge regression".

    Args:
        columns: (N,P).
        blocks: The columns of each block; the first always explains something, the others may explain nothing.
        values: What to predict, (N,).
        groups: The specimen of each row, (N,), at least two.
    """
    weight = _alike(groups)
    middle, mean = weight @ values / weight.sum(), weight @ columns / weight.sum()
    spread = np.sqrt(weight @ (columns - mean) ** 2 / weight.sum())
    scale = np.maximum(spread, LEAST_SPREAD)
    standard = (columns - mean) / scale
    parts = [standard[:, block] / np.sqrt(max(1, standard[:, block].shape[1])) for block in blocks]
    root = np.sqrt(weight)
    kernels = [(part @ part.T) * root[:, None] * root for part in parts]
    constant = FLAT * np.outer(root, root)
    target = root * (values - middle)
    members = [np.flatnonzero(groups == one) for one in pd.unique(groups)]
    best: tuple[float, tuple[float, ...], np.ndarray, np.ndarray] | None = None
    for strengths in product(STRENGTHS, *[(0.0, *STRENGTHS)] * (len(blocks) - 1)):
        kernel = sum(strength * one for strength, one in zip(strengths, kernels, strict=True))
        inverse = np.linalg.inv(kernel + constant + np.eye(len(target)))
        dual = inverse @ target
        missed = np.empty(len(target))
        for rows in members:
            missed[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], dual[rows]) / root[rows]
        rmse = float(np.sqrt(weight @ missed**2 / weight.sum()))
        if best is None or rmse < best[0]:
            best = rmse, strengths, dual, missed
    assert best is not None
    rmse, strengths, dual, missed = best
    slope = np.zeros(columns.shape[1])
    for strength, part, block in zip(strengths, parts, blocks, strict=True):
        slope[block] += strength * (part.T @ (root * dual)) / np.sqrt(max(1, part.shape[1])) / scale[block]
    constant_term = middle + FLAT * (root @ dual) - slope @ mean
    return LeftOut(np.append(slope, constant_term), values - missed, rmse, strengths)


def _alike(groups: np.ndarray) -> np.ndarray:
    """Weights (N,) with which all specimens count the same; one on average."""
    weight = 1 / pd.Series(groups).groupby(groups).transform("size").to_numpy(float)
    return np.asarray(weight / weight.mean())
