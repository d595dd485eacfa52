"""The sections of report.html that say where the errors are and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from twostage.evaluation.error_budget import errors_by
from twostage.report.figures import COMBINATION_NAMES, MOST_GROUPS
from twostage.report.markup import figure, fold, number, paragraph, percent, section, table, with_unit
from twostage.report.outcome import Outcome

__all__ = [
    "agreement_section",
    "bin_name",
    "classifier_section",
    "error_budget_section",
    "groups_section",
    "residuals_section",
]


def residuals_section(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    """Residuals against concentration, and the errors of each bin, or part of the range where there is one bin."""
    ranges, edges = outcome.ranges()
    errors, part = errors_by(ranges, outcome.target, outcome.error), "bin" if outcome.has_bins else "range"
    names = [bin_name(edges, k) for k in errors.index]
    return section(
        f"Residuals, by {part}",
        paragraph(
            f"A residual is measured minus predicted. Black lines are the mean of a {part}; error bars on the RMSE are "
            f"95 % confidence intervals, if errors are independent and normally distributed. The first and the last "
            f"{part} also hold what lies beyond them."
        ),
        figure(figures["residuals_by_range"], f"residuals against concentration, and RMSE of each {part}"),
        fold(f"Numbers of each {part}", _errors_table(part, names, errors, outcome)),
    )


def bin_name(edges: np.ndarray, k: int) -> str:
    """Bin k of those between the edges (K+1,), in words."""
    return f"{number(float(edges[k]))} to {number(float(edges[k + 1]))}"


def groups_section(outcome: Outcome, groups: np.ndarray, figures: Mapping[str, bytes]) -> str:
    """Residuals and errors of each group (N,)."""
    errors = errors_by(groups, outcome.target, outcome.error)
    shown = errors.nlargest(MOST_GROUPS, "rmse").sort_values("target")
    text = f"The test set is {outcome.described()}; a black bar is the mean of a group."
    if len(shown) < len(errors):
        text += f" Shown are the {len(shown)} with the largest RMSE."
    return section(
        "Residuals, by group",
        paragraph(text),
        figure(figures["residuals_by_group"], "residuals of each group"),
        fold("Numbers of each group", _errors_table("group", [str(name) for name in shown.index], shown, outcome)),
    )


def _errors_table(label: str, names: Sequence[str], errors: pd.DataFrame, outcome: Outcome) -> str:
    quantities = [("mean measured", outcome.unit)]
    quantities += [(name, outcome.error_unit) for name in ("bias", "standard deviation", "RMSE")]
    header = [label, "photographs", *(f"{name} ({unit})" if unit else name for name, unit in quantities)]
    return table(([name, *row] for name, row in zip(names, errors.itertuples(index=False), strict=True)), header)


def agreement_section(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    """Bland and Altman's limits."""
    found, unit = outcome.agreement(), outcome.error_unit
    text = "One photograph has no limits of agreement."
    if found.lower is not None:
        text = (
            f"95 % of the predictions are expected between {with_unit(found.lower, unit)} and "
            f"{with_unit(found.upper, unit)} from the measured concentration (limits of agreement: bias plus and minus "
            f"1.96 standard deviations, if differences are normally distributed). Gray bands are 95 % confidence "
            f"intervals (Bland and Altman 1999)."
        )
        if outcome.groups is not None:
            text += " Photographs of one group are not independent of one another, so that these bands are too narrow."
    rows = [
        ("bias (predicted minus measured)", found.bias, found.bias_interval),
        ("lower limit", found.lower, found.lower_interval),
        ("upper limit", found.upper, found.upper_interval),
    ]
    cells = [
        [name, with_unit(value, unit), *(with_unit(end, unit) for end in ends or ())] for name, value, ends in rows
    ]
    return section(
        "Agreement (Bland-Altman)",
        paragraph(text),
        figure(figures["agreement"], "difference against mean of predicted and measured, with limits of agreement"),
        table(cells, ["", "value", "95 % interval from", "to"]),
    )


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
    text = (
        f"The likeliest bin is the true one in {percent(right)} of the photographs. The probabilities are scaled by a "
        f"temperature of {number(outcome.temperature)}, fitted on the validation set; the mean distance between "
        f"probability and share of hits (expected calibration error) is {outcome.reliability().expected_error:.3f}."
    )
    return section(
        "The classifier: which bin?",
        paragraph(text),
        figure(figures["bin_confusion"], "photographs by true and likeliest bin"),
        figure(figures["bin_reliability"], "share of hits against the probability of the likeliest bin"),
    )
