"""How far do readings of one specimen scatter? Components of variance of nested designs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from twostage.evaluation.figure import Interval

__all__ = ["Precision", "Spread", "nested_precision"]


@dataclass(frozen=True)
class Spread:
    """A standard deviation (unit of the values) and coefficient of variation (percent of the mean), with intervals.

    Where it is not defined, all are None and `reason` says why; only the coefficient is None where the mean is not
    above zero.
    """

    sd: float | None
    interval: Interval | None
    cv: float | None
    cv_interval: Interval | None
    freedom: float | None
    reason: str = ""


@dataclass(frozen=True)
class Precision:
    """Components of variance by factor, outermost first and `repeatability` last, and what follows from them."""

    mean: float
    variances: dict[str, float] = field(default_factory=dict)
    mean_squares: dict[str, float] = field(default_factory=dict)
    repeatability: Spread = field(default_factory=lambda: _no_spread(_ONCE))
    within_laboratory: Spread = field(default_factory=lambda: _no_spread(_ONCE))


_ONCE = "nothing was read twice under the same conditions"


def _no_spread(reason: str) -> Spread:
    return Spread(None, None, None, None, None, reason)


def nested_precision(
    values: np.ndarray, factors: Mapping[str, np.ndarray], between: str = "", confidence: float = 0.95
) -> Precision:
    """Components of variance of values (N,) under factors nested in each other, with any number of values in a cell.

    Sums of squares of a nested analysis of variance are set equal to their expectations; a component below zero counts
    as zero. Repeatability is the innermost component; within-laboratory precision is the sum of all (but `between`).
    A sum of components is a sum of mean squares, whose degrees of freedom are Satterthwaite's; its interval is that of
    chi-square. With unequal counts the mean squares are not quite independent and the interval is approximate.

    Sources: Searle, Casella and McCulloch 1992, "Variance Components", chapter 5; CLSI EP05-A3 and EP15-A3;
    Satterthwaite 1946, "An approximate distribution of estimates of variance components", Biometrics 2:110.

    Args:
        values: What was read (N,).
        factors: Labels (N,) by name, outermost first, as day and run; a label counts within its outer ones only.
        between: The factor whose component belongs to no precision, as the specimens; "" where there is none.
        confidence: Of the intervals.

    >>> day = np.array([1, 1, 2, 2])
    >>> found = nested_precision(np.array([9.0, 11.0, 12.0, 14.0]), {"day": day})
    >>> {name: round(variance, 3) for name, variance in found.variances.items()}
    {'day': 3.5, 'repeatability': 2.0}
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    factors = {name: labels for name, labels in factors.items() if name != between or len(np.unique(labels)) > 1}
    squares, expected, freedom = _nested_squares(values, list(factors.values()))
    names = [*factors, "repeatability"]
    if freedom[-1] == 0:
        return Precision(mean, within_laboratory=_without_repeats(values, factors, between, confidence))
    if not freedom.all():
        at = int(np.argmin(freedom > 0))
        alone = f"no {names[at - 1]} has more than one {names[at]}" if at else f"there is only one {names[at]}"
        inner = _spread(squares[-1:] / freedom[-1], freedom[-1:], np.ones(1), mean, confidence)
        return Precision(mean, {}, {}, inner, _no_spread(alone))
    mean_squares = squares / freedom
    # row l: the component l as a sum of mean squares
    coefficients = np.linalg.inv(expected / freedom[:, None])
    variances = coefficients @ mean_squares
    kept = np.array([name != between and variance > 0 for name, variance in zip(names, variances, strict=True)])
    total = coefficients[kept].sum(0)
    return Precision(
        mean,
        dict(zip(names, np.maximum(variances, 0.0).tolist(), strict=True)),
        dict(zip(names, mean_squares.tolist(), strict=True)),
        _spread(mean_squares, freedom, coefficients[-1], mean, confidence),
        _spread(mean_squares, freedom, total, mean, confidence),
    )


def _without_repeats(values: np.ndarray, factors: Mapping[str, np.ndarray], between: str, confidence: float) -> Spread:
    """Within-laboratory precision where every innermost cell has one value: the innermost factor is the scatter."""
    *outer, innermost = ["", *factors]
    if innermost in ("", between):
        return _no_spread(_ONCE)
    return nested_precision(values, {name: factors[name] for name in outer[1:]}, between, confidence).within_laboratory


def _nested_squares(values: np.ndarray, factors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of squares (L,), their expectations in the components (L, L), degrees of freedom (L,); L levels.

    The innermost level is the single value. With n_c values in cell c, the sum over cells of level l of
    n_c mean_c^2 holds component m of a level within it sum(n_cell of m)^2 / n_c times.
    """
    count = len(values)
    cells = [np.zeros(count, np.intp)]
    for labels in factors:
        _, own = np.unique(np.asarray(labels), return_inverse=True)
        cells.append(np.unique(cells[-1] * (own.max() + 1) + own, return_inverse=True)[1])
    cells.append(np.arange(count))
    sizes = [np.bincount(of) for of in cells]
    centered = values - values.mean()
    sums = np.array([(np.bincount(of, centered) ** 2 / size).sum() for of, size in zip(cells, sizes, strict=True)])
    # each value carries size / size: summing over values of (its cell of m) / (its cell of l) gives the square
    of_values = np.array([size[of] for of, size in zip(cells, sizes, strict=True)], np.float64)  # (levels, values)
    held = (1 / of_values) @ of_values.T
    freedom = np.diff([len(size) for size in sizes]).astype(np.float64)
    return np.maximum(np.diff(sums), 0.0), np.triu(np.diff(held, axis=0)[:, 1:]), freedom


def _spread(
    mean_squares: np.ndarray,
    freedom: np.ndarray,
    coefficients: np.ndarray,
    mean: float,
    confidence: float,
) -> Spread:
    """The root of a sum of mean squares, with Satterthwaite's degrees of freedom."""
    parts = coefficients * mean_squares
    variance = max(0.0, float(parts.sum()))
    sd = float(np.sqrt(variance))
    if variance == 0:
        return Spread(0.0, None, 0.0 if mean > 0 else None, None, None, "all readings are equal: there is no interval")
    effective = variance**2 / float((parts**2 / freedom).sum())
    ends = np.sqrt(effective / stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], effective))
    interval = (sd * float(ends[0]), sd * float(ends[1]))
    if mean <= 0:
        return Spread(sd, interval, None, None, effective, "the mean is not above zero: no percent of it")
    return Spread(sd, interval, 100 * sd / mean, (100 * interval[0] / mean, 100 * interval[1] / mean), effective)
