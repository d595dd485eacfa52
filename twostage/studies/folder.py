"""What the studies share: a folder of many runs, and tables read back from these."""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from twostage.errors import ConfigError, NotThereError, RunError, some
from twostage.options.flat import differences, options_that_count
from twostage.options.run import Config
from twostage.options.run_name import OUTPUTS, refuse_others
from twostage.run.folder import RunFolder
from twostage.run.identity import changes_since
from twostage.training.distributed import from_first_process, join_processes

__all__ = ["as_run", "check_runs", "open_study", "read_rows"]

RESULTS = {
    "crossval": "metrics.json",
    "compare": "comparison.json",
    "learning-curve": "learning_curve.json",
    "search": "search.json",
}
"""The file with which a study ends, or a search begins; it holds the study's options."""


def as_run(config: Config, **more: Any) -> Config:
    """The options of one run of a study, which may be changed; `more` replaces some at once."""
    plain = {option.name: copy.deepcopy(getattr(config, option.name)) for option in fields(Config)}
    return Config(**plain | more)


def open_study(config: Config, command: str, *, free: tuple[str, ...] = ()) -> RunFolder:
    """The folder of a study, new or found again, the same for all processes; `config.run` becomes its path.

    Args:
        free: Options that may differ from those of before.

    Raises:
        ConfigError: The study judges by a test set, and the options draw none.
        RunError: The folder holds something else, or the same with other options.
    """
    named = config.split.folds or config.split.column or config.data.split_column
    if command != "crossval" and not config.split.test and not named:
        raise ConfigError(f"{command} judges by a test set, which split.test=0 leaves out: give a share")
    if command != "crossval" and config.split.sealed:
        raise ConfigError(f"{command} judges by a test set, which split.sealed=true keeps closed: leave it out")
    join_processes()
    folder = RunFolder.named(from_first_process(config.run))
    config.run = str(folder)
    refuse_others(folder.path, ours=("config.yaml", *RESULTS.values()), runs=True)
    if "latest" in folder.path.parts[len(OUTPUTS.parts) :][:1]:
        raise RunError("run=latest is the link to the newest run; give another name")
    others = ["config.yaml", *(name for other, name in RESULTS.items() if other != command)]
    if there := [name for name in others if (folder.path / name).is_file()]:
        raise RunError(f"{folder} holds results of another command ({there[0]}): choose another run=NAME")
    path = folder.path / RESULTS[command]
    if path.is_file():
        both = [
            {key: value for key, value in options.items() if key not in free}
            for options in (options_that_count(config), _options(path))
        ]
        if changed := differences(*both):
            raise RunError(
                f"'{folder}' was made with other options ({some(changed)}): choose another run=NAME, or delete {folder}"
            )
    return folder


def check_runs(study: RunFolder, runs: list[Config]) -> None:
    """See that the runs of a study that are there are of today's options and photographs, before any is trained.

    Raises:
        RunError: One is not; the message names what changed.
    """
    for config in runs:
        folder = RunFolder.named(config.run)
        if folder.config.is_file() or folder.has_trained():
            folder.compare(config)
        if not folder.splits.is_file():
            continue
        with contextlib.suppress(NotThereError):  # of which each run tells when it is its turn
            if changed := changes_since(config, folder):
                raise RunError(
                    f"{folder} was made with other photographs or concentrations ({some(changed)}): choose another "
                    f"run=NAME, or delete {study}"
                )


def _options(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text())["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}): delete it, and it is made again") from error


def read_rows(path: Path) -> pd.DataFrame:
    """A table of a run, with names as they were written: a specimen may be called NA.

    Raises:
        RunError: It is not there, or not what was written.
    """
    names = ("image", "group", "split", "status", "reason", "content")
    kinds = dict.fromkeys(names, str)
    try:
        header = pd.read_csv(path, nrows=0, encoding_errors="surrogateescape").columns
        empty = {name: [""] for name in header if name not in names}
        return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty, encoding_errors="surrogateescape")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path} cannot be read ({reason}): delete {path.parent}, and it is made again") from error
