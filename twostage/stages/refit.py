"""After training, what a stage reads from its pooled vectors is solved in closed form.

Gradient descent leaves the last layer short of its best: colours under eight masks are nearly alike, and what counts
are small differences of them. Ridge regression finds these in one step. First the estimate that all bins share; then,
in each bin, a correction of what that leaves: inside a narrow bin the law is nearly linear, over the whole range it
is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from twostage.stages.left_out import LeftOut, solve_left_out
from twostage.stages.network import Network

__all__ = [
    "MILD",
    "PENALTIES",
    "Seen",
    "if_better",
    "like",
    "ridge",
    "solve_few",
    "solve_shared",
    "specimens",
    "with_one",
]

PENALTIES = tuple(10.0**power for power in range(-8, 2))
"""Candidates, per photograph and for standardised columns; validation chooses."""
MILD = tuple(penalty for penalty in PENALTIES if penalty > 1e-4)
"""Those of the classifier, whose weights the regressor goes on to train from."""


@dataclass(frozen=True)
class Seen:
    """N photographs as the last layer sees them: pooled vectors (N,P), averaged over views, and concentrations (N,).

    `groups` (N,) says of which specimen each is, where that is known; `probabilities` (N,K) is what the classifier
    says of them, where there is one: the weights with which a mixture will use what the bins say. `reference` (N,) is
    how much of the concentration stage 2 is not shown, where it sees photographs that stage 1 has put right.
    """

    pooled: np.ndarray
    concentration: np.ndarray
    groups: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    reference: np.ndarray | None = None


def if_better(stage: nn.Module, solve: Callable[[], None], measure: Callable[[], float]) -> tuple[float, float]:
    """Solve, and take it back unless the measure falls; returns the measure before and after."""
    before = measure()
    trained = {name: value.clone() for name, value in stage.state_dict().items()}
    solve()
    after = measure()
    if not after < before:
        stage.load_state_dict(trained)
    return before, min(before, after)


def ridge(columns: np.ndarray, values: np.ndarray, weight: np.ndarray, penalties: tuple[float, ...]) -> np.ndarray:
    """Weighted ridge regression, one solution for each penalty: (len(penalties), P + 1), the intercept last.

    Args:
        columns: (N,P); they are standardised inside, over all rows, so that a penalty means the same for each.
        values: What to predict, (N,).
        weight: How much each row counts, (N,); where none does, all solutions are zero.
    """
    if not weight.any():
        return np.zeros((len(penalties), columns.shape[1] + 1))
    total = weight.sum()
    mean, middle = weight @ columns / total, weight @ values / total
    spread = columns.std(0)  # not within the weighted rows: few and alike, they would allow any slope
    scale = np.where(spread > 1e-6 * (spread.max() or 1.0), spread, np.inf)  # a column that never changes says nothing
    standard = (columns - mean) / scale
    share = weight / len(weight)
    size, turn = np.linalg.eigh(standard.T @ (standard * share[:, None]))
    along = turn.T @ (standard.T @ (share * (values - middle)))
    found = [(turn @ (along / (np.maximum(size, 0.0) + penalty))) / scale for penalty in penalties]
    return np.array([[*slope, middle - mean @ slope] for slope in found])


def solve_shared(network: Network, train: Seen, validation: Seen, penalties: tuple[float, ...]) -> None:
    """Solve the readout of the shared estimate over all training photographs; validation chooses the penalty."""
    bend = network.bend
    weight, codes = bend.slope(train.concentration) ** 2, bend.code(train.concentration).T
    solutions = np.stack([ridge(train.pooled, code, weight, penalties) for code in codes], 1)  # (penalties, R, P + 1)
    said = [bend.decoded(with_one(validation.pooled) @ solution.T) for solution in solutions]
    error = np.stack([bend.scale.apart(one, validation.concentration) for one in said], 1)
    network.set_estimate(torch.from_numpy(solutions[(error**2).mean(0).argmin()]))


def solve_few(network: Network, corrections: nn.Linear | None, seen: Seen) -> LeftOut:
    """Solve the readout of the shared estimate by leaving out each specimen, without corrections: each asks for more.

    Args:
        seen: With `groups`.
    """
    if seen.groups is None:
        raise ValueError("what is left out in turn are specimens: give groups")
    found = solve_left_out(seen.pooled, seen.concentration, seen.groups, network.bend)
    network.set_estimate(torch.from_numpy(found.solution))
    for parameter in () if corrections is None else corrections.parameters():
        nn.init.zeros_(parameter)
    return found


def specimens(membership: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """How many groups, or photographs where none are known, each bin learns from, (K,): members in part count so."""
    if groups is None:
        return np.asarray(membership.sum(0))
    return np.asarray(pd.DataFrame(membership).groupby(groups).max().sum().to_numpy())


def with_one(pooled: np.ndarray) -> np.ndarray:
    """Columns (N,P) with a column of ones behind them, for the constant: (N,P + 1)."""
    return np.concatenate([pooled, np.ones((len(pooled), 1))], 1)


def like(module: nn.Module, pooled: np.ndarray) -> Tensor:
    """Pooled vectors (N,P) as a tensor where, and of the kind that, the module's weights are."""
    return torch.from_numpy(pooled).to(next(module.parameters()))
