"""Completion: what the shells offer, asked of the shells themselves."""

import shutil
import subprocess

import pytest

from twostage.options.commands import COMMANDS, CompletionConfig
from twostage.options.completion import PLACES, completion, options_and_choices

ASK = """
source ./script
COMP_LINE="$1" COMP_POINT=${#1}
read -ra COMP_WORDS <<< "${1//=/ = }x"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_twostage
printf '%s\\n' "${COMPREPLY[@]}"
"""


def asked(folder, shell, program, *arguments):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "script").write_text(completion(CompletionConfig(shell)))
    done = subprocess.run([shell, *program, *arguments], capture_output=True, text=True, cwd=folder, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def bash(folder, line):
    return asked(folder, "bash", ["--norc", "-c", ASK, "ask"], line)


def test_bash_completes_commands_options_and_choices(tmp_path):
    assert bash(tmp_path, "twostage ") == list(COMMANDS)
    assert bash(tmp_path, "twostage check-") == ["check-model", "check-data"]
    assert bash(tmp_path, "twostage train bins.s") == ["bins.scheme="]
    assert bash(tmp_path, "twostage train run=a bins.scheme=") == ["uniform", "quantile"]
    assert bash(tmp_path, "twostage train backbone=p4") == ["p4", "p4m"]
    assert bash(tmp_path, "twostage train runtime.tracker=[ml") == ["[mlflow]"]
    assert bash(tmp_path, "twostage predict strict=") == ["true", "false"]
    assert bash(tmp_path, "twostage predict bins.") == []
    assert bash(tmp_path, "twostage nonsense x") == []


def test_bash_completes_files_where_an_option_is_a_path(tmp_path):
    (tmp_path / "standards.csv").touch()
    assert bash(tmp_path, "twostage check-model table=stan") == ["standards.csv"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_choice_that_is_offered_is_an_option_of_the_command(command):
    for option, choices in options_and_choices(command).items():
        assert " " not in option
        assert choices == PLACES or not any(set(" '=") & set(one) for one in choices)


def test_zsh_and_fish_offer_the_same(tmp_path):
    line = "source ./script; __twostage_candidates train bins.scheme=; print -l $candidates"
    zsh = lambda: asked(tmp_path, "zsh", ["-f", "-c", f"compdef() {{ }}; {line}"])  # noqa: E731
    assert zsh() == ["bins.scheme=uniform", "bins.scheme=quantile"]


def test_fish_completes_commands_options_and_choices(tmp_path):
    line = 'source ./script; complete -C "twostage train bins.scheme=q"'
    assert asked(tmp_path, "fish", ["--no-config", "-c", line]) == ["bins.scheme=quantile"]


def test_the_command_prints_the_script(run):
    status, out, err = run("completion", "shell=zsh")
    assert status == 0, err
    assert "compdef _twostage twostage" in out
