"""Completion in a shell: commands, options and their choices, as a script that the shell keeps."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS, CompletionConfig
from twostage.options.data import SOURCES
from twostage.options.flat import walk
from twostage.options.help import groups
from twostage.options.run import Config

__all__ = ["completion", "options_and_choices"]

PLACES = ("FILES",)
"""Stands for the choices of an option that names a file or a folder."""

CORE = """# twostage {version}: what a word of the command line can be, for bash and zsh
__twostage_candidates() {{  # the command, the word so far
    local name=${{2%%=*}}
    candidates=()
    files=
    if [[ -z $1 ]]; then
        candidates=({commands})
    elif [[ $2 == *=* ]]; then
        case "$1 $name" in
{choices}
        esac
    else
        case $1 in
{options}
        esac
    fi
}}
"""

BASH = """
_twostage() {
    local candidates files one cur=${COMP_LINE:0:COMP_POINT} command=
    cur=${cur##*[[:space:]]}
    ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}
    __twostage_candidates "$command" "$cur"
    COMPREPLY=()
    local before=  # what bash takes for words of their own, and so leaves as it is
    [[ $COMP_WORDBREAKS == *=* ]] && before=${cur%"${cur##*=}"}
    if [[ -n $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r one; do
            one=${cur%%=*}=$one
            COMPREPLY+=("${one#"$before"}")
        done < <(compgen -f -- "${cur#*=}")
        return
    fi
    for one in "${candidates[@]}"; do
        [[ $one == "$cur"* ]] && COMPREPLY+=("${one#"$before"}")
    done
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _twostage twostage
"""

ZSH = """
_twostage() {
    local -a candidates
    local files command=
    ((CURRENT > 2)) && command=$words[2]
    __twostage_candidates "$command" "$PREFIX"
    if [[ -n $files ]]; then
        compset -P '*='
        _files
    elif [[ -n $command && $PREFIX != *=* ]]; then
        compadd -S '' -- $candidates
    else
        compadd -- $candidates
    fi
}
compdef _twostage twostage
"""


def completion(config: CompletionConfig) -> str:
    """The script for a shell; it is made of the table of commands, so it is of this version."""
    if config.shell == "fish":
        return _fish()
    return _core() + {"bash": BASH, "zsh": ZSH}[config.shell]


def options_and_choices(command: str) -> dict[str, tuple[str, ...]]:
    """What can stand before = in the words of a command, and behind it where that is known; `PLACES` for files."""
    kind = COMMANDS[command].options
    nodes = [("", kind)]
    if issubclass(kind, Config):
        nodes += [("data.", source.options) for source in SOURCES.values()]
        nodes += [("backbone.", backbone.options) for backbone in BACKBONES.values()]
    found: dict[str, tuple[str, ...]] = {}
    for prefix, node in nodes:
        for key, value, metadata in walk(node()):
            if "meaning" in metadata:
                found[prefix + key] = _choices(value, metadata)
    if issubclass(kind, Config):
        found |= {group: tuple(names) for group, names in groups(command).items()}
    return dict(sorted(found.items()))


def _choices(value: object, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    names = tuple(metadata.get("choices", ()))
    if metadata.get("place"):
        return PLACES
    if isinstance(value, bool):
        return ("true", "false")
    return tuple(f"[{name}]" for name in names) if isinstance(value, list) else names


def _core() -> str:
    from twostage import __version__

    known = {name: options_and_choices(name) for name in COMMANDS}
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for command, options in known.items():
        for option, choices in options.items():
            if choices:
                alike.setdefault((option, choices), []).append(command)
    cases = []
    for (option, choices), commands in alike.items():
        pattern = "|".join(shlex.quote(f"{command} {option}") for command in commands)
        words = "files=1" if choices == PLACES else f"candidates=({_quoted(f'{option}={one}' for one in choices)})"
        cases.append(f"            {pattern}) {words} ;;")
    names = [f"            {name}) candidates=({_quoted(f'{one}=' for one in known[name])}) ;;" for name in COMMANDS]
    return CORE.format(
        version=__version__, commands=_quoted(COMMANDS), choices="\n".join(cases), options="\n".join(names)
    )


def _quoted(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _fish() -> str:
    lines = ["complete -c twostage -f"]
    for name, command in COMMANDS.items():
        lines.append(f"complete -c twostage -n __fish_use_subcommand -a {name} -d {_fish_text(command.meaning)}")
        seen = f"__fish_seen_subcommand_from {name}"
        options = options_and_choices(name)
        words = [f"{option}=" for option in options]
        words += [f"{option}={one}" for option, choices in options.items() if choices != PLACES for one in choices]
        lines.append(f"complete -c twostage -n {_fish_text(seen)} -a {_fish_text(' '.join(words))}")
        if places := "|".join(option for option, choices in options.items() if choices == PLACES):
            begun = f"{seen}; and string match -qr '^({places})=' -- (commandline -ct)"
            lines.append(f"complete -c twostage -n {_fish_text(begun)} -F")
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
