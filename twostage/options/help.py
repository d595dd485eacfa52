"""What ``--help`` prints, and what the pages of the reference are made of."""

from __future__ import annotations

from omegaconf import MISSING

from twostage import __version__
from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.data import SOURCES
from twostage.options.flat import walk
from twostage.options.registry import conf_dir, names_in_group
from twostage.options.run import Config

__all__ = ["command_help", "groups", "option_table", "usage"]


def usage() -> str:
    """The commands, one line each."""
    return f"""twostage {__version__}: photo in, concentration out

usage: twostage COMMAND [option=value ...]
       twostage COMMAND --help        the options of a command
       twostage train -m bins.count=6,9 ...   one run for each value or combination

commands:
""" + "\n".join(f"  {name:<18}{command.meaning}" for name, command in COMMANDS.items())


def command_help(name: str) -> str:
    """The options of a command, one line each, and the groups of options that are set at once."""
    command = COMMANDS[name]
    rows = option_table(command.options)
    width = max((len(option) for option, _, _ in rows), default=0)
    lines = [f"twostage {name} [option=value ...]: {command.meaning}", ""]
    lines += [f"  {option:<{width}}  {default:<16} {meaning}" for option, default, meaning in rows]
    if issubclass(command.options, Config):
        lines += ["", "Choices that set many options at once:"]
        for group, names in groups(name).items():
            more = ", any timm name" if group == "backbone" else ""
            lines.append(f"  {group}=  {' | '.join(names)}{more}")
    return "\n".join(lines)


def groups(command: str) -> dict[str, list[str]]:
    """The groups of conf/ with what each can be; one that is called as a command is of that command alone."""
    names = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir() and folder.name[0] not in "_.")
    return {name: names_in_group(name) for name in names if name not in COMMANDS or name == command}


def option_table(kind: type) -> list[tuple[str, str, str]]:
    """Rows (option, default, meaning with what is allowed) of a command's options, for its help."""
    components: list[tuple[str, type]] = [("", kind)]
    if issubclass(kind, Config):
        components += [(f"data ({name}) ", source.options) for name, source in SOURCES.items()]
        components += [(f"backbone ({name}) ", backbone.options) for name, backbone in BACKBONES.items()]
    rows = []
    for prefix, node in components:
        for key, value, metadata in walk(node()):
            if "meaning" not in metadata:
                continue
            words = list(metadata.get("choices") or [])
            if metadata.get("low") is not None:
                words = [f"{metadata['low']:g}..{metadata['high']:g}", *words]
            allowed = " | ".join(words)
            default = "" if value == MISSING else "null" if value is None else str(value)
            rows.append((prefix + key, default, metadata["meaning"] + (f" [{allowed}]" if allowed else "")))
    return rows
