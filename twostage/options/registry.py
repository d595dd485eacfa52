"""The files of conf/, and the schemas beside them, where Hydra finds both."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.data import SOURCES
from twostage.options.run import Config
from twostage.options.run_name import sweep_path

__all__ = ["conf_dir", "names_in_group", "register_schemas", "register_timm"]

FAMILIES: dict[str, Any] = {"data": SOURCES, "backbone": BACKBONES}
"""What the groups of that name choose from."""


def conf_dir() -> Path:
    """The folder of configuration files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def register_schemas() -> None:
    """Put the dataclasses where the files in conf/ find them, and what such a file would say where there is none.

    They lie under schema/, outside the groups that a user chooses from.
    """
    OmegaConf.register_new_resolver("names_of", lambda group: ",".join(_members(group)), replace=True)
    OmegaConf.register_new_resolver("sweep_path", lambda run: str(sweep_path(str(run))), replace=True)
    for name, command in COMMANDS.items():
        _schema("schema", name, command.options)
        begin = "config" if issubclass(command.options, Config) else "bare"
        _choose(None, name, f"schema/{name}@_global_", begin)
    for group, family in FAMILIES.items():
        for name, member in family.items():
            _schema(f"schema/{group}", name, member.options)
            if name != "timm":
                _choose(group, name, f"/schema/{group}/{name}@_here_")


def names_in_group(group: str) -> list[str]:
    """What ``group=NAME`` can name: the files in conf/, and the members of a family that need none."""
    return sorted({file.stem for file in (conf_dir() / group).glob("*.yaml")}.union(_members(group)))


def _members(group: str) -> list[str]:
    """The members of the family that a group chooses from; conf/sweep names them ``${names_of:backbone}``."""
    return [name for name in FAMILIES.get(group, ()) if name != "timm"]


def register_timm(value: str) -> None:
    """Let ``backbone=NAME[,NAME...]`` name any model of timm; timm knows it or not later."""
    for name in value.split(","):
        if name not in BACKBONES and re.fullmatch(r"[A-Za-z][\w.]*", name):
            _choose("backbone", name, "/schema/backbone/timm@_here_", name=name)


@cache  # taking one in is slow, and a process may load options many times
def _schema(group: str, name: str, options: type) -> None:
    ConfigStore.instance().store(group=group, name=name, node=options)


@cache
def _choose(group: str | None, chosen: str, *schemas: str, **options: str) -> None:
    """Let ``group=name``, or the command of that name, choose schemas, unless a file in conf/ says more."""
    if not (conf_dir() / (group or "") / f"{chosen}.yaml").is_file():
        ConfigStore.instance().store(group=group, name=chosen, node={"defaults": [*schemas, "_self_"], **options})
