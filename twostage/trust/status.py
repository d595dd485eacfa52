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

    @property
    def words(self) -> str:
        """What it means, in a few words."""
        return WORDS[self]


WORDS = {
    Status.OK: "nothing speaks against the number",
    Status.OUT_OF_RANGE: "the number lies outside of what the model was trained on",
    Status.LOW_CONFIDENCE: "the model is not sure of the number",
    Status.UNLIKE: "the photograph is unlike those of the training",
    Status.REFUSED: "there is nothing to read",
}
