"""From Hydra overrides to one typed, checked Config; every mistake becomes one line with the nearest name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from twostage.errors import ConfigError, suggest
from twostage.files import given_path
from twostage.options.backbones import backbone_named
from twostage.options.checks import check, check_together, known_options, unknown_option
from twostage.options.commands import COMMANDS
from twostage.options.data import SOURCES
from twostage.options.flat import flatten, walk
from twostage.options.registry import conf_dir, names_in_group, register_schemas, register_timm
from twostage.options.run import Config
from twostage.options.space import as_space_word, split_words
from twostage.options.texts import as_data, text_options

__all__ = ["as_overrides", "check_restarts", "explain", "load_config", "prepare", "to_typed", "with_files"]


def as_overrides(options: Mapping[str, Any]) -> list[str]:
    """Options as the words of a command line.

    >>> as_overrides({"bins.edges": [80, 200.5], "train.refit": False, "data.unit": None})
    ['bins.edges=[80,200.5]', 'train.refit=false', 'data.unit=null']
    """
    return [f"{key}={_written(value)}" for key, value in options.items()]


def _written(value: Any) -> str:
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def with_files(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the options of a YAML file in the place of each ``@FILE``.

    Raises:
        ConfigError: The file is not there, or holds no options.
    """
    found: list[str] = []
    for word in words:
        found += as_overrides(_options_in(word[1:])) if word.startswith("@") else [word]
    return found


def _options_in(name: str) -> dict[str, Any]:
    try:
        options = yaml.safe_load(given_path(name, "@").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise ConfigError(f"@{name} cannot be read ({reason}): give a YAML file of options as @FILE") from error
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise ConfigError(f"@{name} holds no options: each line is NAME: VALUE, such as bins.count: 6")
    return flatten(options)


def prepare(overrides: Sequence[str], command: str = "train") -> list[str]:
    """Make a user's overrides ready for Hydra: texts quoted, any timm name usable as ``backbone=NAME``.

    Those of search that give an option several values become entries of search.space.

    Raises:
        ConfigError: Something is no override, or would delete an option.
    """
    ready, texts = [], text_options(command)
    sweep = any(text == "-m" or (len(text) > 3 and "--multirun".startswith(text)) for text in overrides)
    overrides = with_files(overrides)
    if command == "search":
        if sweep:
            raise ConfigError("search tries several values by itself: leave -m out")
        several, overrides = split_words(overrides)
        for key, text in several.items():
            ready.append(as_space_word(key, text))
            if key == "backbone" or "backbone@" in key:
                register_timm(text)
    for text in overrides:
        if text.startswith("-"):
            ready.append(text)
            continue
        if not re.match(r"\+{0,2}[\w.@/]+=", text):
            raise ConfigError(f"'{text}' is not an option: write NAME=VALUE (twostage COMMAND --help lists the names)")
        key, value = text.split("=", 1)
        if (name := key.lstrip("+")) in texts:
            value = texts[name].written(name, value, sweep)
        if re.fullmatch(r"\+?backbone(@[\w.]+)?", key):
            register_timm(value)
        ready.append(f"{key}={value}")
    return ready


def check_restarts(overrides: Sequence[str]) -> None:
    """Can torchrun, where it shall, give this command again when a process dies?

    Raises:
        ConfigError: The command would not find its run, or its processes would not find each other.
    """
    if not int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        return
    if not any(text.startswith("run=") for text in overrides):
        raise ConfigError("torchrun --max-restarts gives the command again, which finds its run by name: give run=NAME")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # which keeps the addresses of dead processes
        raise ConfigError(
            "torchrun --max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment, and --standalone "
            "or --rdzv-backend c10d: else new processes may look for dead ones"
        )


def load_config(overrides: Sequence[str] = (), command: str = "train") -> Any:
    """The options of a command after `overrides`, as the command line would give them.

    Args:
        overrides: Hydra overrides such as "bins.count=6" or "backbone=resnet10t".
        command: Whose options: "train", "predict", or another of the command line's.

    Returns:
        A `Config`, or the other class of options that the command takes.

    Raises:
        ConfigError: An option is unknown, has the wrong type or lies outside its range.

    Examples:
        >>> load_config(["bins.count=6"]).bins.count
        6
    """
    register_schemas()
    try:
        with _our_conf():
            composed = compose(command, prepare(overrides, command))
        return to_typed(composed, COMMANDS[command].options)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


@contextmanager
def _our_conf() -> Iterator[None]:
    """Let Hydra compose from our files, also within a command, or a program of its user, that is at work itself."""
    outer = GlobalHydra.instance()
    hydra, outer.hydra = outer.hydra, None
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        outer.hydra = hydra


def to_typed(composed: Any, kind: type = Config) -> Any:
    """Turn a composed DictConfig, or the plain dict of a saved config.yaml, into a checked config of that kind."""
    plain = as_data(composed if isinstance(composed, dict) else OmegaConf.to_container(composed, resolve=True))
    assert isinstance(plain, dict)
    if isinstance(composed, dict):
        _rename_start(plain)
    schema = _schema(kind, *_chosen_parts(plain))
    known = flatten(OmegaConf.to_container(schema))
    allowed, free = set(known), tuple(f"{key}." for key, value in known.items() if value == {})
    for key, value in flatten(plain).items():
        if value == MISSING:
            raise ConfigError(f"{key} is not set: give {key}=... (twostage COMMAND --help tells what it is)")
        if key not in allowed and not key.startswith(free) and not any(name.startswith(key + ".") for name in allowed):
            raise unknown_option(key, allowed)
    for key in ("data", "backbone") if issubclass(kind, Config) else ():
        if not isinstance(plain.get(key), dict):
            raise ConfigError(f"{key} is not chosen: give {key}=NAME")
    config = OmegaConf.to_object(OmegaConf.merge(schema, plain))
    for key, value, metadata in walk(config):
        check(key, value, metadata)
    if isinstance(config, Config):
        check_together(config)
    return config


def _chosen_parts(plain: dict[str, Any]) -> Iterator[tuple[str, type]]:
    """The parts of a config whose options depend on what is chosen there, and the class of these options."""
    for path in ("data", "backbone", "classifier.backbone", "regressor.backbone"):
        node: Any = plain
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict):
            yield path, _chosen(path, node)


@lru_cache(64)
def _schema(kind: type, *parts: tuple[str, type]) -> DictConfig:
    """All options of that kind, with their types; to be merged, not to be changed."""
    schema: DictConfig = OmegaConf.structured(kind)
    for path, options in parts:
        OmegaConf.update(schema, path, OmegaConf.structured(options))
    return schema


def _rename_start(saved: dict[str, Any]) -> None:
    """What a run began with was an option of training once, and what ships was not there."""
    train, data = saved.get("train"), saved.get("data")
    if isinstance(train, dict) and isinstance(data, dict) and "start_from" in train:
        usual = "auto" if data.get("kind") == "simulated" else "none"
        saved["start"] = train.pop("start_from") or usual


def _chosen(path: str, node: dict[str, Any]) -> type:
    """The options of the data source or the backbone that a part of the config names."""
    if path == "data":
        return SOURCES.member(str(node.get("kind"))).options
    return backbone_named(str(node.get("name"))).options


def explain(error: Exception) -> ConfigError:
    """One line for an error of Hydra or OmegaConf, with the nearest option or choice."""
    text = str(error) if not isinstance(error.__cause__, OmegaConfBaseException) else f"{error} {error.__cause__}"
    if found := re.search(r"raised while resolving interpolation: (.*?)\s+full_key:", text, re.S):
        return ConfigError(found[1])  # a message of our own, from a resolver
    if found := re.search(r"Interpolation key '([\w.]+)' not found\s+full_key: ([\w.]+)", text):
        return ConfigError(f"{found[2]} is taken from {found[1]}, which these options do not have: give {found[2]}=...")
    if found := re.search(r"Could not override '(?:[\w/]+@)?([\w.]+)'.*Key .* not in", text, re.S):
        return unknown_option(found[1], known_options())
    if found := re.search(r"Could not (?:find|load) 'hydra/launcher/([^']*)'", text):
        return ConfigError(
            f"hydra/launcher={found[1]} is not known: joblib, submitit_local and submitit_slurm are, after "
            f"pip install 'twostage[sweep]'"
        )
    if found := re.search(r"Could not (?:find|load) '(\w+)/([^']*)'", text):
        return ConfigError(f"{found[1]}={found[2]} is not known: {suggest(found[2], names_in_group(found[1]))}")
    if found := re.search(r"(Value .*?)(?:\n|$)(?:.*full_key: ([\w.\[\]]+))?", text, re.S):
        return ConfigError(f"{found[2] or 'an option'} has the wrong type: {found[1].strip()}")
    if found := re.search(r"Error merging override (\+*([\w.]+)=\S*)", text):
        return ConfigError(f"{found[1]} sets a whole group of options: name one of them, such as {found[2]}.NAME=VALUE")
    text = re.sub(r"See https?://\S+ for details", "put a value with special characters into quotes", text)
    return ConfigError(" ".join(text.split()))
