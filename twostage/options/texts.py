"""Options that are texts, and how one is written so that Hydra and OmegaConf read nothing into it.

Hydra would take ``run=1.10`` for the number 1.1 and ``a, b`` for a list, OmegaConf ``${x}`` for another option. Which
options are texts is what their dataclasses say: ``str``, ``str | None``, ``list[str]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from hydra.core.override_parser.types import Quote, QuotedString

from twostage.errors import ConfigError
from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.data import SOURCES

__all__ = ["Text", "as_data", "escaped", "quoted", "split_values", "text_options"]

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
SWEEPS = re.compile(r"(?:range|glob|shuffle|sort|tag)\(.*\)", re.S)
"""What Hydra computes the values of a sweep from; with ``choice(a,b)`` the values are written out."""


@dataclass(frozen=True)
class Text:
    """An option that is a text, or a list of texts; `optional` where null means none."""

    many: bool = False
    optional: bool = False

    def written(self, key: str, value: str, sweep: bool = False) -> str:
        """A value from the command line as Hydra must be given it: quoted, and with `sweep` split at its commas.

        Raises:
            ConfigError: A list of texts is no list, or has an item without any text.
        """
        if not sweep:
            return self._one(key, value)
        if SWEEPS.fullmatch(value):
            return value
        chosen = re.fullmatch(r"choice\((.*)\)", value, re.S)
        values = split_values(chosen[1] if chosen else value, self.many)
        if len(values) == 1 or not any(map(str.strip, values)):  # one value, or nothing but commas
            return self._one(key, value if chosen is None else values[0].strip())
        if key == "run":
            raise ConfigError(f"run={value}: a sweep has one name, its runs are NAME/0, NAME/1, ...; give run=NAME")
        return ",".join(self._one(key, one.strip()) for one in values)

    def _one(self, key: str, value: str) -> str:
        if value == "null" and self.optional:
            return value
        if not self.many:
            return quoted(value)
        if not (value.startswith("[") and value.endswith("]") and len(value) > 1):
            raise ConfigError(f"{key}={value} must be a list: write {key}=[{value}]")
        inside = value[1:-1]
        items = [item.strip() for item in split_values(inside)] if inside.strip() else []
        if "" in items:
            raise ConfigError(f"{key}={value} has an item without any text: write '' where that is meant")
        return "[" + ",".join(map(quoted, items)) + "]"


def text_options(command: str) -> dict[str, Text]:
    """The options of a command that are texts, those of every data source and backbone among them."""
    found = dict(_texts(COMMANDS.member(command).options, ""))
    for source in SOURCES.values():
        found.update(_texts(source.options, "data."))
    for backbone in BACKBONES.values():
        for stage in ("", "classifier.", "regressor."):
            found.update(_texts(backbone.options, f"{stage}backbone."))
    return found


def _texts(kind: type, prefix: str) -> Iterator[tuple[str, Text]]:
    for name, annotated in get_type_hints(kind).items():
        alternatives = get_args(annotated) if NoneType in get_args(annotated) else (annotated,)
        if is_dataclass(annotated) and isinstance(annotated, type):
            yield from _texts(annotated, f"{prefix}{name}.")
        elif str in alternatives or list[str] in alternatives:
            yield prefix + name, Text(list[str] in alternatives, NoneType in alternatives)


def split_values(values: str, lists: bool = False) -> list[str]:
    """Values between commas; a comma in quotes, or between the brackets of one of several lists, is part of a value."""
    listed = r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]|" if lists else ""
    found = re.findall(rf"(\s*(?:{listed}{QUOTED})\s*(?=,|$)|[^,]*)(,|$)", values, re.S)
    last = next(i for i, (_, end) in enumerate(found) if end == "")  # after the end an empty match follows
    return [value for value, _ in found[: last + 1]]


def quoted(value: str) -> str:
    """A text in Hydra's quotes; those that a user put around it are taken off first."""
    if re.fullmatch(QUOTED, value, re.S):
        quote, value = value[0], value[1:-1]
        value = re.sub(rf"(\\+)({quote}|$)", lambda found: found[1][: len(found[1]) // 2] + found[2], value)
    return str(QuotedString(escaped(value), Quote.single).with_quotes())


def escaped(text: str) -> str:
    """A text in which OmegaConf finds no interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)  # \\ before ${ is read as one backslash


def as_data(tree: Any) -> Any:
    """Nested dicts and lists with every text escaped: they are read as they were written."""
    if isinstance(tree, dict):
        return {key: as_data(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [as_data(value) for value in tree]
    return escaped(tree) if isinstance(tree, str) else tree
