"""report.html: one page that says how good a run is, where its errors come from, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twostage.evaluation.error_budget import errors_by
from twostage.evaluation.figures import COMBINATION_NAMES, MOST_GROUPS
from twostage.evaluation.markup import (
    document,
    figure,
    fold,
    number,
    paragraph,
    photograph,
    section,
    table,
    with_unit,
)
from twostage.evaluation.outcome import Outcome
from twostage.evaluation.report import key_figures

__all__ = ["WORST", "RunFacts", "page", "photographs_to_show"]

WORST = 10
"""So many of the photographs with the largest errors are shown."""


@dataclass(frozen=True)
class RunFacts:
    """What the page tells beside the outcome.

    `images` names and `pixels` shows the photographs of the outcome (N), `remarks` says of each what its status is if
    it is not ok; `refused` are (name, reason) of those that were not read; `parts` has a row per part of the split;
    `changed` maps options to (value, default), `options` all to their value; `notes` are the warnings of the run.
    """

    run: str
    metrics: Mapping[str, Any]
    images: Sequence[str]
    pixels: Any
    remarks: Sequence[str]
    refused: Sequence[tuple[str, str]]
    split: str
    parts: pd.DataFrame
    changed: Mapping[str, tuple[Any, Any]]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: Sequence[str]


def page(outcome: Outcome, facts: RunFacts, figures: Mapping[str, bytes]) -> str:
    """The page as HTML, with everything that it shows inside it.

    Args:
        figures: As `draw` gives them.
    """
    sections = [_headline(outcome, facts), _warnings(facts), _scatter(figures), _residuals(outcome, figures)]
    if outcome.groups is not None:
        sections.append(_groups(outcome, outcome.groups, figures))
    sections.append(_agreement(outcome, figures))
    if outcome.has_bins:
        sections += [_error_budget(outcome, figures), _bins(outcome, figures)]
    sections += [_learning(facts, figures), _photographs(outcome, facts), _split(facts), _made(facts)]
    return document(f"Run {facts.run}", sections)


def _headline(outcome: Outcome, facts: RunFacts) -> str:
    metrics, unit, error = facts.metrics, outcome.unit, np.abs(outcome.predicted - outcome.target)
    count = len(error)
    said = [
        f"On {count} photograph{'s' * (count != 1)} that played no part in training, the concentration is wrong by "
        f"{with_unit(metrics['rmse'], unit)} (RMSE)"
    ]
    if count > 1:
        half, most = np.quantile(error, [0.5, 0.95])
        said.append(f": half of them by less than {number(half)}, 95 % by less than {with_unit(most, unit)}")
    said.append(
        f". Without a network, colour statistics with ridge regression are wrong by "
        f"{with_unit(metrics['rmse_colour_baseline'], unit)}, the mean of the training targets by "
        f"{with_unit(metrics['rmse_mean_baseline'], unit)}."
    )
    few = f"{count} photographs are few: another test set may well give another figure." if count < 30 else ""
    return "\n".join([paragraph("".join(said), "headline"), paragraph(few) * bool(few), table(key_figures(metrics))])


def _warnings(facts: RunFacts) -> str:
    refused = [f"{name} was not read: {reason}" for name, reason in facts.refused]
    if not facts.notes and not refused:
        return section("Warnings", paragraph("None."))
    return section("Warnings", *(paragraph(text, "warnings") for text in [*facts.notes, *refused[:20]]))


def _scatter(figures: Mapping[str, bytes]) -> str:
    alt = "predicted against measured concentration, above the residuals"
    return section("Predicted against measured", figure(figures["predicted_against_measured"], alt))


def _residuals(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    ranges, edges = outcome.ranges()
    errors, part = errors_by(ranges, outcome.target, outcome.predicted), "bin" if outcome.has_bins else "range"
    names = [_between(edges, k) for k in errors.index]
    return section(
        f"Residuals, by {part}",
        paragraph(
            f"A residual is measured minus predicted. Black lines are the mean of a {part}; error bars on the RMSE are "
            f"95 % confidence intervals, if errors are independent and normally distributed."
        ),
        figure(figures["residuals_by_range"], f"residuals against concentration, and RMSE of each {part}"),
        fold(f"Numbers of each {part}", _errors_table(part, names, errors, outcome.unit)),
    )


def _between(edges: np.ndarray, k: int) -> str:
    return f"{number(float(edges[k]))} to {number(float(edges[k + 1]))}"


def _groups(outcome: Outcome, groups: np.ndarray, figures: Mapping[str, bytes]) -> str:
    errors = errors_by(groups, outcome.target, outcome.predicted)
    shown = errors.nlargest(MOST_GROUPS, "rmse").sort_values("target")
    text = f"The test set has {len(errors)} group{'s' * (len(errors) != 1)}; a black bar is the mean of one."
    if len(shown) < len(errors):
        text += f" Shown are the {len(shown)} with the largest RMSE."
    return section(
        "Residuals, by group",
        paragraph(text),
        figure(figures["residuals_by_group"], "residuals of each group"),
        fold("Numbers of each group", _errors_table("group", [str(name) for name in shown.index], shown, outcome.unit)),
    )


def _errors_table(label: str, names: Sequence[str], errors: pd.DataFrame, unit: str) -> str:
    units = f" ({unit})" if unit else ""
    header = [
        label,
        "photographs",
        f"mean measured{units}",
        f"bias{units}",
        f"standard deviation{units}",
        f"RMSE{units}",
    ]
    return table(([name, *row] for name, row in zip(names, errors.itertuples(index=False), strict=True)), header)


def _agreement(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    found, unit = outcome.agreement(), outcome.unit
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


def _error_budget(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    costs, borders, unit = outcome.costs(), outcome.borders(), outcome.unit
    cost_of = costs.to_dict("index")
    rows = [
        [name, with_unit(cost["rmse"], unit), with_unit(cost["cost"], unit), f"{cost['share']:.1%}"]
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
            "that are wrong or uncertain (below zero where the mixture averages out errors of neighbouring bins). If "
            "the borders between bins cost something, the RMSE rises to the left of the right-hand figure. Error bars "
            "are 95 % confidence intervals."
        ),
        figure(figures["error_budget"], "RMSE of each combination, and RMSE against the distance to the nearest edge"),
        table(rows, ["combination", "RMSE", "cost of the bins", "share of the squared error"]),
        fold("Numbers at the borders", table(near, ["distance (bin widths)", "photographs", *combinations])),
    )


def _bins(outcome: Outcome, figures: Mapping[str, bytes]) -> str:
    before, after = outcome.reliabilities().values()
    right = float(np.mean(outcome.probabilities.argmax(1) == outcome.true_bin))
    text = (
        f"The likeliest bin is the true one in {right:.1%} of the photographs. The probabilities are scaled by a "
        f"temperature of {number(outcome.temperature)}, fitted on the validation set; the mean distance between "
        f"probability and share of hits (expected calibration error) is {before.expected_error:.3f} before it and "
        f"{after.expected_error:.3f} after."
    )
    if outcome.views > 1:
        text += (
            f" Probabilities are means over {outcome.views} views; those before the temperature are computed back from "
            f"these, which is exact for one view only."
        )
    return section(
        "The classifier: which bin?",
        paragraph(text),
        figure(figures["bin_confusion"], "photographs by true and likeliest bin"),
        figure(figures["bin_reliability"], "share of hits against the probability of the likeliest bin"),
    )


def _learning(facts: RunFacts, figures: Mapping[str, bytes]) -> str:
    metrics = facts.metrics
    text = (
        f"{metrics['train_seconds']:.0f} s of training, {metrics['images_per_second']:.0f} photographs a second, "
        f"{metrics['parameters']:,} parameters. The weights of the best epoch are kept."
    )
    alt = "validation RMSE and training loss of each epoch"
    return section("Learning history", paragraph(text), figure(figures["learning_history"], alt))


def photographs_to_show(error: np.ndarray) -> list[tuple[str, int]]:
    """(title, row) of the largest absolute errors (N,), then the median and the smallest; each row once."""
    order = np.argsort(-np.abs(error), kind="stable").tolist()
    worst = order[:WORST]
    shown = [(f"error {place} of {len(order)}", row) for place, row in enumerate(worst, 1)]
    if len(order) > WORST + 1:
        shown.append(("median", order[len(order) // 2] if len(order) // 2 >= WORST else order[WORST]))
    if len(order) > WORST:
        shown.append(("best", order[-1]))
    return shown


def _photographs(outcome: Outcome, facts: RunFacts) -> str:
    error, unit = outcome.predicted - outcome.target, outcome.unit
    shown = []
    for title, row in photographs_to_show(error):
        lines = [
            title,
            facts.images[row],
            f"measured {with_unit(float(outcome.target[row]), unit)}",
            f"predicted {with_unit(float(outcome.predicted[row]), unit)}",
            f"residual {number(float(-error[row]))}",
        ]
        if outcome.has_bins:
            k = int(outcome.probabilities[row].argmax())
            wrong = "" if k == outcome.true_bin[row] else ", wrong"
            lines.append(f"bin {_between(outcome.edges, k)}: {outcome.probabilities[row, k]:.0%}{wrong}")
        shown.append(photograph(facts.pixels[row], [*lines, *filter(None, [facts.remarks[row]])]))
    return section(
        "Photographs: the largest errors, the median, the best",
        paragraph("As the network sees them, brought to its size; predictions.csv has all."),
        '<div class="photographs">\n' + "\n".join(shown) + "\n</div>",
    )


def _split(facts: RunFacts) -> str:
    rows = facts.parts.itertuples(index=False)
    return section("Which photographs, split how", paragraph(facts.split), table(rows, list(facts.parts.columns)))


def _made(facts: RunFacts) -> str:
    changed = [
        [name, str(value), "-" if default is None else str(default)] for name, (value, default) in facts.changed.items()
    ]
    return section(
        "How it was made",
        paragraph("Options that differ from their defaults:" if changed else "All options have their defaults."),
        table(changed, ["option", "value", "default"]) if changed else "",
        fold("All options", table(([name, str(value)] for name, value in facts.options.items()), ["option", "value"])),
        table(facts.versions.items(), ["made with", ""]),
    )
