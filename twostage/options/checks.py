"""What is allowed: of one option, of several together; and the nearest name of one that is not known."""

from __future__ import annotations

from difflib import get_close_matches
from math import isfinite
from typing import Any

from omegaconf import OmegaConf

from twostage.errors import ConfigError, suggest
from twostage.options.angles import check_angles
from twostage.options.backbones import BACKBONES, BackboneConfig
from twostage.options.commands import COMMANDS
from twostage.options.data import SOURCES
from twostage.options.flat import flatten
from twostage.options.run import Config

__all__ = ["check", "check_together", "known_options", "unknown_option"]


def check(key: str, value: Any, metadata: dict[str, Any]) -> None:
    """Raise ConfigError unless a value is among the choices, and in the range, of its option."""
    if value == "" and metadata.get("default") != "":
        raise ConfigError(f"{key}= is empty: give a value, or leave it out")
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"{key}={value} is no finite number")
    choices, low, high = metadata.get("choices") or (), metadata.get("low"), metadata.get("high")
    if choices and low is not None and high is not None:  # a whole number, or one of some words
        if value not in choices and not (type(value) is int and low <= value <= high):
            raise ConfigError(f"{key}={value} is not known: allowed is {low:g}..{high:g}, or {' or '.join(choices)}")
        return
    for one in value if isinstance(value, list) else [value]:
        if choices and one is not None and str(one) not in choices:
            raise ConfigError(f"{key}={one} is not known: {suggest(str(one), choices)}")
    if low is not None and high is not None and value is not None and not low <= value <= high:
        raise ConfigError(f"{key}={value} is out of range: allowed is {low:g}..{high:g}")


def check_together(config: Config) -> None:
    """What no single option can tell."""
    for key, pair in (("bins.range", config.bins.range), ("augment.gamma", config.augment.gamma)):
        if pair is not None and (len(pair) != 2 or not all(map(isfinite, pair)) or pair[0] > pair[1]):
            raise ConfigError(f"{key}={pair} must be two finite numbers, the lower first, such as {key}=[80,350]")
    if config.bins.range and config.bins.range[0] == config.bins.range[1]:
        raise ConfigError(f"bins.range={config.bins.range} is empty: its two ends must differ")
    for key, edges in (("bins.range", config.bins.range), ("bins.edges", config.bins.edges)):
        if config.data.scale == "log" and edges and min(edges) <= 0:
            raise ConfigError(f"{key}={edges} must lie above zero with data.scale=log")
    check_angles(config)
    if config.augment.gamma[0] <= -1:
        raise ConfigError(f"augment.gamma={config.augment.gamma}: the exponent 1 + gamma must stay positive")
    if config.classifier.encoding != "bins" and config.method != "classifier":
        raise ConfigError(
            f"classifier.encoding={config.classifier.encoding} needs method=classifier: stage 2 needs bins that stay"
        )
    if config.train.epochs == 1 and config.method == "two_stage":
        raise ConfigError("train.epochs=1 cannot be shared by two stages: give 2 or more, or 0 for closed forms alone")
    if config.train.epochs == 0 and config.classifier.encoding != "bins":
        raise ConfigError(f"classifier.encoding={config.classifier.encoding} must train: train.epochs=0 does not")
    if config.train.epochs == 0 and not config.train.refit:
        raise ConfigError("train.epochs=0 leaves all to the closed forms, which train.refit=false leaves out")
    if config.train.epochs is not None and config.train.minutes:
        raise ConfigError("train.epochs and train.minutes exclude each other: give one of them")
    for options in (config.backbone, config.classifier.backbone, config.regressor.backbone):
        given = [f"backbone.{name}" for name in options.trained_weights] if isinstance(options, BackboneConfig) else []
        both = [*given, *([f"start={config.start}"] if config.start not in ("auto", "none") else [])]
        if len(both) > 1:
            raise ConfigError(f"{' and '.join(both)} exclude each other: give one of them")
    for stage in ("classifier", "regressor"):
        if isinstance(getattr(config, stage).backbone, str):
            name = getattr(config, stage).backbone
            raise ConfigError(f"{stage}.backbone={name} sets nothing: write +backbone@{stage}.backbone={name}")
    _check_split(config)


def _check_split(config: Config) -> None:
    """Which photographs are for testing, and whether any are."""
    named = config.split.column or config.data.split_column
    if config.train.final in ("all", "folds") and named:
        what = f"train.final={config.train.final} learns from all photographs"
        raise ConfigError(f"{what}, but column '{named}' names a test set")
    if config.train.final in ("all", "folds") and config.split.sealed:
        raise ConfigError(
            f"split.sealed=true keeps a test set closed, and train.final={config.train.final} has none: leave one out"
        )
    if config.split.fold >= (config.split.folds or 1):
        raise ConfigError(
            f"split.fold={config.split.fold} needs more folds than that: split.folds={config.split.folds}"
        )
    column = config.data.split_column
    if config.split.folds and (config.split.column or column) and not config.split.sealed:
        raise ConfigError("split.folds draws the test set, and a column names it: give one of them")
    if column and config.split.column:
        raise ConfigError("data.split_column and split.column exclude each other: give one of them")
    if (config.split.column or config.split.test_values) and not config.data.has_columns:
        raise ConfigError(f"split.column needs a table: data={config.data.kind} has no columns, use data=csv")
    if config.split.test_values and not config.split.column:
        raise ConfigError("split.test_values needs split.column=NAME, the column that holds them")


def unknown_option(key: str, allowed: set[str]) -> ConfigError:
    """Names the nearest options, by the whole path or by its last word alone."""
    group = key.split(".")[0]
    if key in known_options() and group in ("data", "backbone"):
        family = SOURCES if group == "data" else BACKBONES
        owners = [
            f"{group}={name}" for name, one in family.items() if key.split(".")[1] in one.options.__dataclass_fields__
        ]
        return ConfigError(f"'{key}' belongs to {' or '.join(owners)}: give that as well (see --help)")
    if key in known_options():
        return ConfigError(f"'{key}' is an option of another command (twostage COMMAND --help lists each command's)")
    last = key.rsplit(".", 1)[-1]
    by_last = {name.rsplit(".", 1)[-1]: name for name in sorted(allowed)}
    same_part = [name for name in allowed if name.rpartition(".")[0] == key.rpartition(".")[0] and "." in name]
    near = get_close_matches(key, sorted(allowed), n=1, cutoff=0.75) or [
        by_last[name] for name in get_close_matches(last, sorted(by_last), n=2, cutoff=0.7)
    ]
    hint = "did you mean " + " or ".join(near) + "?" if near else suggest(key, same_part or allowed)
    return ConfigError(f"unknown option '{key}': {hint}")


def known_options() -> set[str]:
    """Every option of every command, data source and backbone."""
    parts = [OmegaConf.to_container(OmegaConf.structured(kind)) for kind in {c.options for c in COMMANDS.values()}]
    for group, family in (("data", SOURCES), ("backbone", BACKBONES)):
        parts += [{group: OmegaConf.to_container(OmegaConf.structured(one.options))} for one in family.values()]
    return {key for tree in parts for key in flatten(tree)}
