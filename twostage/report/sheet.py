"""The first page of report.html: what a laboratory signs, on one sheet of paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twostage.evaluation.remarks import judged
from twostage.report.facts import RunFacts
from twostage.report.markup import block, figure, number, paragraph, percent, table, with_unit
from twostage.report.outcome import Outcome

__all__ = ["STATUSES", "first_page"]

STATUSES = {
    "ok": "nothing speaks against the number",
    "out_of_range": "the number lies outside the bins",
    "low_confidence": "the number is uncertain, or both stages disagree",
    "unlike": "the photograph is unlike those of the training",
    "refused": "not read: no number, and in none of these figures",
}
"""What each status says of a photograph."""

Row = tuple[str, str, str, str]
"""Of the table of figures: name, value, interval, and what it means or why it is not given."""

MOST_REASONS = 3
"""So many reasons of refusals are told on the first page."""

LONGEST = 120
"""Letters of a text of a user, or of a reason, on the first page; all of it stands behind."""


def first_page(outcome: Outcome, facts: RunFacts, figures: Mapping[str, bytes]) -> str:
    """What was measured, how good the readings are, and where to sign; it prints on one sheet of A4."""
    remarks = [paragraph(f"{text[0].upper()}{text[1:]}.", "warnings") for text in facts.metrics["remarks"]]
    picture = figure(figures["at_a_glance"], "predicted against measured concentration, with intervals")
    found = table(_found(outcome, facts.metrics), ["figure", "value", "95 % interval", "what it means"])
    parts = table(facts.parts.itertuples(index=False), list(facts.parts.columns))
    return block(
        "sheet",
        paragraph(_headline(outcome, facts.metrics), "headline"),
        *remarks,
        block("beside", block("facts", table(_measured(outcome, facts)), parts), picture),
        paragraph(facts.split),
        block("found", found),
        table(_statuses(facts), ["status", "photographs", "what it says"]),
        block("signatures", *(paragraph(text) for text in ("Measured by", "Checked by", "Date"))),
    )


def _headline(outcome: Outcome, metrics: Mapping[str, Any]) -> str:
    unit, error = outcome.error_unit, np.abs(outcome.error)
    said = f"On {outcome.described()} that played no part in training, the concentration is wrong by "
    said += f"{with_unit(judged(metrics, 'rmse'), unit)} (RMSE)"
    if len(error) > 1:
        half, most = np.quantile(error, [0.5, 0.95])
        said += f": for half of them by less than {number(half)}, for 95 % by less than {with_unit(most, unit)}"
    return f"{said}."


def _measured(outcome: Outcome, facts: RunFacts) -> list[tuple[str, str]]:
    """What was measured, and with which model."""
    ends = with_unit(float(outcome.edges[-1]), outcome.unit)
    bins, metrics = len(outcome.edges) - 1, facts.metrics
    stages = "one stage" if metrics["method"] == "direct" else f"two stages, {metrics['combination']}"
    rows = [
        ("photographs", _short(facts.source)),
        (
            "tested at",
            f"{number(float(outcome.target.min()))} to {with_unit(float(outcome.target.max()), outcome.unit)}",
        ),
        ("bins", f"{bins}, from {number(float(outcome.edges[0]))} to {ends}"),
        ("unit", outcome.unit or "not given (data.unit)"),
        ("model", f"{facts.model} (the digest in model.json begins so); {stages}"),
        ("made with", f"twostage {facts.versions['twostage']}, evaluated {facts.date}"),
    ]
    if metrics.get("n_folds"):
        folds = (
            f"each photograph was read by the model of one of {metrics['n_folds']} folds that had not seen its specimen"
        )
        rows.append(("tested how", folds))
    return rows


def _found(outcome: Outcome, metrics: Mapping[str, Any]) -> list[Row]:
    """How good the readings are: each figure, or why it is not given."""
    return [*_errors(outcome, metrics), *_coverage(outcome, metrics["coverage"]), *_laboratory(outcome, metrics)]


def _errors(outcome: Outcome, metrics: Mapping[str, Any]) -> list[Row]:
    unit, found, rmse = outcome.error_unit, outcome.agreement(), judged(metrics, "rmse")
    factor = "" if unit == outcome.unit else f" (a decade is a factor of ten: this is one of {number(10**rmse)})"
    weighed = "" if outcome.groups is None else ", every specimen weighs the same"
    limits = found.reason or "95 % of the differences lie between both limits,"
    return [
        ("RMSE", with_unit(rmse, unit), "", f"root of the mean squared error{factor}"),
        ("bias", with_unit(found.bias, unit), span(found.bias_interval), f"mean of read minus measured{weighed}"),
        ("lower limit of agreement", with_unit(found.lower, unit), span(found.lower_interval), limits),
        (
            "upper limit of agreement",
            with_unit(found.upper, unit),
            span(found.upper_interval),
            found.reason or "if they are normally distributed",
        ),
    ]


def _coverage(outcome: Outcome, found: Mapping[str, Any]) -> list[Row]:
    name = f"{100 * found['confidence']:g} % intervals"
    if found["share"] is None:
        return [(name, "-", "", f"none: {found['reason']}")]
    band = " to ".join(percent(end) for end in found["band"])
    return [
        (f"inside their {name}", percent(found["share"]), band, "measured concentrations that they hold"),
        ("mean width of an interval", with_unit(found["width"], outcome.unit), "", "from its lower to its upper end"),
    ]


def _laboratory(outcome: Outcome, metrics: Mapping[str, Any]) -> list[Row]:
    """Precision where it is known, and the limits at the low end."""
    found = metrics["laboratory"]
    if "reason" in found:
        return [("laboratory figures", "-", "", found["reason"])]
    spreads = [
        ("repeatability", found["repeatability"], "photographs of one specimen"),
        ("within the laboratory", found["within_laboratory"], "one specimen on several days"),
    ]
    limits = [
        ("limit of blank", found["limit_of_blank"], "95 % of the readings of blanks lie below it"),
        ("limit of detection", found["limit_of_detection"], "told from a blank 95 times of 100"),
        ("limit of quantitation", found["limit_of_quantitation"], "from here on the total error is at most 20 %"),
    ]
    unit = outcome.unit
    known = [
        (name, with_unit(one["sd"], unit), span(one["interval"]), f"standard deviation of {of}{_share(one['cv'])}")
        for name, one, of in spreads
        if one["sd"] is not None
    ]
    return known + [(name, with_unit(one["value"], unit), "", one["reason"] or of) for name, one, of in limits]


def _share(cv: float | None) -> str:
    return "" if cv is None else f" ({number(cv)} % of the mean)"


def span(interval: Sequence[float] | None) -> str:
    """The ends of an interval, "" for none.

    >>> span((0.5, 1.25)), span(None)
    ('0.5 to 1.25', '')
    """
    return "" if interval is None else " to ".join(number(float(end)) for end in interval)


def _statuses(facts: RunFacts) -> list[tuple[str, int, str]]:
    """Each status with its count and what it says; the commonest reasons of refusals stand beside."""
    why = Counter(reason for _, reason in facts.refused).most_common(MOST_REASONS)
    told = {"refused": "".join(f"; {count} of them: {_short(reason)}" for reason, count in why)}
    counts = facts.metrics["statuses"].items()
    return [(status, count, STATUSES[status] + told.get(status, "")) for status, count in counts if count]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST // 2] + " … " + text[-LONGEST // 2 :]
