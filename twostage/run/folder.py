"""The folder of a run: made, found again, never mixed with another."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from twostage.errors import RunError, StorageError, TrainingError, some
from twostage.files import as_bytes, remove_leftovers, write_atomically, write_json
from twostage.options.compose import to_typed
from twostage.options.flat import differences, options_that_count, to_plain
from twostage.options.run import Config
from twostage.options.run_name import OUTPUTS, refuse_others, run_path
from twostage.training.distributed import is_first_process

__all__ = ["CARD", "RunFolder", "StageFolder", "find_run", "openings_below"]

log = logging.getLogger("twostage")

LATEST = OUTPUTS / "latest"
CARD = "MODEL_CARD.md"
STAGES = ("classifier", "regressor")

FIXED = re.compile(
    r"(method|bins|image|pooling|backbone|classifier\.(smoothing|backbone)|regressor\.backbone"
    r"|seed|split|data\.(?!unit:|on_error:|on_target_error:|table:|root:|images:)\w+)[.:]"
)
"""Options that decide what the networks are, see and mean, or which photograph is in which part: a run cannot change
them on its way. A table may lie elsewhere tomorrow: what it holds is compared photograph by photograph."""


class StageFolder:
    """What the training of one stage keeps in the folder of its run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = path / "history.csv"
        self.plan = path / "plan.json"
        self.length = path / "length.json"
        self.refit = path / "refit.json"
        self.solved = path / "solved.safetensors"


class RunFolder:
    """The folder of a run, which knows its files. Of several processes only the first writes here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.splits = path / "splits.csv"
        self.start = path / "start.csv"
        self.learned = path / "learned.csv"
        self.openings = path / "test_openings.json"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.csv"
        self.combinations = path / "combinations.csv"
        self.report = path / "report.html"
        self.card = path / CARD
        self.figures = path / "figures"
        self.model = path / "model"

    @classmethod
    def named(cls, run: str) -> RunFolder:
        """outputs/NAME; a path that already starts with outputs/, or is absolute, is taken as it is.

        Raises:
            ConfigError: That is no name of a run.
        """
        return cls(run_path(run))

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.path.name

    @property
    def run(self) -> str:
        """By what `run=` it is found: the folder makes a run what it is, and not the name in its config.yaml."""
        if self.path.parts[:1] != OUTPUTS.parts:
            return str(self.path.absolute())
        short = self.path.relative_to(OUTPUTS).as_posix()
        return short if RunFolder.named(short).path == self.path else str(self.path)

    def stage(self, name: str) -> StageFolder:
        """Where the training of a stage is."""
        return StageFolder(self.path / name)

    def stages(self) -> list[str]:
        """The stages whose training has begun and been saved."""
        return [name for name in STAGES if self.stage(name).history.is_file()]

    def weights(self, stage: str) -> Path:
        """Where a stage's weights are; they are written last, so with them it is finished."""
        return self.model / f"{stage}.safetensors"

    def is_finished(self, stages: Iterable[str]) -> bool:
        """Are its figures there? Without its model it is not finished: who deletes a damaged file gets it again."""
        return all(file.is_file() for file in (self.metrics, self.model / "model.json", *map(self.weights, stages)))

    def has_trained(self) -> bool:
        """Has a stage left anything of its training? Then config.yaml and splits.csv must be there to say of what."""
        return any(file.is_file() for name in STAGES for file in (self.weights(name), self.path / name / "last.pt"))

    def write(self, file: Path, content: str | bytes) -> None:
        """Write one of its files, whole or not at all."""
        if is_first_process():
            write_atomically(file, as_bytes(content) if isinstance(content, str) else content)

    def write_json(self, file: Path, content: Any) -> None:
        """Write one of its files as JSON.

        Raises:
            TrainingError: A figure in it is no finite number.
        """
        try:
            if is_first_process():
                write_json(file, content)
        except ValueError as error:
            raise TrainingError(
                f"run '{self.name}': training diverged, {file.name} would hold a number that is not finite; "
                f"lower train.learning_rate and choose another run=NAME, or delete {self}"
            ) from error

    def read_metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return dict(json.loads(self.metrics.read_text()))

    def saved_config(self) -> Config:
        """The options that the run was started with.

        Raises:
            RunError: config.yaml cannot be read.
        """
        try:
            config = to_typed(yaml.safe_load(self.config.read_text()))
        except Exception as error:
            raise RunError(f"{self.config} cannot be read: {' '.join(str(error).split())}") from error
        assert isinstance(config, Config)
        return config

    def compare(self, config: Config) -> None:
        """See that the run is new, or was begun with the same options; nothing is written.

        Raises:
            RunError: It has other options, which are named; resume=force allows those that can change. Or config.yaml
                cannot be read, or the folder is that of something else.
        """
        if self.name == "latest":
            raise RunError("run=latest is the link to the newest run; give another name")
        if not self.has_trained():
            refuse_others(self.path)
        if not self.config.is_file() and not self.has_trained():
            return
        changed = differences(*map(options_that_count, (config, self.saved_config())))
        if changed and self.metrics.is_file():
            raise RunError(
                f"run '{config.run}' is finished, with other options ({some(changed)}): choose another run=NAME, "
                f"or delete {self}"
            )
        fixed = [text for text in changed if FIXED.match(text)]
        if changed and (fixed or config.resume != "force"):
            raise RunError(
                f"run '{config.run}' was made with other options ({some(fixed or changed)}): choose another run=NAME, "
                + (f"or delete {self}" if fixed else f"delete {self}, or go on all the same with resume=force")
            )
        if changed:
            log.warning("resume=force: run '%s' goes on with other options (%s)", config.run, some(changed))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a run to one command at a time, and clear away what a killed one left half written.

        Raises:
            RunError: Another process is at work on it.
            StorageError: The folder cannot be written.
        """
        if not is_first_process():
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another process is at work on run '{self.name}': wait for it, or choose another run=NAME"
            ) from error
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{self}: cannot be written ({reason}); choose another folder") from error
        try:
            # not those of a sweep's runs, at work below it
            for folder in (self.path, *(self.path / name for name in STAGES), self.model, self.figures):
                remove_leftovers(folder)
            yield
        finally:
            lock.release()

    def begin(self, config: Config) -> None:
        """Write the options, once the photographs are known to be good, and let latest lead here.

        A run, or a study, whose own name is hidden is nobody's latest.
        """
        self.write(self.config, yaml.safe_dump(to_plain(config), sort_keys=False))
        if is_first_process() and not any(part.startswith(".") for part in self.path.parts[-2:]):
            _point_latest_to(self.path)

    def count_opening(self, test_set: str = "") -> int:
        """Note that the test set is about to be opened; returns how often it was, this time included.

        Before, not after: an evaluation that is killed may have been looked at.

        Args:
            test_set: What tells it from other test sets.

        Raises:
            RunError: test_openings.json is not what was written.
        """
        openings, now = _read_openings(self.openings)[1], datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.write_json(self.openings, {"openings": [*openings, now], "test_set": test_set})
        return len(openings) + 1

    def openings_of_others(self, test_set: str) -> int:
        """How often the other runs of outputs/, or of the same folder, have opened a test set."""
        top = OUTPUTS if self.path.parts[:1] == OUTPUTS.parts else self.path.parent
        found = openings_below(top)
        return sum(count for path, (name, count) in found.items() if name == test_set and path != self.path.resolve())


def openings_below(folder: Path) -> dict[Path, tuple[str, int]]:
    """{folder of a run: (its test set, how often the run has opened it)} of all runs below a folder."""
    found = {}
    for depth in range(1, 5):  # of a study in a sweep, and not through the decoded photographs
        for file in folder.glob("*/" * depth + "test_openings.json"):
            with contextlib.suppress(RunError):  # one that is damaged is told of by its run
                test_set, openings = _read_openings(file)
                found[file.parent.resolve()] = test_set, len(openings)
    return found


def _read_openings(path: Path) -> tuple[str, list[str]]:
    try:
        content = json.loads(path.read_text()) if path.is_file() else {"openings": []}
        return str(content.get("test_set", "")), list(content["openings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} cannot be read, so it is not known how often the test set was opened: restore it, or choose "
            f"another run=NAME"
        ) from error


def find_run(run: str) -> RunFolder:
    """The folder of an existing run; of latest, the one that it leads to.

    Raises:
        RunError: There is none of that name; the message names those that exist.
    """
    folder = RunFolder.named(run)
    if not folder.config.is_file():
        made = sorted(
            {file.parent.relative_to(OUTPUTS).as_posix() for file in OUTPUTS.glob("**/config.yaml")} - {"latest"}
        )
        have = f"there are {some(made, 8)}" if made else "none was made yet: start with twostage train"
        raise RunError(f"no run '{run}' ({folder}): {have}")
    return RunFolder(_led_to(folder.path)) if folder.path == LATEST else folder


def _led_to(link: Path) -> Path:
    """Where a link leads; itself, where it is a folder."""
    with contextlib.suppress(OSError):
        return Path(os.path.normpath(link.parent / os.readlink(link)))
    return link


def _point_latest_to(folder: Path) -> None:
    """Let outputs/latest lead to the newest run, where the file system has links."""
    temporary = OUTPUTS / ".latest.tmp"  # one name for all, so that the next run clears away what a killed one left
    with contextlib.suppress(OSError):
        OUTPUTS.mkdir(exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder, OUTPUTS), target_is_directory=True)
        temporary.replace(LATEST)
