"""The options that a search may choose: checked before anything trains, and as the options of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twostage.errors import ConfigError
from twostage.options.commands import SearchConfig
from twostage.options.compose import load_config
from twostage.options.flat import flatten, to_plain
from twostage.options.run import Config
from twostage.options.space import FIXED, Span, read_values, split_words
from twostage.run.folder import RunFolder
from twostage.run.start import try_networks
from twostage.studies.folder import as_run

__all__ = ["Params", "Space", "open_space"]

Params = Mapping[str, Any]
"""{option: value} of a trial: numbers of a range, texts of a choice."""

TRAIN_ALONE = ("run", "search", "runtime", "resume")
"""Words that are not part of what was found."""


@dataclass(frozen=True)
class Space:
    """The words of the command that all trials share, and what the others may be.

    `whole` are the ranges of whole numbers; `usual` what the options are without a search, as far as the space has it.
    """

    words: list[str]
    values: dict[str, Span | tuple[str, ...]]
    whole: frozenset[str]
    usual: Params

    @property
    def outside(self) -> list[str]:
        """Options whose usual value the space has not."""
        return [key for key in self.values if key not in self.usual]

    def is_usual(self, params: Params) -> bool:
        """Are these the options as they are without a search?"""
        return dict(params) == dict(self.usual)

    def run(self, params: Params, name: str) -> Config:
        """The options of a run with those values; its test set gives its figures."""
        words = [f"{key}={self.text(key, value)}" for key, value in params.items()]
        return _composed([*self.words, *words], name)

    def text(self, key: str, value: Any) -> str:
        """A value as it is written and used: four digits are enough of a number that was drawn."""
        if isinstance(value, float) and value != self.usual.get(key):
            return f"{value:.4g}"
        return str(value)

    def found(self, params: Params) -> dict[str, str]:
        """The words of the command and those values, as options of `twostage train`."""
        words = [word.partition("=")[::2] for word in self.words]
        shared = {key: text for key, text in words if key.lstrip("+").split(".")[0] not in TRAIN_ALONE}
        return shared | {key: self.text(key, value) for key, value in params.items()}

    def __str__(self) -> str:
        return ", ".join(
            f"{key} {one if isinstance(one, Span) else ' | '.join(one)}" for key, one in self.values.items()
        )


def open_space(config: SearchConfig, words: Sequence[str]) -> Space:
    """What the options of search and the words of its command line let it choose from; each value is tried.

    A word that gives an option one value takes it out of a ready space.

    Raises:
        ConfigError: An option or a value is unknown or out of range, a range is empty, not of numbers, or of what all
            trials must share.
        BackboneError: There is no such network.
    """
    several, plain = split_words(words)
    plain = [word for word in plain if not word.startswith("-")]
    given = {word.partition("=")[0].lstrip("+") for word in plain}
    read = {key: _read(key, text) for key, text in config.search.space.items() if key in several or key not in given}
    if not read:
        raise ConfigError(
            "there is nothing to search: give options several values, as bins.count=4..12, or search=quick"
        )
    base = _composed(plain, config.run)
    whole: set[str] = set()
    usual: dict[str, Any] = {}
    now = flatten(to_plain(base))
    for key, one in read.items():
        _refuse_fixed(key, [key])
        tried = dict(_each(key, one, plain, base))
        if isinstance(one, tuple):
            usual.update((key, text) for text, flat in tried.items() if flat == now)
            continue
        kinds = {type(flat.get(key)) for flat in tried.values()}
        if not kinds <= {int, float}:
            raise ConfigError(f"{key}={one.low}..{one.high}: {key} is no number, so write its values: {key}=A,B")
        low, high = one.ends
        whole |= {key} if kinds == {int} else set()
        usual |= {key: now[key]} if type(now[key]) in (int, float) and low <= now[key] <= high else {}
    return Space(plain, read, frozenset(whole), usual)


def _read(key: str, text: str) -> Span | tuple[str, ...]:
    found = read_values(key, text)
    if found is None:
        raise ConfigError(f"search.space: {key}={text} is one value: write a range, 4..12, or values, a,b")
    return found


def _each(
    key: str, one: Span | tuple[str, ...], words: list[str], base: Config
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value, the ends of a range, with all options of a run that has it."""
    now = flatten(to_plain(base))
    for text in (one.low, one.high) if isinstance(one, Span) else one:
        config = _composed([*words, f"{key}={text}"], base.run)
        flat = flatten(to_plain(config))
        _refuse_fixed(f"{key}={text}", [name for name in flat.keys() | now if flat.get(name) != now.get(name)])
        try_networks(config, RunFolder.named(base.run))
        yield text, flat


def _refuse_fixed(what: str, changed: Sequence[str]) -> None:
    fixed = sorted(name for name in changed if any(f"{name}.".startswith(f"{part}.") for part in FIXED))
    if fixed:
        changes = "" if what == fixed[0] else f" (it changes {fixed[0]})"
        raise ConfigError(
            f"{what} cannot be searched{changes}: all trials must be measured alike; choose other options, or give one "
            f"value"
        )


def _composed(words: Sequence[str], name: str) -> Config:
    config = as_run(load_config(words, "search"), run=name)
    config.train.final = "part"
    return config
