"""Do predicted and measured concentration agree? Bland and Altman's limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from twostage.evaluation.figure import Interval

__all__ = ["Agreement", "Trend", "bland_altman", "percent_agreement", "proportional_bias", "replicate_agreement"]


@dataclass(frozen=True)
class Agreement:
    """Bias and limits of agreement in the unit of the differences; an interval is its two ends.

    Of a single photograph (or specimen) only the bias is defined; the rest is None. `specimens`, `between_sd` and
    `within_sd` are known where the photographs of one specimen are. Without a bias, `reason` says why.
    """

    count: int
    bias: float | None
    sd: float | None
    lower: float | None
    upper: float | None
    bias_interval: Interval | None
    lower_interval: Interval | None
    upper_interval: Interval | None
    specimens: int | None = None
    between_sd: float | None = None
    within_sd: float | None = None
    reason: str = ""


def bland_altman(difference: np.ndarray, confidence: float = 0.95) -> Agreement:
    """Between which limits do 95 % of the differences (N,), predicted minus measured, lie?

    Their mean plus and minus 1.96 standard
    deviations are the limits of agreement if they are normally distributed. With d of standard deviation s over N
    images, the variance of the mean is s^2 / N and that of a limit s^2 (1 / N + 1.96^2 / (2 (N - 1))); the intervals
    take Student's t of N - 1 degrees of freedom. They presume independent images: several of one specimen make them
    too narrow (see `replicate_agreement`).

    Source: Bland and Altman 1999, "Measuring agreement in method comparison studies", Stat. Methods Med. Res. 8:135,
    section 2.

    Args:
        confidence: Share of the differences between the limits, and confidence of the intervals.

    >>> agreement = bland_altman(np.array([0.5, 0.0, 0.5, 0.0]))
    >>> round(agreement.bias, 3), round(agreement.sd, 3), round(agreement.upper, 3)
    (0.25, 0.289, 0.816)
    """
    difference = np.asarray(difference, np.float64)
    count, bias = len(difference), float(difference.mean())
    if count < 2:
        return _bias_only(count, bias, "one photograph has no spread")
    sd = float(difference.std(ddof=1))
    z = float(stats.norm.ppf((1 + confidence) / 2))
    t = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    of_mean = t * sd * float(np.sqrt(1 / count))
    of_limit = t * sd * float(np.sqrt(1 / count + z**2 / (2 * (count - 1))))
    lower, upper = bias - z * sd, bias + z * sd
    return Agreement(
        count,
        bias,
        sd,
        lower,
        upper,
        (bias - of_mean, bias + of_mean),
        (lower - of_limit, lower + of_limit),
        (upper - of_limit, upper + of_limit),
    )


def replicate_agreement(difference: np.ndarray, groups: np.ndarray, confidence: float = 0.95) -> Agreement:
    """Limits of agreement of single photographs, where specimens have been photographed several times.

    The n specimens weigh the same: with d_i the mean difference of specimen i from its m_i photographs, the bias is
    the mean of the d_i. One photograph of a new specimen has the variance V = B + (1 - 1 / h) W, where B is the
    variance of the d_i, W the mean square within specimens (one-way analysis of variance) and h the harmonic mean of
    the m_i; so the counts may be unequal. The interval of V joins the chi-square intervals of B and W, and that of a
    limit joins it with Student's interval of the bias (method of variance estimates recovery). Zou takes the normal
    quantile for the bias, which makes intervals of few specimens too narrow.

    Sources: Bland and Altman 1999, section 5; Zou 2013, "Confidence interval estimation for the Bland-Altman limits
    of agreement with multiple observations per individual", Stat. Methods Med. Res. 22:630.

    Args:
        difference: Predicted minus measured (N,).
        groups: The specimen of each photograph (N,).
        confidence: Share of the differences between the limits, and confidence of the intervals.

    >>> found = replicate_agreement(np.array([1.0, 1.2, 0.0, 0.2]), np.array(["a", "a", "b", "b"]))
    >>> round(found.bias, 3), found.specimens, round(found.within_sd, 3)
    (0.6, 2, 0.141)
    """
    difference = np.asarray(difference, np.float64)
    _, of, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    specimens = len(counts)
    if specimens == len(difference):
        return bland_altman(difference, confidence)
    means = np.bincount(of, difference) / counts
    if specimens < 2:
        return _bias_only(len(difference), float(means.mean()), "one specimen says nothing of others", specimens)
    bias, between = float(means.mean()), float(means.var(ddof=1))
    harmonic = float(1 / np.mean(1 / counts))
    freedom = len(difference) - specimens
    within = float(((difference - means[of]) ** 2).sum() / freedom)
    parts = [(between, specimens - 1), ((1 - 1 / harmonic) * within, freedom)]
    sd = float(np.sqrt(sum(part for part, _ in parts)))
    low, high = _interval_of_sd(parts, confidence)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    of_mean = float(stats.t.ppf((1 + confidence) / 2, specimens - 1) * np.sqrt(between / specimens))
    inner, outer = float(np.hypot(of_mean, z * (sd - low))), float(np.hypot(of_mean, z * (high - sd)))
    lower, upper = bias - z * sd, bias + z * sd
    return Agreement(
        len(difference),
        bias,
        sd,
        lower,
        upper,
        (bias - of_mean, bias + of_mean),
        (lower - outer, lower + inner),
        (upper - inner, upper + outer),
        specimens,
        float(np.sqrt(max(0.0, between - within / harmonic))),
        float(np.sqrt(within)),
    )


def _bias_only(count: int, bias: float | None, reason: str, specimens: int | None = None) -> Agreement:
    return Agreement(count, bias, None, None, None, None, None, None, specimens, reason=reason)


def _interval_of_sd(parts: list[tuple[float, int]], confidence: float) -> Interval:
    """Of the root of a sum of independent mean squares, each given with its degrees of freedom (Zou 2013)."""
    total = sum(part for part, _ in parts)
    below = [part * (1 - freedom / stats.chi2.ppf((1 + confidence) / 2, freedom)) for part, freedom in parts]
    above = [part * (freedom / stats.chi2.ppf((1 - confidence) / 2, freedom) - 1) for part, freedom in parts]
    low = max(0.0, total - float(np.linalg.norm(below)))
    return float(np.sqrt(low)), float(np.sqrt(total + np.linalg.norm(above)))


def percent_agreement(
    predicted: np.ndarray, target: np.ndarray, groups: np.ndarray, confidence: float = 0.95
) -> Agreement:
    """`replicate_agreement` of the differences (N,) in percent of the mean of predicted and measured concentration.

    It has a meaning only where all these means are above zero.

    Source: Bland and Altman 1999, section 3.

    >>> round(percent_agreement(np.array([11.0, 22.0]), np.array([9.0, 18.0]), np.array(["a", "b"])).bias, 6)
    20.0
    """
    predicted, target = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    mean = (predicted + target) / 2
    without = int((mean <= 0).sum())
    if without:
        reason = (
            f"the mean of true and predicted concentration is not above zero for {without} of {len(mean)} photographs"
        )
        return _bias_only(len(mean), None, reason)
    return replicate_agreement(100 * (predicted - target) / mean, groups, confidence)


@dataclass(frozen=True)
class Trend:
    """Does the difference grow with the concentration? Units of difference for one unit of concentration."""

    slope: float | None
    interval: Interval | None
    p: float | None
    reason: str = ""


def proportional_bias(predicted: np.ndarray, target: np.ndarray, confidence: float = 0.95) -> Trend:
    """Slope of the difference on the mean of predicted and measured concentration (N,), and whether it is zero.

    Ordinary least squares with Student's t of N - 2 degrees of freedom; `p` is two-sided. The points are to be
    independent: means of specimens. The mean is taken because the difference always falls with the measured
    concentration, if that has errors of its own.

    Sources: Bland and Altman 1999, section 3; Bland and Altman 1995, "Comparing methods of measurement: why plotting
    difference against standard method is misleading", Lancet 346:1085.

    >>> trend = proportional_bias(np.array([1.1, 2.2, 3.3, 4.4]), np.array([1.0, 2.0, 3.0, 4.0]))
    >>> round(trend.slope, 3)
    0.095
    """
    predicted, target = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    mean, difference = (predicted + target) / 2, predicted - target
    if len(mean) < 3:
        return Trend(None, None, None, "a slope and its interval need three specimens")
    if np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        return Trend(None, None, None, "all specimens have the same concentration")
    if np.ptp(difference) == 0:
        return Trend(0.0, (0.0, 0.0), 1.0)
    fit = stats.linregress(mean, difference)
    half = float(stats.t.ppf((1 + confidence) / 2, len(mean) - 2) * fit.stderr)
    return Trend(float(fit.slope), (float(fit.slope) - half, float(fit.slope) + half), float(fit.pvalue))
