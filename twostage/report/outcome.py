"""What came out on the test set, and what there is to be computed and drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from twostage.evaluation.agreement import Agreement, bland_altman
from twostage.evaluation.border_continuity import BorderSweep
from twostage.evaluation.error_budget import (
    Reliability,
    before_temperature,
    border_cost,
    reliability,
    wrong_bin_cost,
)
from twostage.report import figures, study_figures
from twostage.report.reading_figure import ShownReading, reading_figure

__all__ = ["Outcome", "draw"]


@dataclass(frozen=True)
class Outcome:
    """The test photographs that were read (N of them), in the table's unit.

    `target`, `predicted` (N,); `by_combination` predictions (N,) of "mixture", "argmax", "top2" and "oracle";
    `probabilities` (N,K) of the bins between `edges` (K+1,), an average over `views`; `true_bin` (N,); `temperature`
    of the classifier, None where there is none; `groups` (N,), `border_sweep` and `shown` or None.
    """

    unit: str
    edges: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    by_combination: Mapping[str, np.ndarray]
    probabilities: np.ndarray
    true_bin: np.ndarray
    temperature: float | None
    views: int
    groups: np.ndarray | None
    border_sweep: BorderSweep | None = None
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
        return bland_altman(self.target, self.predicted)

    def costs(self) -> pd.DataFrame:
        """What each combination loses because the bin is not known."""
        return wrong_bin_cost(self.target, self.by_combination)

    def borders(self) -> pd.DataFrame:
        """RMSE against the distance to the nearest inner edge."""
        return border_cost(self.target, self.by_combination, self.edges)

    def confusion(self) -> np.ndarray:
        """Photographs by true and likeliest bin, (K,K)."""
        return confusion_matrix(self.true_bin, self.probabilities.argmax(1), labels=range(len(self.edges) - 1))

    def reliabilities(self) -> dict[str, Reliability]:
        """Of the bin probabilities before and after the temperature."""
        before = before_temperature(self.probabilities, self.temperature or 1.0)
        return {
            "before temperature": reliability(before, self.true_bin),
            "after temperature": reliability(self.probabilities, self.true_bin),
        }

    def summary(self) -> dict[str, Any]:
        """What metrics.json keeps of it: `agreement` and `error_budget`, which is None without bins."""
        return {"agreement": asdict(self.agreement()), "error_budget": self._error_budget() if self.has_bins else None}

    def _error_budget(self) -> dict[str, Any]:
        costs, borders, (before, after) = self.costs(), self.borders(), self.reliabilities().values()
        borders["high"] = borders["high"].astype(object).where(np.isfinite(borders["high"]), None)
        return {
            "rmse_with_true_bin": float(costs["rmse"]["oracle"]),
            "cost_of_wrong_bins": costs["cost"].drop("oracle").to_dict(),
            "rmse_by_distance_to_edge": borders.to_dict("records"),
            "largest_jump_at_edge": None if self.border_sweep is None else self.border_sweep.largest_jumps(),
            "temperature": self.temperature,
            "calibration_error_before_temperature": before.expected_error,
            "calibration_error": after.expected_error,
        }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def draw(outcome: Outcome, histories: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """The figures of a run as PNG, by name; those of the bins only where there are some to choose from."""
    target, predicted, edges, unit = outcome.target, outcome.predicted, outcome.edges, outcome.unit
    drawn = {
        "predicted_against_measured": figures.predicted_against_measured(target, predicted, edges, unit),
        "residuals_by_range": figures.residuals_by_range(target, predicted, *outcome.ranges(), unit),
        "agreement": figures.agreement_limits(target, predicted, outcome.agreement(), unit),
        "learning_history": figures.learning_history(histories, unit),
    }
    if outcome.groups is not None:
        drawn["residuals_by_group"] = figures.residuals_by_group(outcome.groups, target, predicted, unit)
    if outcome.has_bins:
        drawn["error_budget"] = figures.error_budget(outcome.costs(), outcome.borders(), unit)
        drawn["bin_confusion"] = figures.bin_confusion(outcome.confusion(), edges, unit)
        drawn["bin_reliability"] = figures.bin_reliability(outcome.reliabilities())
    if outcome.border_sweep is not None:
        drawn["border_continuity"] = study_figures.border_continuity(outcome.border_sweep, unit)
    if (shown := outcome.shown) is not None:
        row = shown.row
        drawn["reading"] = reading_figure(
            shown, outcome.probabilities[row], edges, float(predicted[row]), float(target[row]), unit
        )
    return drawn
