"""The files of conf/, and the schemas beside them, where Hydra finds both."""

from __future__ import annotations

import re
from pathlib import Path

from hydra.core.config_store import ConfigStore

from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.run import DATA, Config

__all__ = ["conf_dir", "config_name", "register_schemas", "register_timm"]


def conf_dir() -> Path:
    """The folder of configuration files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def register_schemas() -> None:
    """Put the dataclasses where the files in conf/ find them, outside the groups that a user chooses from."""
    store = ConfigStore.instance()
    for name, kind in {"config": Config, **COMMANDS}.items():
        store.store(group="schema", name=name, node=kind)
    for group, kinds in (("data", DATA), ("backbone", BACKBONES)):
        for name, kind in kinds.items():
            store.store(group=f"schema/{group}", name=name, node=kind)


def register_timm(value: str) -> None:
    """Let ``backbone=NAME[,NAME...]`` name models that have no file in conf/backbone; timm knows them or not later."""
    files = {path.stem for path in (conf_dir() / "backbone").glob("*.yaml")}
    for name in value.split(","):
        if name not in files and re.fullmatch(r"[A-Za-z][\w.]*", name):
            node = {"defaults": ["/schema/backbone/timm@_here_", "_self_"], "name": name}
            ConfigStore.instance().store(group="backbone", name=name, node=node)


def config_name(command: str) -> str:
    """The file in conf/ with which a command's options begin."""
    return "config" if COMMANDS[command] is Config else command
