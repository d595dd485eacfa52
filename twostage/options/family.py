"""A family: what can be chosen by name, with the one place where a member is added."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

from twostage.errors import ConfigError, suggest

__all__ = ["Family", "resolve"]

Member = TypeVar("Member")


class Family(dict[str, Member]):
    """Members by name. What computes is written "module:name" and imported when it is used, so help needs no torch."""

    def __init__(self, option: str, members: Mapping[str, Member]) -> None:
        """`option` is what a user writes before the name, such as "pooling"."""
        super().__init__(members)
        self.option = option

    def member(self, name: str) -> Member:
        """The member of that name.

        Raises:
            ConfigError: There is none; the message names the nearest.
        """
        if name not in self:
            raise ConfigError(f"{self.option}={name} is not known: {suggest(name, self)}")
        return self[name]


def resolve(thing: Any) -> Any:
    """What "module:name" names; anything else is itself.

    >>> resolve("math:sqrt")(9.0)
    3.0
    """
    if not isinstance(thing, str):
        return thing
    module, _, name = thing.partition(":")
    return getattr(import_module(module), name)
