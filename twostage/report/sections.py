"""The sections of report.html that say where the errors are, where they come from, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from twostage.evaluation.error_budget import errors_by
from twostage.report.figures import COMBINATION_NAMES, MOST_GROUPS
from twostage.report.markup import figure, fold, number, paragraph, percent, section, table, with_unit
from twostage.report.outcome import Outcome

__all__ = [
    "bin_name",
    "classifier_section",
    "error_budget_section",
    "groups_section",
    "intervals_section",
    "residuals_section",
]

MOST_MISSED = 10
"""So many specimens are named that the intervals miss."""


def residuals_section(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    """Residuals against concentration, and the errors of each bin, or part of the range where there is one bin."""
    ranges, edges = outcome.ranges()
    errors = errors_by(ranges, outcome.target, outcome.error, outcome.scale)
    part = "bin" if outcome.has_bins else "range"
    names = [bin_name(edges, k) for k in errors.index]
    ends = f"The first and the last {part} also hold what lies beyond them."
    if outcome.scale.period is not None:
        ends = f"The last {part} lies beside the first."
    return section(
        f"Residuals, by {part}",
        paragraph(
            f"A residual is measured minus predicted. Black lines are the mean of a {part}; error bars on the RMSE are "
            f"95 % confidence intervals, if errors are independent and normally distributed. {ends}"
        ),
        figure(figures["residuals_by_range"], f"residuals against concentration, and RMSE of each {part}"),
        fold(f"Numbers of each {part}", _errors_table(part, names, errors, outcome)),
    )


def bin_name(edges: np.ndarray, k: int) -> str:
    """Bin k of those between the edges (K+1,), in words."""
    return f"{number(float(edges[k]))} to {number(float(edges[k + 1]))}"


def groups_section(outcome: Outcome, groups: np.ndarray, figures: Mapping[str, bytes]) -> str:
    """Residuals and errors of each group (N,)."""
    errors = errors_by(groups, outcome.target, outcome.error, outcome.scale)
    shown = errors.nlargest(MOST_GROUPS, "rmse").sort_values("target")
    text = f"The test set is {outcome.described()}; a black bar is the mean of a specimen."
    if len(shown) < len(errors):
        text += f" Shown are the {len(shown)} with the largest RMSE."
    return section(
        "Residuals, by specimen",
        paragraph(text),
        figure(figures["residuals_by_group"], "residuals of each specimen"),
        fold(
            "Numbers of each specimen", _errors_table("specimen", [str(name) for name in shown.index], shown, outcome)
        ),
    )


def _errors_table(label: str, names: Sequence[str], errors: pd.DataFrame, outcome: Outcome) -> str:
    quantities = [("mean measured", outcome.unit)]
    quantities += [(name, outcome.error_unit) for name in ("bias", "standard deviation", "RMSE")]
    header = [label, "photographs", *(f"{name} ({unit})" if unit else name for name, unit in quantities)]
    return table(([name, *row] for name, row in zip(names, errors.itertuples(index=False), strict=True)), header)


def error_budget_section(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    """What wrong bins and the borders between bins cost."""
    costs, borders, unit = outcome.costs(), outcome.borders(), outcome.error_unit
    cost_of = costs.to_dict("index")
    rows = [
        [name, with_unit(cost["rmse"], unit), with_unit(cost["cost"], unit), percent(cost["share"])]
        for name, cost in ((name, cost_of[key]) for key, name in COMBINATION_NAMES.items())
    ]
    near = [
        [f"{row['low']:g} to {row['high']:g}" if np.isfinite(row["high"]) else f"over {row['low']:g}", row["count"]]
        + [with_unit(row[name], unit) for name in ("oracle", "mixture", "argmax")]
        for row in borders.to_dict("records")
    ]
    combinations = [COMBINATION_NAMES[name] for name in ("oracle", "mixture", "argmax")]
    return section(
        "Error budget: what the bins cost",
        paragraph(
            "With the true bin given, the regressor alone makes the error; what a combination adds is the cost of bins "
            "that are wrong or uncertain (below zero where other bins than the true one happen to do better). If "
            "the borders between bins cost something, the RMSE rises to the left of the right-hand figure. Error bars "
            "are 95 % confidence intervals."
        ),
        figure(figures["error_budget"], "RMSE of each combination, and RMSE against the distance to the nearest edge"),
        table(rows, ["combination", "RMSE", "cost of the bins", "share of the squared error"]),
        fold("Numbers at the borders", table(near, ["distance (bin widths)", "photographs", *combinations])),
    )


def classifier_section(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    """Which bins are taken for which, and whether their probabilities can be believed."""
    right = float(np.mean(outcome.probabilities.argmax(1) == outcome.true_bin))
    before, after = outcome.reliability_before().expected_error, outcome.reliability().expected_error
    text = (
        f"The likeliest bin is the true one in {percent(right)} of the photographs. The classifier's probabilities are "
        f"scaled by a temperature of {number(outcome.temperature)}. What is reported beside a reading is the "
        f"probability that its predictive distribution gives to the bin, where the run has learned one. Of all bins "
        f"that are called 80 % likely 80 % should be the true ones; the mean distance from that (expected calibration "
        f"error) is {before:.3f} for the classifier and {after:.3f} for what is reported."
    )
    return section(
        "The classifier: which bin?",
        paragraph(text),
        figure(figures["bin_confusion"], "photographs by true and likeliest bin"),
        figure(
            figures["bin_reliability"], "share of hits against the probability of the likeliest bin, before and after"
        ),
    )


def intervals_section(outcome: Outcome, metrics: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """How often the intervals hold, in every part of the range, and how wide they are."""
    found, title = metrics["coverage"], "Intervals: do they hold?"
    crps = _crps(outcome, metrics)
    if found["share"] is None:
        return section(title, paragraph(f"There are no intervals: {found['reason']}."), crps)
    counted = "photographs" if outcome.groups is None else "specimens"
    text = (
        f"{100 * found['confidence']:g} % of the concentrations shall lie within their intervals; "
        f"{percent(found['share'])} do. Bands are 95 % confidence intervals of a share (binomial, of so many "
        f"{counted}): intervals hold as promised if the promised share lies within the band. That is promised for all "
        f"photographs together; in a single part of the range it may be otherwise."
    )
    rows = [["all", *_told(found)]]
    rows += [["near the ends of the range", *_told(found["near_edges"])]] if found["near_edges"] else []
    parts = [[f"{number(part['low'])} to {number(part['high'])}", *_told(part)] for part in found["by_range"]]
    counts = ["photographs"] if outcome.groups is None else ["photographs", "specimens"]
    header = ["", *counts, "share inside", "band", "mean width" + _in(outcome.unit)]
    return section(
        title,
        paragraph(text),
        figure(figures["coverage"], "share inside by range of concentration, and width of the intervals"),
        table(rows, header),
        fold("By range", table(parts, header)),
        *([paragraph(_missed(found["groups_missed"]))] if outcome.groups is not None else []),
        crps,
    )


def _crps(outcome: Outcome, metrics: Mapping[str, Any]) -> str:
    """What the predictive distributions are worth."""
    if metrics["crps"] is None:
        return ""
    unit, simple = outcome.error_unit, float(np.abs(outcome.error).mean())
    return paragraph(
        f"The score of the predictive distributions (CRPS, continuous ranked probability score; the lower the better) "
        f"is {with_unit(metrics['crps'], unit)}. Numbers without any distribution would have their mean absolute error "
        f"as this score, {with_unit(simple, unit)}: what lies between is what the distributions are worth."
    )


def _told(found: Mapping[str, Any]) -> list[Any]:
    band = " to ".join(percent(end) for end in found["band"])
    counts = [found["n"]] if found["n_groups"] is None else [found["n"], found["n_groups"]]
    return [*counts, percent(found["share"]), band, found["width"]]


def _missed(names: Sequence[str]) -> str:
    if not names:
        return "Of every specimen at least half of the photographs lie within their intervals."
    more = f" and {len(names) - MOST_MISSED} more" if len(names) > MOST_MISSED else ""
    return f"Specimens of which most photographs lie outside their intervals: {', '.join(names[:MOST_MISSED])}{more}."


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""
