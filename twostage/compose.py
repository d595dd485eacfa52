"""From Hydra overrides to one typed, checked Config; every mistake becomes one line with the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from twostage.backbone_config import BACKBONES
from twostage.command_config import COMMANDS
from twostage.config import DATA, Config
from twostage.errors import ConfigError, suggest

__all__ = [
    "changed_options",
    "conf_dir",
    "config_name",
    "differences",
    "explain",
    "flatten",
    "load_config",
    "option_table",
    "options_that_count",
    "prepare",
    "register_schemas",
    "to_plain",
    "to_typed",
]

FREE_TEXT = ("run", "input", "output", "data.table", "data.root", "data.unit", "runtime.cache_dir")


def conf_dir() -> Path:
    """The folder of configuration files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def register_schemas() -> None:
    """Put the dataclasses where the files in conf/ find them, outside the groups that a user chooses from."""
    store = ConfigStore.instance()
    for name, kind in {"config": Config, **COMMANDS}.items():
        store.store(group="schema", name=name, node=kind)
    for group, kinds in (("data", DATA), ("backbone", BACKBONES)):
        for name, kind in kinds.items():
            store.store(group=f"schema/{group}", name=name, node=kind)


def prepare(overrides: Sequence[str]) -> list[str]:
    """Make a user's overrides ready for Hydra: paths and units quoted, any timm name usable as ``backbone=NAME``.

    Raises ConfigError for what is no override, or would delete an option.
    """
    ready = []
    for text in overrides:
        if text.startswith("-"):
            ready.append(text)
            continue
        if not re.match(r"\+{0,2}[\w.@/]+=", text):
            raise ConfigError(f"'{text}' is not an option: write NAME=VALUE (twostage COMMAND --help lists the names)")
        key, value = text.split("=", 1)
        if key in FREE_TEXT and not re.fullmatch(r"[\w./:-]*|'.*'|\".*\"", value, re.ASCII):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if re.fullmatch(r"\+?backbone(@[\w.]+)?", key):
            _register_timm(value)
        ready.append(f"{key}={value}")
    return ready


def _register_timm(value: str) -> None:
    """Let ``backbone=NAME[,NAME...]`` name models that have no file in conf/backbone; timm knows them or not later."""
    files = {path.stem for path in (conf_dir() / "backbone").glob("*.yaml")}
    for name in value.split(","):
        if name not in files and re.fullmatch(r"[A-Za-z][\w.]*", name):
            node = {"defaults": ["/schema/backbone/timm@_here_", "_self_"], "name": name}
            ConfigStore.instance().store(group="backbone", name=name, node=node)


def load_config(overrides: Sequence[str] = (), command: str = "train") -> Any:
    """The options of a command after `overrides`, as the command line would give them.

    Args:
        overrides: Hydra overrides such as "bins.count=6" or "backbone=resnet10t".
        command: "train" (its stages, "evaluate", "crossval"), "learning-curve", "predict" or "backbones".

    Returns:
        A `Config`, `LearningCurveConfig`, `PredictConfig` or `BackbonesConfig`.

    Raises:
        ConfigError: An option is unknown, has the wrong type or lies outside its range.

    >>> load_config(["bins.count=6"]).bins.count
    6
    """
    register_schemas()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            composed = compose(config_name(command), prepare(overrides))
        return to_typed(composed, COMMANDS[command])
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


def config_name(command: str) -> str:
    """The file in conf/ with which a command's options begin."""
    return "config" if COMMANDS[command] is Config else command


def to_typed(composed: Any, kind: type = Config) -> Any:
    """Turn a composed DictConfig, or the plain dict of a saved config.yaml, into a checked config of that kind."""
    plain = composed if isinstance(composed, dict) else OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    schema = OmegaConf.structured(kind)
    for path, kinds in (
        (("data",), DATA), (("backbone",), BACKBONES),
        (("classifier", "backbone"), BACKBONES), (("regressor", "backbone"), BACKBONES),
    ):  # fmt: skip
        node: Any = plain
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict):
            chosen = kinds.get(node.get("kind" if path == ("data",) else "name", ""), BACKBONES["timm"])
            OmegaConf.update(schema, ".".join(path), OmegaConf.structured(chosen))
    allowed = set(flatten(OmegaConf.to_container(schema)))
    for key, value in flatten(plain).items():
        if value == MISSING:
            raise ConfigError(f"{key} is not set: give {key}=... (twostage COMMAND --help tells what it is)")
        if key not in allowed and not any(name.startswith(key + ".") for name in allowed):
            raise _unknown(key, allowed)
    for key in ("data", "backbone") if issubclass(kind, Config) else ():
        if not isinstance(plain.get(key), dict):
            raise ConfigError(f"{key} is not chosen: give {key}=NAME")
    config = OmegaConf.to_object(OmegaConf.merge(schema, plain))
    for key, value, metadata in _walk(config):
        _check(key, value, metadata)
    if isinstance(config, Config):
        _check_together(config)
    return config


def _unknown(key: str, allowed: set[str]) -> ConfigError:
    """Names the nearest options, by the whole path or by its last word alone."""
    group = key.split(".")[0]
    if key in _known_options() and group in ("data", "backbone"):
        return ConfigError(f"'{key}' does not belong to what {group}= chooses here: see --help")
    if key in _known_options():
        return ConfigError(f"'{key}' is an option of another command (twostage COMMAND --help lists each command's)")
    last = key.rsplit(".", 1)[-1]
    by_last = {name.rsplit(".", 1)[-1]: name for name in sorted(allowed)}
    same_part = [name for name in allowed if name.rpartition(".")[0] == key.rpartition(".")[0] and "." in name]
    near = get_close_matches(key, sorted(allowed), n=1, cutoff=0.75) or [
        by_last[name] for name in get_close_matches(last, sorted(by_last), n=2, cutoff=0.7)
    ]
    hint = "did you mean " + " or ".join(near) + "?" if near else suggest(key, same_part or allowed)
    return ConfigError(f"unknown option '{key}': {hint}")


def _walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every leaf option: its name, value and metadata."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from _walk(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", value, dict(f.metadata)


def _check(key: str, value: Any, metadata: dict[str, Any]) -> None:
    choices, low, high = metadata.get("choices"), metadata.get("low"), metadata.get("high")
    if choices and str(value) not in choices:
        raise ConfigError(f"{key}={value} is not known: {suggest(str(value), choices)}")
    if low is not None and high is not None and value is not None and not low <= value <= high:
        raise ConfigError(f"{key}={value} is out of range: allowed is {low:g}..{high:g}")


def _check_together(config: Config) -> None:
    """What no single option can tell."""
    for key, pair in (("bins.range", config.bins.range), ("augment.gamma", config.augment.gamma)):
        if pair is not None and (len(pair) != 2 or not all(map(isfinite, pair)) or pair[0] > pair[1]):
            raise ConfigError(f"{key}={pair} must be two finite numbers, the lower first, such as {key}=[80,350]")
    if config.bins.range and config.bins.range[0] == config.bins.range[1]:
        raise ConfigError(f"bins.range={config.bins.range} is empty: its two ends must differ")
    if config.augment.gamma[0] <= -1:
        raise ConfigError(f"augment.gamma={config.augment.gamma}: the exponent 1 + gamma must stay positive")
    if config.train.epochs and config.train.minutes:
        raise ConfigError("train.epochs and train.minutes exclude each other: give one of them")
    for options in (config.backbone, config.classifier.backbone, config.regressor.backbone):
        given = {f"backbone.{name}": getattr(options, name, None) for name in ("pretrained", "weights")}
        given["train.start_from"] = config.train.start_from
        if len(both := [name for name, value in given.items() if value]) > 1:
            raise ConfigError(f"{' and '.join(both)} exclude each other: give one of them")
    for stage in ("classifier", "regressor"):
        if isinstance(getattr(config, stage).backbone, str):
            name = getattr(config, stage).backbone
            raise ConfigError(f"{stage}.backbone={name} sets nothing: write +backbone@{stage}.backbone={name}")
    if config.split.fold >= (config.split.folds or 1):
        raise ConfigError(
            f"split.fold={config.split.fold} needs more folds than that: split.folds={config.split.folds}"
        )
    column = getattr(config.data, "split_column", None)
    if config.split.folds and (config.split.column or column):
        raise ConfigError("split.folds draws the test set, and a column names it: give one of them")
    if column and config.split.column:
        raise ConfigError("data.split_column and split.column exclude each other: give one of them")
    if (config.split.column or config.split.test_values) and config.data.kind != "csv":
        raise ConfigError(f"split.column needs a table: data={config.data.kind} has no columns, use data=csv")
    if config.split.test_values and not config.split.column:
        raise ConfigError("split.test_values needs split.column=NAME, the column that holds them")


def explain(error: Exception) -> ConfigError:
    """One line for an error of Hydra or OmegaConf, with the nearest option or choice."""
    text = str(error) if not isinstance(error.__cause__, OmegaConfBaseException) else f"{error} {error.__cause__}"
    if found := re.search(r"Could not override '(?:[\w/]+@)?([\w.]+)'.*Key .* not in", text, re.S):
        return _unknown(found[1], _known_options())
    if found := re.search(r"Could not (?:find|load) '(\w+)/([^']*)'", text):
        folder = conf_dir() / found[1]
        names = sorted(path.stem for path in folder.glob("*.yaml"))
        return ConfigError(f"{found[1]}={found[2]} is not known: {suggest(found[2], names)}")
    if found := re.search(r"(Value .*?)(?:\n|$)(?:.*full_key: ([\w.\[\]]+))?", text, re.S):
        return ConfigError(f"{found[2] or 'an option'} has the wrong type: {found[1].strip()}")
    if found := re.search(r"Error merging override (\+*([\w.]+)=\S*)", text):
        return ConfigError(f"{found[1]} sets a whole group of options: name one of them, such as {found[2]}.NAME=VALUE")
    text = re.sub(r"See https?://\S+ for details", "put a value with special characters into quotes", text)
    return ConfigError(" ".join(text.split()))


def _known_options() -> set[str]:
    parts = [OmegaConf.to_container(OmegaConf.structured(kind)) for kind in set(COMMANDS.values())]
    parts += [{"data": OmegaConf.to_container(OmegaConf.structured(kind))} for kind in DATA.values()]
    parts += [{"backbone": OmegaConf.to_container(OmegaConf.structured(kind))} for kind in BACKBONES.values()]
    return {key for tree in parts for key in flatten(tree)}


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
    plain = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


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


def option_table(kind: type) -> list[tuple[str, str, str]]:
    """Rows (option, default, meaning with what is allowed) of a command's options, for its help."""
    components: list[tuple[str, type]] = [("", kind)]
    if issubclass(kind, Config):
        components += [(f"data ({name}) ", node) for name, node in DATA.items()]
        components += [(f"backbone ({name}) ", node) for name, node in BACKBONES.items()]
    rows = []
    for prefix, node in components:
        for key, value, metadata in _walk(node()):
            if "meaning" not in metadata:
                continue
            allowed = " | ".join(metadata.get("choices") or [])
            if metadata.get("low") is not None:
                allowed = f"{metadata['low']:g}..{metadata['high']:g}"
            default = "" if value == MISSING else "null" if value is None else str(value)
            rows.append((prefix + key, default, metadata["meaning"] + (f" [{allowed}]" if allowed else "")))
    return rows
