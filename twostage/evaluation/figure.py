"""One figure of a laboratory: its value and interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "Interval"]

Interval = tuple[float, float]
"""Lower and upper end."""


@dataclass(frozen=True)
class Figure:
    """A number with its interval; where it is not defined, `value` is None and `reason` says why.

    `interval` alone is None where a value is known from too little to say how well. `method` says how it was found
    where there is a choice.
    """

    value: float | None
    interval: Interval | None = None
    reason: str = ""
    method: str = ""
