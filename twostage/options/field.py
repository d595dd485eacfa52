"""How an option is written down: a dataclass field with its meaning and what is allowed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import Any

__all__ = ["option", "part"]


def option(
    default: Any,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    choices: str | Collection[str] = (),
    place: bool = False,
) -> Any:
    """A field with its meaning, and either a closed range or the words that it may be: a text, or a family's names.

    With `place` it says where something lies on this machine, which is nobody else's business.
    """
    allowed = choices.split() if isinstance(choices, str) else choices  # not copied: a family may grow
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": allowed, "place": place}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def part(kind: type) -> Any:
    """A nested component with its own defaults."""
    return field(default_factory=kind)
