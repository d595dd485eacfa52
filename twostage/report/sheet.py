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

LONGEST = 160
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
        block("beside", block("left", table(_measured(outcome, facts)), parts), picture),
        paragraph(facts.split),
        found,
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


def _found(outcome: Outcome, metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Figure, value, interval and what it means, or why it is not given."""
    unit, agreement, laboratory = outcome.error_unit, outcome.agreement(), metrics["laboratory"]
    weighed = "" if outcome.groups is None else "; every specimen weighs the same"
    root = "root of the mean squared difference between read and measured"
    rows = [
        ("RMSE", with_unit(judged(metrics, "rmse"), unit), "", root),
        (
            "bias",
            with_unit(agreement.bias, unit),
            span(agreement.bias_interval),
            f"mean of read minus measured{weighed}",
        ),
        *(
            (f"{name} limit of agreement", with_unit(value, unit), span(ends), agreement.reason or meaning)
            for name, value, ends, meaning in (
                (
                    "lower",
                    agreement.lower,
                    agreement.lower_interval,
                    "95 % of the differences lie between both limits,",
                ),
                ("upper", agreement.upper, agreement.upper_interval, "if they are normally distributed"),
            )
        ),
        *_coverage(outcome, metrics["coverage"]),
    ]
    if "reason" in laboratory:
        return [*rows, ("laboratory figures", "-", "", laboratory["reason"])]
    spread = laboratory["repeatability"]
    if spread["sd"] is not None:
        meaning = "standard deviation of photographs of one specimen"
        meaning += "" if spread["cv"] is None else f"; {number(spread['cv'])} % of the mean"
        rows.append(("repeatability", with_unit(spread["sd"], outcome.unit), span(spread["interval"]), meaning))
    within = laboratory["within_laboratory"]
    if within["sd"] is not None:
        value = with_unit(within["sd"], outcome.unit)
        rows.append(("within the laboratory", value, span(within["interval"]), "the same over several days"))
    return rows + [
        (name, with_unit(limit["value"], outcome.unit), "", limit["reason"] or meaning)
        for name, limit, meaning in (
            ("limit of blank", laboratory["limit_of_blank"], "95 % of the readings of blanks lie below it"),
            ("limit of detection", laboratory["limit_of_detection"], "told from a blank 95 times of 100"),
            (
                "limit of quantitation",
                laboratory["limit_of_quantitation"],
                "from here on the total error is at most 20 %",
            ),
        )
    ]


def _coverage(outcome: Outcome, found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    name = f"{100 * found['confidence']:g} % intervals"
    if found["share"] is None:
        return [(name, "-", "", f"none: {found['reason']}")]
    band = " to ".join(percent(end) for end in found["band"])
    return [
        (f"inside their {name}", percent(found["share"]), band, "measured concentrations within the stated interval"),
        ("mean width of an interval", with_unit(found["width"], outcome.unit), "", "from its lower to its upper end"),
    ]


def span(interval: Sequence[float] | None) -> str:
    """The ends of an interval, "" for none.

    >>> span((0.5, 1.25)), span(None)
    ('0.5 to 1.25', '')
    """
    return "" if interval is None else " to ".join(number(float(end)) for end in interval)


def _statuses(facts: RunFacts) -> list[tuple[str, int, str]]:
    """Each status with its count and what it says; the commonest reason of those that are not ok stands beside."""
    rows = []
    for status, count in facts.metrics["statuses"].items():
        if count:
            reasons = Counter(filter(None, facts.reasons.get(status, []))).most_common(1)
            beside = "".join(f"; {n} of them: {_short(why)}" for why, n in reasons)
            rows.append((status, count, f"{STATUSES.get(status, '')}{beside}"))
    return rows


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST // 2] + " … " + text[-LONGEST // 2 :]
