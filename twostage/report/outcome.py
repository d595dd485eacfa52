"""What came out on the test set, and what there is to be computed and drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from twostage.evaluation.agreement import Agreement, bland_altman
from twostage.evaluation.error_budget import (
    Reliability,
    border_cost,
    reliability,
    wrong_bin_cost,
)
from twostage.report import figures
from twostage.report.reading_figure import ShownReading, reading_figure

__all__ = ["Outcome", "draw"]


@dataclass(frozen=True)
class Outcome:
    """The test photographs that were read (N of them), in the table's unit.

    `target`, `predicted` and `error`, predicted minus measured, (N,); `by_combination` errors (N,) of every combination
    and of "oracle"; `probabilities` (N,K) of the bins between `edges` (K+1,); `true_bin` (N,); `temperature` of the
    classifier, None where there is none; `groups` (N,) or None; `shown`, the photograph that is drawn, or None.
    """

    unit: str
    edges: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    error: np.ndarray
    by_combination: Mapping[str, np.ndarray]
    probabilities: np.ndarray
    true_bin: np.ndarray
    temperature: float | None
    groups: np.ndarray | None
    shown: ShownReading | None = None

    @property
    def has_bins(self) -> bool:
        """Is there a choice of a bin that could go wrong?"""
        return self.temperature is not None and len(self.edges) > 2

    def described(self) -> str:
        """Photographs, of groups where there are some: "60 photographs of 6 groups"."""
        photographs = _counted(len(self.target), "photograph")
        if self.groups is None:
            return photographs
        return f"{photographs} of {_counted(len(np.unique(self.groups)), 'group')}"

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """In which part of the whole range each target lies (N,), and the edges of these parts.

        They are the bins, or where there is one alone nine of equal width.
        """
        if len(self.edges) > 2:
            return self.true_bin, self.edges
        edges = np.linspace(self.edges[0], self.edges[-1], 10)
        return np.searchsorted(edges[1:-1], self.target, side="right"), edges

    def agreement(self) -> Agreement:
        """Bias and limits of agreement."""
        return bland_altman(self.error)

    def costs(self) -> pd.DataFrame:
        """What each combination loses because the bin is not known."""
        return wrong_bin_cost(self.by_combination)

    def borders(self) -> pd.DataFrame:
        """RMSE against the distance to the nearest inner edge."""
        return border_cost(self.target, self.by_combination, self.edges)

    def confusion(self) -> np.ndarray:
        """Photographs by true and likeliest bin, (K,K)."""
        return confusion_matrix(self.true_bin, self.probabilities.argmax(1), labels=range(len(self.edges) - 1))

    def reliability(self) -> Reliability:
        """Of the bin probabilities."""
        return reliability(self.probabilities, self.true_bin)

    def summary(self) -> dict[str, Any]:
        """What metrics.json keeps of it: `agreement` and `error_budget`, which is None without bins."""
        return {"agreement": asdict(self.agreement()), "error_budget": self._error_budget() if self.has_bins else None}

    def _error_budget(self) -> dict[str, Any]:
        costs, borders = self.costs(), self.borders()
        borders["high"] = borders["high"].astype(object).where(np.isfinite(borders["high"]), None)
        return {
            "rmse_with_true_bin": float(costs["rmse"]["oracle"]),
            "cost_of_wrong_bins": costs["cost"].drop("oracle").to_dict(),
            "rmse_by_distance_to_edge": borders.to_dict("records"),
            "temperature": self.temperature,
            "calibration_error": self.reliability().expected_error,
        }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def draw(outcome: Outcome, histories: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """The figures of a run as PNG, by name; those of the bins only where there are some to choose from."""
    target, error, edges, unit = outcome.target, outcome.error, outcome.edges, outcome.unit
    drawn = {
        "predicted_against_measured": figures.predicted_against_measured(target, outcome.predicted, error, edges, unit),
        "residuals_by_range": figures.residuals_by_range(target, error, *outcome.ranges(), unit),
        "agreement": figures.agreement_limits(target, error, outcome.agreement(), unit),
        "learning_history": figures.learning_history(histories, unit),
    }
    if outcome.groups is not None:
        drawn["residuals_by_group"] = figures.residuals_by_group(outcome.groups, target, error, unit)
    if outcome.has_bins:
        drawn["error_budget"] = figures.error_budget(outcome.costs(), outcome.borders(), unit)
        drawn["bin_confusion"] = figures.bin_confusion(outcome.confusion(), edges, unit)
        drawn["bin_reliability"] = figures.bin_reliability(outcome.reliability())
    if (shown := outcome.shown) is not None:
        row = shown.row
        drawn["reading"] = reading_figure(
            shown, outcome.probabilities[row], edges, float(outcome.predicted[row]), float(target[row]), unit
        )
    return drawn
