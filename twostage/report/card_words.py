"""What options mean in the sentences of a model card."""

from __future__ import annotations

__all__ = ["BEYOND", "COLORS", "FIT"]

FIT = {
    "stretch": "Photographs that are not square are stretched to one.",
    "pad": "Photographs that are not square get a border.",
    "crop": "Of photographs that are not square the middle is read.",
}
"""By `image.fit`."""
BEYOND = {
    "none": "Beyond it the status is `out_of_range`.",
    "clip": "What is read beyond it becomes its nearer end; well beyond it the status is `out_of_range`.",
    "logistic": "Every number lies in it, and of a photograph that shows more or less nothing tells so.",
}
"""By `combine.limit`."""
COLORS = {
    "srgb": "sRGB",
    "linear": "linear light",
    "optical_density": "optical density",
    "grayscale": "grey levels",
}
"""By `image.color`."""
