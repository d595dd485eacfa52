"""Where does reading begin and is it straight? Recovery, linearity, limits of blank, detection and quantitation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from twostage.evaluation.figure import Figure

__all__ = [
    "ENOUGH_BLANKS",
    "MOST_LEVELS",
    "Level",
    "Linearity",
    "levels_of",
    "limit_of_blank",
    "limit_of_detection",
    "limit_of_quantitation",
    "linearity",
    "recovery",
]

MOST_LEVELS = 12
"""More different concentrations than this are put into ten classes of equal count."""

ENOUGH_BLANKS = 20
"""Readings of blanks: EP17-A2 asks for 20 to verify a limit of blank, and for 60 to establish one."""


def levels_of(target: np.ndarray) -> np.ndarray:
    """Level 0, 1, .. of each concentration (N,), in ascending order: each its own, or one of ten classes if many.

    >>> levels_of(np.array([5.0, 0.0, 5.0])).tolist()
    [1, 0, 1]
    """
    different, of = np.unique(np.asarray(target, np.float64), return_inverse=True)
    if len(different) <= MOST_LEVELS:
        return of
    order = np.argsort(np.argsort(different[of], kind="stable"), kind="stable") * 10 // len(of)
    first = np.full(len(different), 10)
    np.minimum.at(first, of, order)  # equal concentrations stay together
    return np.unique(first[of], return_inverse=True)[1]


@dataclass(frozen=True)
class Level:
    """Specimens of one concentration (or class of them): what is true, what is read, and recovery in percent."""

    target: float
    predicted: float
    specimens: int
    recovery: Figure


def recovery(target: np.ndarray, predicted: np.ndarray, confidence: float = 0.95) -> list[Level]:
    """Mean read in percent of the true one, for each level of specimens (N,), with Student's interval.

    Source: Magnusson and Ornemark 2014, Eurachem guide "The Fitness for Purpose of Analytical Methods", on trueness.

    >>> [level] = recovery(np.array([50.0, 50.0]), np.array([51.0, 53.0]))
    >>> level.recovery.value
    104.0
    """
    target, predicted = np.asarray(target, np.float64), np.asarray(predicted, np.float64)
    level = levels_of(target)
    return [_level(target[level == k], (predicted - target)[level == k], confidence) for k in range(level.max() + 1)]


def _level(target: np.ndarray, error: np.ndarray, confidence: float) -> Level:
    true, count, bias = float(target.mean()), len(target), float(error.mean())
    if true <= 0:
        figure = Figure(None, reason="the true concentration is not above zero")
    else:
        figure = Figure(100 * (1 + bias / true), reason="" if count > 1 else "one specimen has no interval")
        if count > 1:
            half = 100 / true * float(stats.t.ppf((1 + confidence) / 2, count - 1) * stats.sem(error))
            figure = Figure(figure.value, (100 * (1 + bias / true) - half, 100 * (1 + bias / true) + half))
    return Level(true, true + bias, count, figure)


@dataclass(frozen=True)
class Linearity:
    """Is what is read a straight line of what is true?

    Attributes:
        linear: Neither the square nor the cube is significant at 5 %; None where there are too few levels.
        p_square: Of the square in a parabola.
        p_cube: Of the cube in a cubic; None with fewer than five specimens or four levels.
        largest: Largest distance of the best polynomial (the straight line itself where `linear`) from the straight
            line, over the levels, in units of concentration.
        largest_percent: The same in percent of the true concentration, over levels above zero.
        deviations: By level: true concentration, and mean read minus the straight line there.
    """

    linear: bool | None
    p_square: float | None = None
    p_cube: float | None = None
    largest: float | None = None
    largest_percent: float | None = None
    deviations: tuple[tuple[float, float], ...] = ()
    reason: str = ""


def linearity(target: np.ndarray, predicted: np.ndarray) -> Linearity:
    """Straight line, parabola and cubic through specimens (N,), and how far the best of them leaves the line.

    A parabola or cubic counts where its highest coefficient differs from zero at 5 % (two-sided t); of two that count,
    the one with the smaller residual variance. Scatter that is due to round-off only counts as none.

    Source: CLSI EP06-A 2003, "Evaluation of the linearity of quantitative measurement procedures"; Emancipator and
    Kroll 1993, "A quantitative measure of nonlinearity", Clin. Chem. 39:766.

    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    >>> linearity(x, 2 * x).linear, linearity(x, x**2).linear
    (True, False)
    """
    target, predicted = np.asarray(target, np.float64), np.asarray(predicted, np.float64)
    different = len(np.unique(target))
    if different < 3 or len(target) < 4:
        return Linearity(None, reason="a test of curvature needs three concentrations and four specimens")
    x = 2 * (target - target.min()) / np.ptp(target) - 1
    line, _, _ = _polynomial(x, predicted, 1)
    fits = {2: _polynomial(x, predicted, 2)}
    if different >= 4 and len(target) >= 5:
        fits[3] = _polynomial(x, predicted, 3)
    curved = {order: fit for order, fit in fits.items() if fit[1] < 0.05}
    best = min(curved.values(), key=lambda fit: fit[2])[0] if curved else line
    away = np.abs(best - line)
    level = levels_of(target)
    above = target > 0
    return Linearity(
        not curved,
        fits[2][1],
        fits[3][1] if 3 in fits else None,
        float(away.max()),
        float((100 * away[above] / target[above]).max()) if above.any() else None,
        tuple(
            (float(target[level == k].mean()), float((predicted - line)[level == k].mean()))
            for k in range(level.max() + 1)
        ),
    )


def _polynomial(x: np.ndarray, y: np.ndarray, order: int) -> tuple[np.ndarray, float, float]:
    """Fitted y (N,) at x in [-1, 1], p of the highest coefficient, and residual variance."""
    columns = np.linalg.qr(np.polynomial.legendre.legvander(x, order)).Q
    weights = columns.T @ y
    fitted = columns @ weights
    freedom = len(y) - order - 1
    # the last orthonormal column holds what the highest power adds; round-off is no scatter
    round_off = 1e-12 * max(float(np.abs(y).max()), 1e-140)
    variance = max(float(((y - fitted) ** 2).sum()) / freedom, round_off * round_off)
    p = float(2 * stats.t.sf(abs(float(weights[-1])) / np.sqrt(variance), freedom))
    return fitted, p, variance


def limit_of_blank(blanks: np.ndarray, specimens: int = 1) -> Figure:
    """What 95 % of the readings (B,) of blanks do not exceed.

    Mean + c SD where the readings look normal (Shapiro and Wilk, 5 %), with c = 1.645 / (1 - 1 / (4 (B - K))) for K
    blank specimens; else the reading of rank 0.5 + 0.95 B, interpolated.

    Source: CLSI EP17-A2 2012, classical approach.

    >>> limit_of_blank(np.zeros(0)).reason
    'no photographs of blanks (true concentration 0) were read'
    """
    blanks = np.sort(np.asarray(blanks, np.float64))
    count = len(blanks)
    if count == 0:
        return Figure(None, reason="no photographs of blanks (true concentration 0) were read")
    if count < ENOUGH_BLANKS:
        return Figure(None, reason=f"too few readings of blanks: {count}, and at least {ENOUGH_BLANKS} are needed")
    if blanks[0] == blanks[-1]:
        return Figure(None, reason="all blanks were read as the same number: readings seem to be cut off there")
    told = f"readings: {count}, blank specimens: {specimens}" + ("" if count >= 60 else "; EP17-A2 asks for 60")
    normal = count > 5000 or stats.shapiro(blanks).pvalue >= 0.05
    if normal:
        return Figure(
            float(blanks.mean() + _factor(count - specimens) * blanks.std(ddof=1)), method=f"mean and SD; {told}"
        )
    rank = 0.5 + 0.95 * count
    return Figure(float(np.interp(rank, np.arange(1, count + 1), blanks)), method=f"ranks; {told}")


def _factor(freedom: int) -> float:
    """1.645, made larger for a standard deviation of few degrees of freedom."""
    return float(stats.norm.ppf(0.95)) / (1 - 1 / (4 * max(freedom, 1)))


def limit_of_detection(blank: Figure, target: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> Figure:
    """The concentration that is told from a blank 95 times of 100: limit of blank + c x SD at low concentrations.

    SD is the standard deviation within specimens, pooled over those whose true concentration is above zero and at most
    five limits of blank; c as in `limit_of_blank`, of its degrees of freedom.

    Source: CLSI EP17-A2 2012, classical approach.

    Args:
        blank: Of `limit_of_blank`.
        target: True concentration of each photograph (N,).
        predicted: What was read (N,).
        groups: Specimen of each photograph (N,).
    """
    if blank.value is None:
        return Figure(None, reason=f"it needs a limit of blank: {blank.reason}")
    low = (target > 0) & (target <= 5 * blank.value)
    if not low.any():
        return Figure(None, reason="no specimen lies above zero and at or below five limits of blank")
    _, of, counts = np.unique(groups[low], return_inverse=True, return_counts=True)
    freedom = int((counts - 1).sum())
    if freedom == 0:
        return Figure(None, reason="no specimen of low concentration was photographed twice")
    means = np.bincount(of, predicted[low]) / counts
    sd = float(np.sqrt(((predicted[low] - means[of]) ** 2).sum() / freedom))
    return Figure(blank.value + _factor(freedom) * sd, method=f"readings: {int(low.sum())}, specimens: {len(counts)}")


def limit_of_quantitation(detection: Figure, target: np.ndarray, predicted: np.ndarray, goal: float = 20.0) -> Figure:
    """The lowest level, not below the limit of detection, from which on the total error stays within `goal` percent.

    Total error of a level is the root mean square of predicted minus true concentration, which holds bias and scatter,
    in percent of the true concentration.

    Source: CLSI EP17-A2 2012, root mean square model of total error.

    >>> target = np.array([1.0, 1.0, 10.0, 10.0])
    >>> limit_of_quantitation(Figure(None), target, np.array([1.5, 0.6, 10.4, 9.7])).value
    10.0
    """
    above = target > 0
    if not above.any():
        return Figure(None, reason="no true concentration is above zero")
    true, error = target[above], (predicted - target)[above]
    level = levels_of(true)
    counts = np.bincount(level)
    places = np.bincount(level, true) / counts
    percent = 100 * np.sqrt(np.bincount(level, error**2) / counts) / places
    if percent[-1] > goal:
        return Figure(None, reason=f"the total error is above {goal:g} percent even at the highest level")
    first = len(percent) - int(np.argmin((percent <= goal)[::-1])) if (percent > goal).any() else 0
    told = f"total error at most {goal:g} percent from here on"
    if detection.value is None and first == 0:
        place = f"{places[0]:.4g}"
        return Figure(
            None, reason=f"it lies at or below {place}, the lowest level: the total error is small even there"
        )
    value = float(places[first])
    return Figure(value if detection.value is None else max(value, detection.value), method=told)
