"""report.html: what a laboratory signs, and behind it where the errors come from and how the run was made."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from twostage.evaluation.remarks import judged
from twostage.report.facts import RunFacts
from twostage.report.laboratory_section import laboratory_section
from twostage.report.markup import (
    document,
    figure,
    fold,
    number,
    paragraph,
    percent,
    photograph,
    section,
    table,
    with_unit,
)
from twostage.report.outcome import Outcome
from twostage.report.sections import (
    bin_name,
    classifier_section,
    error_budget_section,
    groups_section,
    intervals_section,
    residuals_section,
)
from twostage.report.sheet import first_page
from twostage.report.tables import key_figures

__all__ = ["WORST", "page", "photographs_to_show"]

WORST = 10
"""So many of the photographs with the largest errors are shown."""


def page(outcome: Outcome, facts: RunFacts, figures: Mapping[str, bytes]) -> str:
    """The page as HTML, with everything that it shows inside it.

    Args:
        figures: As `draw` gives them.
    """
    sections = [first_page(outcome, facts, figures), _warnings(facts), _figures(facts)]
    sections += [_reading(figures), _scatter(figures), intervals_section(outcome, facts.metrics, figures)]
    sections.append(residuals_section(outcome, figures))
    if outcome.groups is not None:
        sections.append(groups_section(outcome, outcome.groups, figures))
    sections.append(laboratory_section(outcome, facts.metrics["laboratory"], figures))
    if outcome.has_bins:
        sections += [error_budget_section(outcome, figures), classifier_section(outcome, figures)]
    sections += [_learning(facts, figures), _photographs(outcome, facts), _made(facts)]
    return document(f"Report of run {facts.run}", sections)


def _figures(facts: RunFacts) -> str:
    metrics = facts.metrics
    unit = "decades" if "rmse_decades" in metrics else metrics["unit"]
    beside = (
        f"Without a network, colour statistics with ridge regression are wrong by "
        f"{with_unit(judged(metrics, 'rmse_colour_baseline'), unit)}, the mean of the training targets by "
        f"{with_unit(judged(metrics, 'rmse_mean_baseline'), unit)} (RMSE)."
    )
    return section("All figures of the test set", paragraph(beside), table(key_figures(metrics)))


def _warnings(facts: RunFacts) -> str:
    refused = [f"{name} was not read: {reason}" for name, reason in facts.refused]
    if not facts.notes and not refused:
        return section("Warnings", paragraph("None."))
    return section("Warnings", *(paragraph(text, "warnings") for text in [*facts.notes, *refused[:20]]))


def _reading(figures: Mapping[str, bytes]) -> str:
    if "reading" not in figures:
        return ""
    text = (
        "The test photograph of the median error. Half of the weight of a mask lies inside its outline; masks that are "
        "spread out have none. The colour under each mask goes into the reading."
    )
    alt = "a photograph with its masks, the probability of each bin, the reading and the measured concentration"
    return section("One photograph, and how it is read", paragraph(text), figure(figures["reading"], alt))


def _scatter(figures: Mapping[str, bytes]) -> str:
    alt = "predicted against measured concentration, above the residuals"
    return section("Predicted against measured", figure(figures["predicted_against_measured"], alt))


def _learning(facts: RunFacts, figures: Mapping[str, bytes]) -> str:
    metrics = facts.metrics
    if "learning_history" not in figures:
        how = "In folds, each a run of its own" if metrics.get("n_folds") else "Closed forms over what the start sees"
        solved = f"{how}: {metrics['train_seconds']:.0f} s."
        return section("Learning history", paragraph(solved))
    text = (
        f"{metrics['train_seconds']:.0f} s of training, {metrics['images_per_second']:.0f} photographs a second, "
        f"{metrics['parameters']:,} parameters."
    )
    alt = "validation RMSE and training loss of each epoch"
    return section("Learning history", paragraph(text), figure(figures["learning_history"], alt))


def photographs_to_show(error: np.ndarray) -> list[tuple[str, int]]:
    """(title, row) of the largest, the median and the smallest absolute errors (N,), in this order, each row once."""
    count, order = len(error), np.argsort(-np.abs(error), kind="stable").tolist()
    median, smallest = count // 2, count - 1
    places = sorted({*range(min(WORST, count)), median, smallest})
    meaning = {median: ", the median", smallest: ", the smallest"} if count > 2 else {}
    return [(f"error {place + 1} of {count}{meaning.get(place, '')}", order[place]) for place in places]


def _photographs(outcome: Outcome, facts: RunFacts) -> str:
    error, unit, shown = outcome.error, outcome.unit, []
    inside, read = outcome.inside(), outcome.scale.home(outcome.predicted)
    for title, row in photographs_to_show(error):
        lines = [
            title,
            facts.images[row],
            f"measured {with_unit(float(outcome.target[row]), unit)}",
            f"predicted {with_unit(float(read[row]), unit)}",
            f"residual {with_unit(float(-error[row]), outcome.error_unit)}",
        ]
        if outcome.has_intervals:
            lower, upper = float(outcome.lower[row]), float(outcome.upper[row])
            outside = "" if inside[row] else ", missed"
            lines.append(f"interval {number(lower)} to {number(upper)}{outside}")
        if outcome.has_bins:
            k = int(np.searchsorted(outcome.edges[1:-1], read[row], side="right"))
            wrong = "" if k == outcome.true_bin[row] else ", wrong"
            lines.append(f"bin {bin_name(outcome.edges, k)}: {percent(outcome.bin_probabilities[row, k])}{wrong}")
        if outcome.groups is not None:
            lines.append(f"specimen {outcome.groups[row]}")
        shown.append(photograph(facts.pixels[row], [*lines, *filter(None, [facts.remarks[row]])]))
    return section(
        "Photographs: the largest errors, the median, the best",
        paragraph("As the network sees them, brought to its size; predictions.csv has all."),
        '<div class="photographs">\n' + "\n".join(shown) + "\n</div>",
    )


def _made(facts: RunFacts) -> str:
    changed = [[name, *both] for name, both in facts.changed.items()]
    return section(
        "How it was made",
        paragraph("Options that differ from their defaults:" if changed else "All options have their defaults."),
        table(changed, ["option", "value", "default"]) if changed else "",
        fold("All options", table(facts.options.items(), ["option", "value"])),
        table(facts.versions.items(), ["made with", ""]),
    )
