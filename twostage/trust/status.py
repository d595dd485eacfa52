"""What is said of a reading beside its number."""

from __future__ import annotations

from enum import Enum

__all__ = ["Status"]


class Status(str, Enum):
    """The statuses, the gravest last: where several hold, the last of them is said."""

    OK = "ok"
    """Nothing speaks against the number."""
    OUT_OF_RANGE = "out_of_range"
    """The number lies outside the bins that the model was trained with."""
    LOW_CONFIDENCE = "low_confidence"
    """What the model says is too uncertain, or contradicts itself."""
    UNLIKE = "unlike"
    """The photograph is unlike those of the training."""
    REFUSED = "refused"
    """There is nothing to read; there is no number."""

    @property
    def gravity(self) -> int:
        """Its place among all."""
        return list(Status).index(self)
