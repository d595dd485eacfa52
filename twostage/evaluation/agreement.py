"""Do predicted and measured concentration agree? Bland and Altman's limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Agreement", "bland_altman"]


@dataclass(frozen=True)
class Agreement:
    """Bias and limits of agreement in the unit of the concentration; an interval is its two ends.

    Of a single photograph only the bias is defined; the rest is None.
    """

    count: int
    bias: float
    sd: float | None
    lower: float | None
    upper: float | None
    bias_interval: tuple[float, float] | None
    lower_interval: tuple[float, float] | None
    upper_interval: tuple[float, float] | None


def bland_altman(difference: np.ndarray, confidence: float = 0.95) -> Agreement:
    """Between which limits do 95 % of the differences (N,), predicted minus measured, lie?

    Their mean plus and minus 1.96 standard
    deviations are the limits of agreement if they are normally distributed. With d of standard deviation s over N
    images, the variance of the mean is s^2 / N and that of a limit s^2 (1 / N + 1.96^2 / (2 (N - 1))); the intervals
    take Student's t of N - 1 degrees of freedom. They presume independent images: several of one specimen make them
    too narrow.

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
        return Agreement(count, bias, None, None, None, None, None, None)
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
