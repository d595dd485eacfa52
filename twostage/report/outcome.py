"""What came out on the test set, and what there is to be computed and drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from twostage.bins import Bins
from twostage.evaluation.agreement import Agreement, bland_altman, replicate_agreement
from twostage.evaluation.coverage import coverage, inside
from twostage.evaluation.error_budget import (
    Reliability,
    border_cost,
    reliability,
    wrong_bin_cost,
)
from twostage.evaluation.laboratory import laboratory_figures
from twostage.report import figures
from twostage.report.interval_figures import coverage_figure, first_figure
from twostage.report.reading_figure import ShownReading, reading_figure
from twostage.scale import Scale

__all__ = ["Outcome", "draw"]


@dataclass(frozen=True)
class Outcome:
    """The test photographs that were read (N of them), `target` and `predicted` (N,) in the table's unit.

    On a circle `predicted` and the interval have the names nearest to `target`, so that points lie on the diagonal.
    Errors are predicted minus measured on the `scale`, in the unit or in decades: `error` (N,) and `by_combination`
    those (N,) of every combination and of "oracle". `probabilities` (N,K) are those that the classifier gives to the
    bins between `edges` (K+1,), `bin_probabilities` (N,K) those that a user gets; `true_bin` (N,); `lower` and `upper`
    (N,) are the ends of the intervals, of that `confidence`, NaN without any, and `no_intervals` says why; `crps` (N,)
    scores the predictive distributions, None without any; `temperature` of the classifier, None where there is none;
    `groups` and `days` (N,) are specimens and days, or None; `shown`, the photograph that is drawn, or None.
    """

    unit: str
    scale: Scale
    edges: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    error: np.ndarray
    by_combination: Mapping[str, np.ndarray]
    probabilities: np.ndarray
    bin_probabilities: np.ndarray
    true_bin: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    confidence: float
    crps: np.ndarray | None
    temperature: float | None
    groups: np.ndarray | None
    days: np.ndarray | None = None
    no_intervals: str = ""
    shown: ShownReading | None = None

    @property
    def error_unit(self) -> str:
        """The unit of errors."""
        return self.scale.unit(self.unit)

    @property
    def has_bins(self) -> bool:
        """Is there a choice of a bin that could go wrong?"""
        return self.temperature is not None and len(self.edges) > 2

    def described(self) -> str:
        """Photographs, of specimens where they are named: "60 photographs of 6 specimens"."""
        photographs = _counted(len(self.target), "photograph")
        if self.groups is None:
            return photographs
        return f"{photographs} of {_counted(len(np.unique(self.groups)), 'specimen')}"

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """In which part of the whole range each target lies (N,), and the edges of these parts.

        They are the bins, or where there is one alone nine of equal width.
        """
        if len(self.edges) > 2:
            return self.true_bin, self.edges
        edges = Bins.uniform(self.edges[0], self.edges[-1], 9, self.scale.name).edges
        return np.searchsorted(edges[1:-1], self.target, side="right"), edges

    def agreement(self) -> Agreement:
        """Bias and limits of agreement of single photographs; specimens weigh the same where they are named."""
        return bland_altman(self.error) if self.groups is None else replicate_agreement(self.error, self.groups)

    def costs(self) -> pd.DataFrame:
        """What each combination loses because the bin is not known."""
        return wrong_bin_cost(self.by_combination)

    def borders(self) -> pd.DataFrame:
        """RMSE against the distance to the nearest inner edge."""
        return border_cost(self.scale.to(self.target), self.by_combination, self.scale.to(self.edges), self.scale)

    def confusion(self) -> np.ndarray:
        """Photographs by true and likeliest bin, (K,K)."""
        return confusion_matrix(self.true_bin, self.probabilities.argmax(1), labels=range(len(self.edges) - 1))

    def reliability(self) -> Reliability:
        """Of the bin probabilities that a user gets."""
        return reliability(self.bin_probabilities, self.true_bin)

    def reliability_before(self) -> Reliability:
        """Of the bin probabilities that the classifier gives."""
        return reliability(self.probabilities, self.true_bin)

    @property
    def has_intervals(self) -> bool:
        """Has every photograph an interval?"""
        return bool(np.isfinite(self.lower).all())

    def inside(self) -> np.ndarray:
        """Which concentrations lie within their intervals, (N,)."""
        return inside(self.target, self.lower, self.upper, self.scale)

    def coverage(self) -> dict[str, Any]:
        """How often the intervals hold, as `evaluation.coverage` tells it; without any the `reason`."""
        part, edges = self.ranges()
        found = coverage(self.target, self.lower, self.upper, part, edges, self.groups, self.scale)
        reason = self.no_intervals or "too few specimens were there to learn them from"
        return found if self.has_intervals else found | {"reason": reason}

    def laboratory(self) -> dict[str, Any]:
        """The figures that a laboratory asks for, in the table's unit; what was not read is told elsewhere."""
        found = laboratory_figures(
            self.target, self.predicted, self.groups, self.days, self.unit, period=self.scale.period
        )
        return {name: figure for name, figure in found.items() if name != "unread"}

    def summary(self) -> dict[str, Any]:
        """What metrics.json keeps of it; None for `error_budget` without bins, for shares without intervals."""
        covered = {"confidence": self.confidence, **self.coverage()}
        at_90 = covered if self.confidence == 0.9 else {}
        return {
            "coverage_90": at_90.get("share"),
            "interval_width_90": at_90.get("width"),
            "crps": None if self.crps is None else float(self.crps.mean()),
            "bin_calibration_error": self.reliability().expected_error if len(self.edges) > 2 else None,
            "coverage": covered,
            "agreement": asdict(self.agreement()),
            "laboratory": self.laboratory(),
            "error_budget": self._error_budget() if self.has_bins else None,
        }

    def _error_budget(self) -> dict[str, Any]:
        costs, borders = self.costs(), self.borders()
        borders["high"] = borders["high"].astype(object).where(np.isfinite(borders["high"]), None)
        return {
            "rmse_with_true_bin": float(costs["rmse"]["oracle"]),
            "cost_of_wrong_bins": costs["cost"].drop("oracle").to_dict(),
            "rmse_by_distance_to_edge": borders.to_dict("records"),
            "temperature": self.temperature,
            "calibration_error_of_classifier": self.reliability_before().expected_error,
        }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def draw(outcome: Outcome, histories: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """The figures of a run as PNG, by name; those of the bins only where there are some to choose from."""
    target, error, edges, unit, scale = outcome.target, outcome.error, outcome.edges, outcome.unit, outcome.scale
    drawn = {
        "at_a_glance": first_figure(target, outcome.predicted, outcome.lower, outcome.upper, unit, scale),
        "predicted_against_measured": figures.predicted_against_measured(
            target, outcome.predicted, error, edges, unit, scale
        ),
        "residuals_by_range": figures.residuals_by_range(target, error, *outcome.ranges(), unit, scale),
        "agreement": figures.agreement_limits(target, error, outcome.agreement(), unit, scale),
    }
    if histories and all(map(len, histories.values())):  # not where closed forms were all
        drawn["learning_history"] = figures.learning_history(histories, outcome.error_unit)
    if outcome.has_intervals:
        drawn["coverage"] = coverage_figure(
            outcome.coverage()["by_range"], outcome.confidence, target, outcome.lower, outcome.upper, unit, scale
        )
    if outcome.groups is not None:
        drawn["residuals_by_group"] = figures.residuals_by_group(outcome.groups, target, error, unit, scale)
    if outcome.has_bins:
        drawn["error_budget"] = figures.error_budget(outcome.costs(), outcome.borders(), outcome.error_unit)
        drawn["bin_confusion"] = figures.bin_confusion(outcome.confusion(), edges, unit)
        drawn["bin_reliability"] = figures.bin_reliability(outcome.reliability(), outcome.reliability_before())
    if (shown := outcome.shown) is not None:
        row = shown.row
        drawn["reading"] = reading_figure(
            shown,
            outcome.probabilities[row],
            edges,
            float(scale.home(outcome.predicted[row])),
            float(target[row]),
            unit,
            scale,
        )
    return drawn
