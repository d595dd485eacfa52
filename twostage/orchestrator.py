"""The story of a run: prepare, classifier, regressor, closing.

Each stage leaves what it made in the run's folder and the next one reads it there, so that training stage by stage
and all at once are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twostage.errors import ConfigError, RunError, number_of
from twostage.options.choices import METHODS
from twostage.options.run import Config
from twostage.run.closing import close
from twostage.run.folder import RunFolder
from twostage.run.identity import compare_with_today
from twostage.run.length import describe
from twostage.run.preparation import Prepared, prepare
from twostage.run.settle import settle
from twostage.run.stage import train_stage as train_one
from twostage.run.tracked import Watch, tracked
from twostage.training.distributed import from_first_process, join_processes, once
from twostage.training.threads import threads_put_back

__all__ = ["evaluate", "train", "train_stage"]

log = logging.getLogger("twostage")


def train(config: Config, folds: Sequence[RunFolder] = (), watch: Watch | None = None) -> dict[str, Any]:
    """Train both stages, combine them and evaluate once on the test set; a finished run is compared and shown again.

    Args:
        folds: Finished runs whose test sets hold every photograph once: with train.final=all or folds they give the
            figures, with folds the model too.
        watch: Is shown the run while it trains, and may end it by raising.

    Returns:
        The content of metrics.json.

    Raises:
        RunError: The run was made with other options, or with other photographs or concentrations.
    """
    if not folds:
        _refuse_folds(config)
    folder = _open(config)
    with tracked(folder, config, watch) as tell:
        if not _is_finished(folder, config):
            with _at_work(config, folder) as prepared:
                _announce(prepared)
                for stage in METHODS[config.method] if config.train.final != "folds" else ():
                    train_one(stage, prepared, tell)
                close(prepared, folds)
    return folder.read_metrics()


def train_stage(stage: str, config: Config) -> Path:
    """Train "classifier" or "regressor" alone, if those before it are there and it is not; returns the run's folder.

    Raises:
        RunError: The method has no such stage, an earlier one is not there, or what is there was made of other
            photographs or with other options.
    """
    stages = METHODS[config.method]
    _refuse_folds(config)
    if stage not in stages:
        raise RunError(f"method={config.method} has no {stage}: use train-{stages[0]}, or method=two_stage")
    folder = _open(config)
    for earlier in stages[: stages.index(stage)]:
        _demand(folder, earlier)
    with tracked(folder, config) as tell:
        if folder.weights(stage).is_file():
            compare_with_today(config, folder)
        else:
            with _at_work(config, folder) as prepared:
                train_one(stage, prepared, tell)
    return folder.path


def evaluate(config: Config) -> dict[str, Any]:
    """Combine the trained stages and evaluate once on the test set; returns the content of metrics.json.

    Raises:
        RunError: A stage is not there, or was made of other photographs or with other options.
    """
    folder = _open(config)
    with tracked(folder, config):
        if not _is_finished(folder, config):
            if config.train.final in ("all", "folds"):
                raise RunError(
                    f"the figures of run '{folder.run}' come of folds: twostage train run={folder.run} makes them"
                )
            for stage in METHODS[config.method]:
                _demand(folder, stage)
            with _at_work(config, folder) as prepared:
                close(prepared)
    return folder.read_metrics()


def _open(config: Config) -> RunFolder:
    """The folder of the run, the same for all processes that torchrun started."""
    join_processes()
    config.run = from_first_process(config.run)  # its default is the time, which differs
    folder = RunFolder.named(config.run)
    folder.compare(config)
    return folder


@contextmanager
def _at_work(config: Config, folder: RunFolder) -> Iterator[Prepared]:
    """Prepare a run, and keep it to this command until it ends."""
    if folder.path.is_dir():
        with folder.held():  # who comes second learns it before anything takes long
            pass
    with threads_put_back():
        prepared = prepare(config, folder)
        with folder.held():
            folder.compare(config)  # again: another process may have begun it meanwhile
            once(settle)(prepared)
            yield prepared
            once(lambda: None)()  # all wait until the first, which writes, is done


def _announce(prepared: Prepared) -> None:
    folder, (low, high) = prepared.folder, prepared.bins.edges[[0, -1]]
    log.info(
        "run %s: %d training photographs, %s over %g..%g, %s; results in %s",
        folder.name,
        len(prepared.training_rows),
        number_of(prepared.bins.count, "bin", "bins"),
        *(low, high, describe(prepared), folder),
    )
    if prepared.few and prepared.config.data.are_files:
        how = "no part chooses, each is left out in turn" if prepared.gently else "networks are shown them less often"
        log.info("%d specimens are few: %s", prepared.specimens_learned, how)


def _refuse_folds(config: Config) -> None:
    if config.train.final in ("all", "folds"):
        raise ConfigError(f"train.final={config.train.final} is for twostage train alone: leave it out")


def _demand(folder: RunFolder, stage: str) -> None:
    if not folder.weights(stage).is_file():
        raise RunError(f"run '{folder.run}' has no {stage} yet: twostage train-{stage} run={folder.run} first")


def _is_finished(folder: RunFolder, config: Config) -> bool:
    finished = folder.is_finished(METHODS[config.method])
    if finished:
        compare_with_today(config, folder)
        log.info("run %s is finished already: its results are shown again", folder.name)
    return finished
