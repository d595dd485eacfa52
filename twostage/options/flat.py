"""Options as {"a.b.c": value}, and in which of them two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import reduce
from operator import getitem
from pathlib import PurePath
from typing import Any

from omegaconf import MISSING

from twostage.options.run import Config

__all__ = ["changed_options", "differences", "flatten", "options_that_count", "to_plain", "walk", "without_places"]


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every leaf option: its name, value and metadata."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", value, {"default": f.default, **f.metadata}


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dict -> {"a.b.c": value}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_plain(config: Any) -> dict[str, Any]:
    """A typed config as a nested dict of plain values, ready for YAML or JSON."""
    return asdict(config)  # not by OmegaConf, which would read a text with ${ as more than a text


def without_places(config: Any) -> dict[str, Any]:
    """As `to_plain`, but of every path on this machine the last part alone, behind dots: for what is handed out."""
    plain = to_plain(config)
    for key, value, metadata in walk(config):
        told = metadata.get("place") and isinstance(value, str) and value != metadata["default"]
        if told and len(PurePath(value).parts) > 1:
            *above, last = key.split(".")
            reduce(getitem, above, plain)[last] = f".../{PurePath(value).name}"
    return plain


def options_that_count(config: Config) -> dict[str, Any]:
    """{"a.b.c": value} of the options that make a run what it is; its name and where and how it executes do not."""
    flat = flatten(to_plain(config))
    return {key: value for key, value in flat.items() if key.split(".")[0] not in ("run", "runtime", "resume")}


def differences(now: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """Options that count, {"a.b.c": value}, on which two runs differ, as "name: saved -> now"."""
    both = [(key, saved.get(key), now.get(key)) for key in sorted(saved.keys() | now.keys())]
    return [f"{key}: {was} -> {is_now}" for key, was, is_now in both if was != is_now]


def changed_options(config: Config) -> dict[str, tuple[Any, Any]]:
    """{"a.b.c": (value, default)} of the options that differ from their defaults; MISSING where there is none."""
    usual = flatten(to_plain(Config(data=type(config.data)(), backbone=type(config.backbone)())))
    now = flatten(to_plain(config))
    both = {key: (value, usual.get(key, MISSING)) for key, value in now.items() if key != "run"}
    return {key: (value, default) for key, (value, default) in both.items() if value != default}
