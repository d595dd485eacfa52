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
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.classifier import Classifier
from twostage.stages.network import Network
from twostage.stages.regressor import Regressor

__all__ = ["PENALTIES", "Seen", "refit_classifier", "refit_regressor", "ridge"]

PENALTIES = tuple(10.0**power for power in range(-8, 2))
"""Candidates, per photograph and for standardised columns; validation chooses."""
MILD = tuple(penalty for penalty in PENALTIES if penalty > 1e-4)
"""Those of the classifier, whose weights the regressor goes on to train from."""
FAR = 1e-4
"""How much a photograph far from a bin counts in the validation of its correction: a mixture gives it as little."""
FIRM = tuple(penalty for penalty in PENALTIES if penalty > 3e-7)
"""Those of corrections, which mixtures also use some way outside of their bin."""


@dataclass(frozen=True)
class Seen:
    """N photographs as the last layer sees them: pooled vectors (N,P), averaged over views, and concentrations (N,).

    `groups` (N,) says of which specimen each is, where that is known.
    """

    pooled: np.ndarray
    concentration: np.ndarray
    groups: np.ndarray | None = None


def refit_classifier(classifier: Classifier, bins: Bins, train: Seen, validation: Seen) -> tuple[float, float]:
    """Solve the estimate of `classifier` and drop its corrections, in place, where that is better on validation.

    Its cross entropy is lowest where the estimate is the concentration, so that this is regression as well.

    Returns:
        Cross entropy on validation, before and after.
    """
    targets = torch.from_numpy(bins.soft_targets(validation.concentration, classifier.smoothing))

    @torch.no_grad()
    def cross_entropy() -> float:
        logits = classifier.read(_like(classifier, validation.pooled))
        return float(F.cross_entropy(logits.double().cpu(), targets))

    def solve() -> None:
        _solve_shared(classifier.network, train, validation, MILD)
        for parameter in classifier.corrections.parameters():
            torch.nn.init.zeros_(parameter)

    return _if_better(classifier, solve, cross_entropy)


def refit_regressor(
    regressor: Regressor, bins: Bins, overlap: float, train: Seen, validation: Seen
) -> tuple[float, float]:
    """Solve the shared estimate and the corrections of `regressor`, in place, where that is better on validation.

    Returns:
        RMSE on validation, bins weighted by membership, before and after.

    Source: Hoerl and Kennard 1970, "Ridge regression"; the weights of a bin are those of its training.
    """

    def solve() -> None:
        _solve_shared(regressor.network, train, validation, PENALTIES)
        regressor.set_corrections(torch.zeros(bins.count, regressor.network.pooled_width + 1))
        if bins.count > 1:
            _solve_corrections(regressor, bins, overlap, train, validation)

    return _if_better(regressor, solve, lambda: _rmse(regressor, bins, overlap, validation))


def _if_better(stage: nn.Module, solve: Callable[[], None], measure: Callable[[], float]) -> tuple[float, float]:
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


def _solve_shared(network: Network, train: Seen, validation: Seen, penalties: tuple[float, ...]) -> None:
    """The readout of s, over all training photographs."""
    solutions = ridge(train.pooled, train.concentration, np.ones(len(train.pooled)), penalties)
    error = _with_one(validation.pooled) @ solutions.T - validation.concentration[:, None]
    network.set_estimate(torch.from_numpy(solutions[(error**2).mean(0).argmin()]))


def _solve_corrections(regressor: Regressor, bins: Bins, overlap: float, train: Seen, validation: Seen) -> None:
    """In each bin, a correction of what s leaves; one penalty for all bins, or no correction at all.

    A bin with fewer specimens than columns is left as it is: what fits them may say anything of another, and a few for
    validation may not show it.
    """
    left = train.concentration - _shared(regressor, train.pooled)
    weights = bins.membership(train.concentration, overlap)
    solutions = np.stack([ridge(train.pooled, left, weight, FIRM) for weight in weights.T], 1)
    solutions[:, _specimens(weights, train.groups) < train.pooled.shape[1]] = 0.0
    solutions = np.concatenate([np.zeros_like(solutions[:1]), solutions])  # (penalties + 1, K, P + 1)
    missing = validation.concentration - _shared(regressor, validation.pooled)
    error = np.einsum("np,akp->ank", _with_one(validation.pooled), solutions) - missing[:, None]
    best = (error**2 * (bins.membership(validation.concentration, overlap) + FAR)).sum((1, 2)).argmin()
    regressor.set_corrections(torch.from_numpy(solutions[best] / bins.half_width[:, None]))


def _specimens(membership: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """How many groups, or photographs where none are known, each bin learns from, (K,): members in part count so."""
    if groups is None:
        return np.asarray(membership.sum(0))
    return np.asarray(pd.DataFrame(membership).groupby(groups).max().sum().to_numpy())


def _with_one(pooled: np.ndarray) -> np.ndarray:
    return np.concatenate([pooled, np.ones((len(pooled), 1))], 1)


@torch.no_grad()
def _shared(regressor: Regressor, pooled: np.ndarray) -> np.ndarray:
    """The shared estimate (N,) of pooled vectors (N,P), as the network computes it."""
    return regressor.network.estimate(_like(regressor, pooled))[:, 0].double().cpu().numpy()


@torch.no_grad()
def _rmse(regressor: Regressor, bins: Bins, overlap: float, seen: Seen) -> float:
    """Of what each bin says, weighted by memberships, so that a bin also counts where it overlaps others."""
    offsets = regressor.read(_like(regressor, seen.pooled))[0].double().cpu().numpy()
    error = bins.center + bins.half_width * offsets - seen.concentration[:, None]
    return float(np.sqrt(np.average(error**2, weights=bins.membership(seen.concentration, overlap) + FAR)))


def _like(stage: Classifier | Regressor, pooled: np.ndarray) -> Tensor:
    return torch.from_numpy(pooled).to(stage.center)
