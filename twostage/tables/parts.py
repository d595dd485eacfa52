"""The parts of a split, and what people call them in columns and folders."""

from __future__ import annotations

__all__ = ["PARTS", "PART_CALLED"]

PARTS = ("train", "validation", "calibration", "test")
PART_CALLED = {part: part for part in PARTS} | {
    "val": "validation",
    "valid": "validation",
    "cal": "calibration",
    "training": "train",
}
"""What people call the parts, in lower case."""
