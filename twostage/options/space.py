"""What a search may choose from: ``bins.count=4..12``, ``image.color=srgb,linear``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from twostage.errors import ConfigError
from twostage.options.texts import quoted, split_values, text_options

__all__ = ["FIXED", "Span", "as_space_word", "read_values", "split_words"]

FIXED = ("run", "resume", "seed", "data", "split", "runtime", "search", "intervals", "trust", "train.final")
"""Options that all trials share: others would not be measured alike, or change nothing that is measured."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
SPAN = re.compile(rf"({NUMBER})\.\.({NUMBER})")
BY_FACTORS = 10


@dataclass(frozen=True)
class Span:
    """All numbers from one to another, as they were written."""

    low: str
    high: str

    @property
    def ends(self) -> tuple[float, float]:
        """Both as numbers."""
        return float(self.low), float(self.high)

    @property
    def by_factors(self) -> bool:
        """Is 1 to 10 as wide as 10 to 100? So it is where the upper end is ten times the lower one or more."""
        low, high = self.ends
        return low > 0 and high >= BY_FACTORS * low

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (" (by factors)" if self.by_factors else "")


def read_values(key: str, text: str) -> Span | tuple[str, ...] | None:
    """What an option may be, as it is written: from..to, or values between commas; None where it is one value.

    Raises:
        ConfigError: A range is empty, or a value is there twice.

    >>> read_values("train.learning_rate", "1e-4..1e-2"), read_values("bins.count", "9")
    (Span(low='1e-4', high='1e-2'), None)
    >>> read_values("augment.gamma", "[0,0],[-0.1,0.1]")
    ('[0,0]', '[-0.1,0.1]')
    """
    if found := SPAN.fullmatch(text.strip()):
        span = Span(found[1], found[2])
        low, high = span.ends
        if low >= high:
            raise ConfigError(f"{key}={text} is an empty range: write the lower end first, such as {key}=4..12")
        return span
    values = tuple(value.strip() for value in split_values(text, lists=True))
    if len(values) == 1:
        return None
    if "" in values or len(set(values)) < len(values):
        raise ConfigError(
            f"{key}={text} must name two or more values, none of them empty or twice: such as {key}=4,6,9"
        )
    return values


def split_words(words: Sequence[str], command: str = "search") -> tuple[dict[str, str], list[str]]:
    """The words of a command line that give an option several values, {option: values}, and the others."""
    several, others, texts = {}, [], text_options(command)
    for word in words:
        key, _, text = word.partition("=")
        name = key.lstrip("+")
        if name.startswith("search.space."):
            raise ConfigError(f"{word}: write {word.removeprefix('search.space.')}, without search.space")
        is_one = name in texts and name.split(".")[0] in FIXED  # a text, whatever it holds
        literal = word.startswith("-") or is_one or name.split(".")[0] == "search"
        if literal or read_values(key, text) is None:
            others.append(word)
        else:
            several[key] = text
    return several, others


def as_space_word(key: str, text: str) -> str:
    """The override with which Hydra takes an entry of search.space."""
    return f"++search.space={{{key}:{quoted(text)}}}"
