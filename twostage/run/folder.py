"""The folder of a run: made, found again, never mixed with another."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from twostage.errors import RunError, StorageError, some
from twostage.files import remove_leftovers, write_atomically, write_json
from twostage.options.compose import to_typed
from twostage.options.flat import differences, options_that_count, to_plain
from twostage.options.run import Config

__all__ = [
    "OUTPUTS",
    "begin_run",
    "count_opening",
    "find_run",
    "hold_run",
    "open_run",
    "run_folder",
    "saved_config",
    "weights_file",
]

log = logging.getLogger("twostage")

OUTPUTS = Path("outputs")

FIXED = re.compile(r"(method|bins|image|pooling|backbone|classifier\.(smoothing|backbone)|regressor\.backbone)[.:]")
"""Options that decide what the networks are, see and mean: a run cannot change them on its way."""


def run_folder(run: str) -> Path:
    """outputs/NAME; a path that already starts with outputs/, or is absolute, is taken as it is."""
    path = Path(run).expanduser()
    return path if path.parts[:1] == OUTPUTS.parts else OUTPUTS / path


def find_run(run: str) -> Path:
    """The folder of an existing run.

    Raises:
        RunError: There is none of that name; the message names those that exist.
    """
    folder = run_folder(run)
    if not (folder / "config.yaml").is_file():
        made = sorted(
            {file.parent.relative_to(OUTPUTS).as_posix() for file in OUTPUTS.glob("**/config.yaml")} - {"latest"}
        )
        have = f"there are {some(made, 8)}" if made else "none was made yet: start with twostage train"
        raise RunError(f"no run '{run}' ({folder}): {have}")
    return folder


def saved_config(folder: Path) -> Config:
    """The options a run was started with.

    Raises:
        RunError: config.yaml cannot be read.
    """
    try:
        config = to_typed(yaml.safe_load((folder / "config.yaml").read_text()))
    except Exception as error:
        raise RunError(f"{folder / 'config.yaml'} cannot be read: {' '.join(str(error).split())}") from error
    assert isinstance(config, Config)
    return config


def open_run(config: Config) -> Path:
    """The folder of a run, new or found again with the same options; nothing is written yet.

    Raises:
        RunError: The run exists with other options, which are named; resume=force allows those that can change.
    """
    folder = run_folder(config.run)
    if folder.name == "latest":
        raise RunError("run=latest is the link to the newest run; give another name")
    if not (folder / "config.yaml").is_file():
        return folder
    changed = differences(*map(options_that_count, (config, saved_config(folder))))
    if changed and (folder / "metrics.json").is_file():
        raise RunError(
            f"run '{config.run}' is finished, with other options ({some(changed)}): choose another run=NAME, "
            f"or delete {folder}"
        )
    fixed = [text for text in changed if FIXED.match(text)]
    if changed and (fixed or config.resume != "force"):
        raise RunError(
            f"run '{config.run}' was made with other options ({some(fixed or changed)}): choose another run=NAME, "
            + (f"or delete {folder}" if fixed else f"delete {folder}, or go on all the same with resume=force")
        )
    if changed:
        log.warning("resume=force: run '%s' goes on with other options (%s)", config.run, some(changed))
    return folder


@contextmanager
def hold_run(folder: Path) -> Iterator[None]:
    """Keep a run to one process at a time, and clear away what a killed one left half written.

    Raises:
        RunError: Another process is at work on it.
        StorageError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another process is at work on run '{folder.name}': wait for it, or choose another run=NAME"
        ) from error
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from error
    try:
        for part in (
            "",
            "classifier",
            "regressor",
            "model",
            "figures",
        ):  # not those of a sweep's runs, at work below it
            remove_leftovers(folder / part)
        yield
    finally:
        lock.release()


def weights_file(folder: Path, stage: str) -> Path:
    """Where a stage's weights are in the folder of a run; they are written last, so with them it is finished."""
    return folder / "model" / f"{stage}.safetensors"


def begin_run(folder: Path, config: Config) -> None:
    """Write the options into the run's folder, once its photographs are known to be good, and let latest lead to it."""
    write_atomically(folder / "config.yaml", yaml.safe_dump(to_plain(config), sort_keys=False).encode())
    _point_latest_to(folder)


def count_opening(folder: Path) -> int:
    """Note in the run's folder that its test set is about to be opened; returns how often it was, this time included.

    Before, not after: an evaluation that is killed may have been looked at.

    Raises:
        RunError: test_openings.json is not what was written.
    """
    path = folder / "test_openings.json"
    try:
        openings = list(json.loads(path.read_text())["openings"]) if path.is_file() else []
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read, so it is not known how often the test set was opened: restore it, or choose "
            f"another run=NAME"
        ) from error
    write_json(path, {"openings": [*openings, datetime.now(timezone.utc).isoformat(timespec="seconds")]})
    return len(openings) + 1


def _point_latest_to(folder: Path) -> None:
    """Let outputs/latest lead to the newest run, where the file system has links."""
    link = OUTPUTS / "latest"
    temporary = OUTPUTS / ".latest.tmp"  # one name for all, so that the next run clears away what a killed one left
    with contextlib.suppress(OSError):
        OUTPUTS.mkdir(exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder, OUTPUTS), target_is_directory=True)
        temporary.replace(link)
