"""Ridge regression for few specimens: its penalty is found by leaving out each specimen in turn.

Ten photographs of one specimen are nearly one photograph. A validation part of three specimens decides nothing, so
that no part is set aside: every specimen is read once by the solution without it, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.stages.limits import Straight

__all__ = ["FEW", "LeftOut", "few_rows", "solve_left_out"]

FEW = 60
"""With fewer specimens than this, validation is by leaving out."""
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 11))
"""Candidates for what the columns may explain, against a residual variance of one."""
NEARLY = 1.1
"""The least strength is taken whose RMSE is at most so many times the best: which of the nearly best is best is chance.

After the rule of one standard error (Breiman, Friedman, Olshen and Stone 1984)."""
FLAT = 1e4
"""Strength of the constant, which is as good as free."""
LEAST_SPREAD = 1e-3
"""A column that varies less is not enlarged to the size of the others: in another photograph it may vary."""
LINE = Straight(Bins([0.0, 1.0]))
"""Values are what the solution says."""


@dataclass(frozen=True)
class LeftOut:
    """A linear function of P columns, and what it was chosen by.

    `solution` (R, P + 1), the constants last, to the code of the values, R = 1 or on a circle 2; `estimate` (N,): each
    photograph read by the solution without its specimen; `rmse`: of these, each specimen counting the same; `strength`:
    the candidate that was chosen.
    """

    solution: np.ndarray
    estimate: np.ndarray
    rmse: float
    strength: float


def few_rows(groups: np.ndarray, most: int) -> np.ndarray:
    """Rows of at most so many photographs, as many of each specimen, evenly over its own."""
    each = max(1, most // len(np.unique(groups)))
    place = pd.Series(groups).groupby(groups).cumcount().to_numpy()
    count = pd.Series(groups).groupby(groups).transform("size").to_numpy()
    wanted = np.minimum(each, count)
    return np.flatnonzero((place * wanted) // count != ((place - 1) * wanted) // count)


def solve_left_out(columns: np.ndarray, values: np.ndarray, groups: np.ndarray, bend: Straight = LINE) -> LeftOut:
    """Ridge regression on standardised columns, each specimen counting the same.

    The residuals without a specimen follow from one inverse: An, Liu and Venkatesh 2007, "Fast cross-validation
    algorithms for least squares support vector machine and kernel ridge regression".

    Args:
        columns: (N,P).
        values: What to predict, (N,).
        groups: The specimen of each row, (N,), at least two.
        bend: From what the solution says to the values.
    """
    alike, code = _alike(groups), bend.code(values)
    weight = alike * bend.slope(values) ** 2
    middle, mean = weight @ code / weight.sum(), weight @ columns / weight.sum()
    spread = np.maximum(np.sqrt(weight @ (columns - mean) ** 2 / weight.sum()), LEAST_SPREAD)
    standard = (columns - mean) / spread / np.sqrt(columns.shape[1])
    root = np.sqrt(weight)[:, None]
    target = root * (code - middle)
    # weighted columns have no mean, so that the constant is an eigenvector of their kernel, of eigenvalue zero
    size, turn = np.linalg.eigh((standard * root) @ (standard * root).T)
    constant = (root @ root.T) / weight.sum() * (1 - 1 / (1 + FLAT * weight.sum()))
    members = [np.flatnonzero(groups == one) for one in pd.unique(groups)]
    found = []
    for strength in STRENGTHS:
        inverse = (turn / (1 + strength * np.maximum(size, 0))) @ turn.T - constant
        dual = inverse @ target
        missed = np.empty(target.shape)
        for rows in members:
            missed[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], dual[rows]) / root[rows]
        estimate = bend.decoded(code - missed)
        rmse = float(np.sqrt(alike @ bend.scale.apart(estimate, values) ** 2 / alike.sum()))
        found.append((rmse, strength, dual, estimate))
    best = min(rmse for rmse, *_ in found)
    rmse, strength, dual, estimate = next(one for one in found if one[0] <= NEARLY * best)
    slopes = (strength * (standard.T @ (root * dual))).T / spread / np.sqrt(columns.shape[1])
    constants = middle + FLAT * (root.T @ dual)[0] - slopes @ mean
    return LeftOut(np.column_stack([slopes, constants]), estimate, rmse, strength)


def _alike(groups: np.ndarray) -> np.ndarray:
    """Weights (N,) with which all specimens count the same; one on average."""
    weight = 1 / pd.Series(groups).groupby(groups).transform("size").to_numpy(float)
    return np.asarray(weight / weight.mean())
