"""The section of report.html with the figures that a laboratory asks for, each with the reason where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twostage.report.markup import figure, fold, number, paragraph, section, subtitle, table, with_unit
from twostage.report.outcome import Outcome
from twostage.report.sheet import span

__all__ = ["laboratory_section"]

LINES = {"deming": "Deming", "weighted_deming": "weighted Deming", "passing_bablok": "Passing-Bablok"}


def laboratory_section(outcome: Outcome, found: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """Agreement, lines, recovery, precision, linearity and limits.

    Args:
        found: As `Outcome.laboratory` gives them.
    """
    if "reason" in found:
        left_out = paragraph(f"Agreement alone: {found['reason']}.")
        return section("Laboratory figures", left_out, *_agreement(outcome, found, figures))
    counted = (
        "the mean of every specimen counts once"
        if outcome.groups is not None
        else (
            "specimens are not named (data.group_column), so that every photograph counts as one, and intervals are "
            "too narrow if some show the same specimen"
        )
    )
    return section(
        "Laboratory figures",
        paragraph(f"Intervals are of 95 % confidence. In trend, lines, recovery and linearity {counted}."),
        *_agreement(outcome, found, figures),
        *_lines(outcome.unit, found),
        *_recovery(outcome.unit, found["recovery"]),
        *_precision(outcome.unit, found),
        *_linearity(outcome.unit, found["linearity"]),
        *_limits(outcome.unit, found),
    )


def _agreement(outcome: Outcome, found: Mapping[str, Any], figures: Mapping[str, bytes]) -> list[str]:
    unit, on_scale = outcome.unit, outcome.agreement()
    text = "One photograph, or one specimen, has no limits of agreement."
    if on_scale.lower is not None:
        text = (
            "95 % of the predictions are expected between the limits of agreement from the measured concentration: the "
            "bias plus and minus 1.96 standard deviations, if differences are normally distributed. Gray bands are "
            "95 % confidence intervals (Bland and Altman 1999)."
        )
    rows = _agreement_rows(vars(on_scale), outcome.error_unit)
    if outcome.error_unit != unit:
        rows += _agreement_rows(found["agreement"], unit)
    if "reason" not in found:
        rows += _agreement_rows(found["agreement_percent"], "%")
        trend = found["proportional_bias"]
        rows.append(["slope of the difference", number(trend["slope"]), span(trend["interval"]), _p(trend)])
    return [
        subtitle("Agreement (Bland-Altman)"),
        paragraph(text),
        figure(figures["agreement"], "difference against mean of predicted and measured, with limits of agreement"),
        table(rows, ["predicted minus measured", "value", "interval", ""]),
    ]


def _p(trend: Mapping[str, Any]) -> str:
    if trend["p"] is None:
        return str(trend["reason"])
    seen = "the difference grows or falls with the concentration" if trend["p"] < 0.05 else "no trend is seen"
    return f"p {number(trend['p'])}: {seen}"


def _agreement_rows(found: Mapping[str, Any], unit: str) -> list[list[str]]:
    in_unit = f" ({unit})" if unit else ""
    return [
        [
            f"{name}{in_unit}",
            number(found[key]),
            span(found[f"{key}_interval"]),
            found["reason"] if key == "bias" else "",
        ]
        for name, key in (("bias", "bias"), ("lower limit", "lower"), ("upper limit", "upper"))
    ]


def _lines(unit: str, found: Mapping[str, Any]) -> list[str]:
    lines, levels = found["lines"], found["decision_levels"]
    rows = [
        [name, *(cell for end in ("slope", "intercept") for cell in _value(line, end)), line["reason"]]
        for name, line in ((name, lines[key]) for key, name in LINES.items())
    ]
    at = [
        [number(float(level)), *(_with_interval(found["bias_at_levels"][key][i]) for key in LINES)]
        for i, level in enumerate(levels)
    ]
    return [
        subtitle("The line between measured and predicted"),
        paragraph(
            "Without error the slope is 1 and the intercept 0. All three lines grant errors to both: Deming of equal "
            "size, weighted Deming in proportion to the concentration, Passing-Bablok of any distribution."
        ),
        table(rows, ["line", "slope", "interval", f"intercept{_in(unit)}", "interval", ""]),
        fold("Bias of the lines at low, middle and high levels", table(at, [f"level{_in(unit)}", *LINES.values()])),
    ]


def _value(line: Mapping[str, Any], name: str) -> tuple[str, str]:
    return number(line[name]), span(line[f"{name}_interval"])


def _with_interval(found: Mapping[str, Any]) -> str:
    ends = span(found["interval"])
    return number(found["value"]) + (f" ({ends})" if ends else "")


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _recovery(unit: str, levels: list[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            level["target"],
            level["predicted"],
            level["specimens"],
            *_figure(level["recovery"])[:2],
            level["recovery"]["reason"],
        ]
        for level in levels
    ]
    header = [f"measured{_in(unit)}", f"predicted{_in(unit)}", "specimens", "recovery (%)", "interval", ""]
    return [subtitle("Recovery"), fold("Predicted in percent of measured, by level", table(rows, header))]


def _figure(found: Mapping[str, Any]) -> tuple[str, str]:
    return number(found["value"]), span(found["interval"])


def _precision(unit: str, found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, key in (("repeatability", "repeatability"), ("within the laboratory, over days", "within_laboratory")):
        spread = found[key]
        shares = number(spread["cv"]), span(spread["cv_interval"])
        rows.append([name, number(spread["sd"]), span(spread["interval"]), *shares, spread["reason"]])
    header = ["", f"standard deviation{_in(unit)}", "interval", "% of the mean", "interval", ""]
    return [
        subtitle("Precision"),
        paragraph("How far readings of the same specimen scatter, on one day and over several."),
        table(rows, header),
    ]


def _linearity(unit: str, found: Mapping[str, Any]) -> list[str]:
    if found["linear"] is None:
        return [subtitle("Linearity"), paragraph(f"Not known: {found['reason']}.")]
    cube = "" if found["p_cube"] is None else f", of a cube {number(found['p_cube'])}"
    text = f"p of a square beside the line is {number(found['p_square'])}{cube}"
    if found["linear"]:
        text = f"A straight line describes the readings as well as a curve ({text})."
    else:
        percent = "" if found["largest_percent"] is None else f", or {number(found['largest_percent'])} %"
        text = (
            f"A curve describes the readings better than a straight line ({text}). It leaves the line by up to "
            f"{with_unit(found['largest'], unit)}{percent}."
        )
    header = [f"measured{_in(unit)}", f"predicted minus the line{_in(unit)}"]
    return [subtitle("Linearity"), paragraph(text), fold("Distances by level", table(found["deviations"], header))]


def _limits(unit: str, found: Mapping[str, Any]) -> list[str]:
    rows = []
    for key in ("limit_of_blank", "limit_of_detection", "limit_of_quantitation"):
        limit = found[key]
        rows.append([key.replace("_", " "), with_unit(limit["value"], unit), limit["reason"] or limit["method"]])
    return [subtitle("Limits at the low end"), table(rows)]
