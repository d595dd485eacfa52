"""The line between true and read concentrations, where both have errors: Deming, Passing and Bablok."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from twostage.evaluation.figure import Figure, Interval

__all__ = ["MOST_POINTS", "Line", "deming", "passing_bablok"]

MOST_POINTS = 5000
"""Of Passing and Bablok: their 12.5 million slopes take 100 MB, and four times as much for twice the points."""

ITERATIONS, TOLERANCE, ROUND_OFF = 100, 1e-10, 1e-13


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x, with intervals; where there is no such line, both are None and `reason` says why."""

    intercept: float | None
    slope: float | None
    intercept_interval: Interval | None
    slope_interval: Interval | None
    method: str
    reason: str = ""
    covariance: tuple[float, float, float] | None = field(default=None, repr=False)
    """Variance of the intercept, covariance, variance of the slope."""
    quantile: float = field(default=0.0, repr=False)
    """By which a standard error is multiplied to give half an interval."""

    def bias_at(self, levels: Iterable[float]) -> list[Figure]:
        """How much the line lies above the truth at each level x: intercept + (slope - 1) x, with its interval."""
        return [self._bias(float(level)) for level in levels]

    def _bias(self, level: float) -> Figure:
        if self.intercept is None or self.slope is None:
            return Figure(None, reason=self.reason)
        bias = self.intercept + (self.slope - 1) * level
        if self.covariance is None:
            return Figure(bias, method=f"{self.method}; it has no interval of the bias in closed form")
        of_intercept, mixed, of_slope = self.covariance
        half = self.quantile * float(np.sqrt(max(0.0, of_intercept + 2 * level * mixed + level * level * of_slope)))
        return Figure(bias, (bias - half, bias + half), method=self.method)


def _no_line(method: str, reason: str) -> Line:
    return Line(None, None, None, None, method, reason)


def deming(x: np.ndarray, y: np.ndarray, ratio: float = 1.0, weighted: bool = False, confidence: float = 0.95) -> Line:
    """Line through points (N,) of which both coordinates have errors, of equal variance or proportional to the level.

    `ratio` is the variance of the errors of x divided by that of y. With u, q and p the sums of squares of x, of y and
    of products about their means, the slope is (ratio q - u + sqrt((u - ratio q)^2 + 4 ratio p^2)) / (2 ratio p).
    `weighted` gives every point the weight 1 / ((X + ratio Y) / (1 + ratio))^2, where (X, Y) is its place on the line,
    and repeats until nothing moves: for errors in proportion to the concentration, all positive. Intervals are those
    of the jackknife with Student's t of N - 2 degrees of freedom. Points are to be independent: means of specimens.

    Sources: Linnet 1990, "Estimation of the linear relationship between the measurements of two methods with
    proportional errors", Stat. Med. 9:1463; Linnet 1993, "Evaluation of regression procedures for methods comparison
    studies", Clin. Chem. 39:424.

    >>> line = deming(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 3.5, 5.5, 7.5]))
    >>> round(line.intercept, 6), round(line.slope, 6)
    (-0.5, 2.0)
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    method = "weighted Deming" if weighted else "Deming"
    reason = _why_no_line(x, y, weighted)
    if reason:
        return _no_line(method, reason)
    count = len(x)
    found = _fit(x, y, np.ones((1, count)), ratio, weighted)[0]
    start = np.broadcast_to(found, (count, 2)) if weighted else None
    without = np.concatenate([_fit(x, y, kept, ratio, weighted, start) for kept in _leave_one_out(count)])
    if not (np.isfinite(found).all() and np.isfinite(without).all()):
        return _no_line(method, "predicted does not follow true concentration, or one specimen decides the line")
    pseudo = count * found - (count - 1) * without
    covariance = np.cov(pseudo.T) / count
    quantile = float(stats.t.ppf((1 + confidence) / 2, count - 2))
    half = quantile * np.sqrt(np.diag(covariance))
    return Line(
        float(found[0]),
        float(found[1]),
        (float(found[0] - half[0]), float(found[0] + half[0])),
        (float(found[1] - half[1]), float(found[1] + half[1])),
        method,
        "",
        (float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])),
        quantile,
    )


def _why_no_line(x: np.ndarray, y: np.ndarray, weighted: bool = False) -> str:
    if len(x) < 3:
        return "a line and its intervals need three specimens"
    if np.ptp(x) <= 1e-12 * np.abs(x).max():
        return "all specimens have the same true concentration"
    if weighted and min(x.min(), y.min()) <= 0:
        return "errors in proportion to the concentration need true and predicted concentrations above zero"
    return ""


def _leave_one_out(count: int, most: int = 1_000_000) -> Iterator[np.ndarray]:
    """Weights (R, N), zero for the one point that each row leaves out; few rows at a time, for the memory's sake."""
    rows = max(1, most // count)
    for first in range(0, count, rows):
        yield 1.0 - np.eye(min(rows, count - first), count, first)


def _fit(
    x: np.ndarray, y: np.ndarray, kept: np.ndarray, ratio: float, weighted: bool, start: np.ndarray | None = None
) -> np.ndarray:
    """Intercept and slope (R, 2) of points (N,) under R rows of weights (R, N)."""
    if not weighted:
        return _closed_form(x, y, kept, ratio)
    line = _closed_form(x, y, kept, ratio) if start is None else start[: len(kept)]
    floor = ROUND_OFF * np.array([np.abs(y).max(), 1.0])  # an intercept of zero is never the same twice
    for _ in range(ITERATIONS):
        before, line = line, _closed_form(x, y, kept * _weights(x, y, line, ratio), ratio)
        if not np.any(np.abs(line - before) > TOLERANCE * np.abs(line) + floor):
            return line
    return np.full_like(line, np.nan)


def _closed_form(x: np.ndarray, y: np.ndarray, weights: np.ndarray, ratio: float) -> np.ndarray:
    total = weights.sum(1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    u, q, p = (np.einsum("rn,rn,rn->r", weights, a, b) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    gap = ratio * q - u
    root = np.sqrt(gap**2 + 4 * ratio * p**2)
    with np.errstate(invalid="ignore", divide="ignore"):  # two forms of one root: each exact on its side
        slope = np.where(gap < 0, 2 * p / (root - gap), (gap + root) / (2 * ratio * p))
    return np.stack([mean_y - slope * mean_x, slope], 1)


def _weights(x: np.ndarray, y: np.ndarray, line: np.ndarray, ratio: float) -> np.ndarray:
    """Of points (N,) for each of R lines (R, 2): (R, N)."""
    intercept, slope = line[:, :1], line[:, 1:]
    above = (y - intercept - slope * x) / (1 + ratio * slope**2)
    level = (x + ratio * slope * above + ratio * (y - above)) / (1 + ratio)
    with np.errstate(divide="ignore"):
        return 1 / level**2


def passing_bablok(x: np.ndarray, y: np.ndarray, confidence: float = 0.95) -> Line:
    """Line through points (N,) of which both coordinates have errors of any distribution: a median of slopes.

    All slopes between two points are ordered by the angle from -45 to 135 degrees (which treats x and y alike; for
    data that fall, the mirror image); two equal points and a slope of exactly -1 do not count. The slope is their
    median and its interval ends C / 2 ranks (rounded) above and below, C = z sqrt(N (N - 1) (2 N + 5) / 18). The
    intercept is the median of y - slope x, and the ends of its interval are those of the two ends of the slope's.

    Sources: Passing and Bablok 1983, "A new biometrical procedure for testing the equality of measurements from two
    different analytical methods", J. Clin. Chem. Clin. Biochem. 21:709; Bablok et al. 1988, the same 26:783, on data
    that fall.

    >>> line = passing_bablok(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([2.0, 3.0, 4.0, 5.0, 99.0]))
    >>> line.intercept, line.slope
    (1.0, 1.0)
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    method = "Passing-Bablok"
    reason = _why_no_line(x, y)
    if len(x) > MOST_POINTS:
        reason = f"more than {MOST_POINTS} specimens: all slopes between two of them need too much memory"
    if reason:
        return _no_line(method, reason)
    sign = -1.0 if stats.kendalltau(x, y).statistic < 0 else 1.0
    ends = _median_slopes(sign * x, y, confidence)
    if ends is None:
        return _no_line(method, "too few different slopes between two specimens for an interval")
    lower, slope, upper = ends
    a, b, c = (float(np.median(y - sign * each * x)) for each in (upper, slope, lower))
    of_slope = (lower, upper) if sign > 0 else (-upper, -lower)
    return Line(b, sign * slope, (a, c) if a <= c else (c, a), of_slope, method)


def _median_slopes(x: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float, float] | None:
    """Lower end, median and upper end of the ordered slopes; None where one of them is not finite or out of reach."""
    slopes = _all_slopes(x, y)
    number, count = len(slopes), len(x)
    below = int((slopes < -1).sum())
    spread = float(stats.norm.ppf((1 + confidence) / 2) * np.sqrt(count * (count - 1) * (2 * count + 5) / 18))
    away = round(spread / 2)
    middle = np.array([(number + 1) // 2, number // 2 + 1])  # two ranks where the number is even
    ranks = np.concatenate([middle - away, middle, middle + away])
    if number == 0 or ranks[0] < 1:
        return None
    # slopes below -1 come last: they are steeper than vertical
    places = (ranks - 1 + below) % number
    slopes.partition(np.unique(places))
    lower, slope, upper = slopes[places].reshape(3, 2).mean(1)
    found = float(lower), float(slope), float(upper)
    return found if np.isfinite(found).all() else None


def _all_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Between every two points (N,) that differ, without those of exactly -1; vertical ones are infinite."""
    slopes = np.empty(len(x) * (len(x) - 1) // 2)
    end = 0
    for i in range(len(x) - 1):
        dx, dy = _exact(x[i + 1 :], x[i]), _exact(y[i + 1 :], y[i])
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(dx == 0, np.where(dy == 0, np.nan, np.inf), dy / dx)
        slope = slope[~np.isnan(slope) & (slope != -1)]
        slopes[end : end + len(slope)] = slope
        end += len(slope)
    return slopes[:end]


def _exact(a: np.ndarray, b: float) -> np.ndarray:
    """A - b, and zero where only round-off makes the difference."""
    return np.where(np.abs(a - b) < 1e-12 * (np.abs(a) + abs(b)) / 2, 0.0, a - b)
