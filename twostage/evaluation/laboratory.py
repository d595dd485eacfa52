"""All figures that a laboratory asks of a method, from what was true and what was read."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from twostage.evaluation import detection as limits
from twostage.evaluation.agreement import percent_agreement, proportional_bias, replicate_agreement
from twostage.evaluation.method_comparison import deming, passing_bablok
from twostage.evaluation.precision import nested_precision

__all__ = ["decision_levels", "laboratory_figures"]


def laboratory_figures(
    target: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray | None = None,
    days: np.ndarray | None = None,
    scale_unit: str = "",
    confidence: float = 0.95,
    period: float | None = None,
) -> dict[str, Any]:
    """Agreement, lines, recovery, precision, linearity and limits, ready for JSON.

    Photographs of one specimen are nearly copies: lines, trend, recovery and linearity take the mean of each specimen,
    that is of what shares its group and its true concentration. (Agreement takes the groups as they are.) A figure that
    is not defined is None beside a `reason` in words; nothing is raised for few or odd data.

    Args:
        target: True concentration of each photograph (N,).
        predicted: What was read (N,); NaN where a photograph was refused.
        groups: Specimen of each photograph (N,); without them every photograph counts as a specimen.
        days: Day of each photograph (N,).
        scale_unit: Unit of the concentrations, for the reader.
        confidence: Of all intervals, and share of the differences between the limits of agreement.
        period: Of a circle, on which there is no percent of a concentration and no line through all of them.

    Returns:
        `unit confidence photographs unread specimens agreement agreement_percent proportional_bias lines
        decision_levels bias_at_levels recovery repeatability within_laboratory components linearity limit_of_blank
        limit_of_detection limit_of_quantitation`; or, where there are none, the first five and `reason`.

    >>> figures = laboratory_figures(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 2.0, 3.2, 4.1]), scale_unit="g/L")
    >>> round(figures["agreement"]["bias"], 3), figures["limit_of_blank"]["value"]
    (0.1, None)
    """
    target, predicted = np.asarray(target, np.float64), np.asarray(predicted, np.float64)
    read = np.isfinite(predicted) & np.isfinite(target)
    named = groups is not None
    group = np.arange(len(target))[read] if groups is None else np.asarray(groups).astype(str)[read]
    day = None if days is None else np.asarray(days).astype(str)[read]
    target, predicted = target[read], predicted[read]
    specimen = _cells(group, target)
    head = {
        "unit": scale_unit,
        "confidence": confidence,
        "photographs": len(target),
        "unread": int((~read).sum()),
        "specimens": len(np.unique(specimen)),
    }
    if not len(target):
        return head | {"reason": "no photograph was read"}
    if period is not None:
        return head | {"reason": "lines, recovery and limits at the low end are not defined on a circle"}
    with np.errstate(all="ignore"):  # of concentrations beyond 1e150: what is not finite becomes None below
        found = (
            {
                "agreement": replicate_agreement(predicted - target, group, confidence),
                "agreement_percent": percent_agreement(predicted, target, group, confidence),
            }
            | _of_specimens(*_means(target, predicted, specimen), confidence)
            | _precisions(predicted, specimen if named else None, day, confidence)
            | _limits(target, predicted, specimen)
        )
    return head | {name: _plain(figure) for name, figure in found.items()}


def _cells(group: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One number for each pair of group and true concentration (N,)."""
    pairs = [np.unique(labels, return_inverse=True)[1] for labels in (group, target)]
    return np.unique(np.stack(pairs, 1), axis=0, return_inverse=True)[1].reshape(-1)


def _means(target: np.ndarray, predicted: np.ndarray, specimen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, of, counts = np.unique(specimen, return_inverse=True, return_counts=True)
    return np.bincount(of, target) / counts, np.bincount(of, predicted) / counts


def _of_specimens(target: np.ndarray, predicted: np.ndarray, confidence: float) -> dict[str, Any]:
    """Figures of the means of specimens (n,)."""
    lines = {
        "deming": deming(target, predicted, confidence=confidence),
        "weighted_deming": deming(target, predicted, weighted=True, confidence=confidence),
        "passing_bablok": passing_bablok(target, predicted, confidence),
    }
    levels = decision_levels(target)
    return {
        "proportional_bias": proportional_bias(predicted, target, confidence),
        "lines": lines,
        "decision_levels": levels,
        "bias_at_levels": {name: line.bias_at(levels) for name, line in lines.items()},
        "recovery": limits.recovery(target, predicted, confidence),
        "linearity": limits.linearity(target, predicted),
    }


def decision_levels(target: np.ndarray) -> list[float]:
    """The 10th, 50th and 90th percentile of concentrations (n,), rounded to a tenth of their range or finer.

    >>> decision_levels(np.linspace(80.0, 350.0, 100))
    [110.0, 220.0, 320.0]
    """
    low, _, high = found = np.percentile(target, [10, 50, 90])
    if not 0 < high - low < math.inf:
        return sorted(set(found.tolist()))
    digits = 1 - math.floor(math.log10(high - low))
    return sorted({float(round(level, digits)) + 0.0 for level in found.tolist()})


def _precisions(
    predicted: np.ndarray, specimen: np.ndarray | None, day: np.ndarray | None, confidence: float
) -> dict[str, Any]:
    unknown = {"sd": None, "interval": None, "cv": None, "cv_interval": None, "freedom": None}
    if specimen is None:
        reason = "the specimens of the photographs are not named (data.group_column)"
        return {name: unknown | {"reason": reason} for name in ("repeatability", "within_laboratory")} | {
            "components": {}
        }
    if day is None:
        found = nested_precision(predicted, {"specimen": specimen}, "specimen", confidence)
        within: Any = unknown | {"reason": "the days of the photographs are not named (data.day_column)"}
    else:
        found = nested_precision(predicted, {"specimen": specimen, "day": day}, "specimen", confidence)
        within = found.within_laboratory
    return {"repeatability": found.repeatability, "within_laboratory": within, "components": found.variances}


def _limits(target: np.ndarray, predicted: np.ndarray, specimen: np.ndarray) -> dict[str, Any]:
    blank = limits.limit_of_blank(predicted[target == 0], len(np.unique(specimen[target == 0])))
    detected = limits.limit_of_detection(blank, target, predicted, specimen)
    return {
        "limit_of_blank": blank,
        "limit_of_detection": detected,
        "limit_of_quantitation": limits.limit_of_quantitation(detected, target, predicted),
    }


def _plain(thing: Any) -> Any:
    """Dicts, lists, numbers, texts and None; what is not finite is None."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: _plain(getattr(thing, field.name)) for field in fields(thing) if field.repr}
    if isinstance(thing, dict):
        return {name: _plain(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value) for value in thing]
    if isinstance(thing, float | np.floating):
        return float(thing) if math.isfinite(thing) else None
    return thing.item() if isinstance(thing, np.generic) else thing
