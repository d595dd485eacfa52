"""Search: options chosen by the trainings before, judged by validation; then the best one against the usual options."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock

from twostage.errors import ConfigError, DataError, RunError, TrainingError, TwoStageError, number_of
from twostage.evaluation.metrics import rmse
from twostage.evaluation.remarks import judged
from twostage.options.choices import METHODS
from twostage.options.commands import SearchConfig
from twostage.options.flat import options_that_count
from twostage.options.run import Config
from twostage.orchestrator import train
from twostage.run.folder import RunFolder
from twostage.run.preparation import Prepared, prepare
from twostage.scale import scale_of
from twostage.studies.cross_validation import FOLDS
from twostage.studies.folder import check_runs, open_study, read_rows
from twostage.studies.search_outcome import outcome_text, write_outcome, write_trials
from twostage.studies.search_space import Params, Space, open_space
from twostage.tracking.tracker import Record
from twostage.training.distributed import of_the_machine

if TYPE_CHECKING:
    from twostage.studies.trials import Taken, Trials

__all__ = ["search"]

log = logging.getLogger("twostage")

LOCK = ".journal.lock"
FREE = ("search.trials", "search.minutes")
"""Options with which a search may go on."""


def search(config: SearchConfig, words: Sequence[str] = ()) -> str:
    """Try ``search.trials`` options from the space, each in a training whose test set stays closed; compare the best.

    What is tried next depends on the RMSE of those before. Several processes with the same command, also of machines
    that share the folder, work on one search; a killed one goes on with the same command. In the end the best options
    and the usual ones are trained with the test set, which is opened by these two alone.

    Args:
        words: The words of the command line that made `config`.

    Returns:
        The outcome as lines of text; trials.csv, search.json, best.yaml and search.png are in the run's folder.

    Raises:
        ConfigError: There is nothing to search, a range is wrong, or optuna is not installed.
        RunError: The folder holds another search, or one of other photographs or concentrations.
    """
    try:
        from twostage.studies import trials
    except ImportError as error:
        raise ConfigError(f"search needs {error.name}: pip install 'twostage[search]'") from error
    _check(config)
    open_study(config, "search", free=FREE)
    space = open_space(config, words)
    study, prepared = _begun(config, space)
    folds = config.search.folds or (FOLDS if prepared.few else None)
    judge = trials.pruner(config.search.prune, by_folds=folds is not None)
    work = _Search(config, space, study, folds, trials.Trials(study, space, config.seed, judge))
    _announce(work, prepared)
    work.try_all()
    return work.close()


def _check(config: SearchConfig) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("search is not for torchrun: start the same command several times, and they share its trials")
    if config.train.final not in ("auto", "part"):
        raise ConfigError(
            f"search opens a test set in the end, and train.final={config.train.final} has none: leave it out"
        )
    if config.split.folds:
        raise ConfigError(
            "split.folds draws several test sets, and search has one: search.folds=5 cross-validates trials"
        )


def _begun(config: SearchConfig, space: Space) -> tuple[RunFolder, Prepared]:
    """The folder, with options and split, and what all trials start from; a search that is there must have the same."""
    study = RunFolder.named(config.run)
    whole = space.run({}, config.run)
    check_runs(study, [whole])
    prepared = prepare(whole, study)
    study.path.mkdir(parents=True, exist_ok=True)
    with FileLock(study.path / LOCK):
        open_study(config, "search", free=FREE)  # again: another process may have begun it meanwhile
        study.write(study.splits, prepared.splits)
        if not (study.path / "search.json").is_file():
            study.write_json(study.path / "search.json", {"options": options_that_count(config)})
    return study, prepared


def _announce(work: _Search, prepared: Prepared) -> None:
    config, space = work.config, work.space
    kept = number_of(len(prepared.part("test")), "test photograph stays", "test photographs stay")
    by = f"by the RMSE of {len(prepared.part('validation'))} validation photographs"
    if work.folds:
        by = f"in {work.folds} folds of the {prepared.specimens_learned} specimens for training and validation"
    log.info("search of %d trials, judged %s; %s closed to them", config.search.trials, by, kept)
    log.info("searched: %s", space)
    for key in space.outside:
        log.warning("%s is not searched where it is without a search: no trial has the options as they are", key)
    for note in prepared.notes:
        log.warning("%s", note)


@dataclass
class _Search:
    """A search at work in this process; `folds` cross-validate each trial, None: the validation photographs judge."""

    config: SearchConfig
    space: Space
    study: RunFolder
    folds: int | None
    trials: Trials

    def try_all(self) -> None:
        """Work on trials until all are done, or taken by other processes, or the time is over."""
        minutes, begin = self.config.search.minutes, time.monotonic()
        while True:
            new = not minutes or time.monotonic() - begin < 60 * minutes
            with self.trials.taken(self.config.search.trials, new=new) as taken:
                if taken is None:
                    return
                self._try_one(taken)
            write_trials(self.study, self.trials)

    def _try_one(self, taken: Taken) -> None:
        try:
            with _quietly():
                value = self._value(taken)
            taken.finish(value)
            said = f"RMSE {value:.4g}"
        except taken.STOPPED:
            taken.stop()
            said = "stopped early"
        except (ConfigError, DataError, TrainingError, MemoryError, RuntimeError) as error:
            told = error if isinstance(error, TwoStageError) else of_the_machine(error)
            if told is None:
                raise
            taken.stop(failed=str(told))
            said = f"failed ({told})"
        best = self.trials.best()
        best_so_far = f", best so far {best.rmse:.4g} of trial {best.number}" if best else ""
        options = " ".join(f"{key}={self.space.text(key, value)}" for key, value in taken.params.items())
        done = f"{self.trials.done} of {self.config.search.trials} done"
        log.info("trial %d: %s; %s (%s%s)", taken.number, said, options, done, best_so_far)

    def _value(self, taken: Taken) -> float:
        """RMSE of a trial, on the scale: of the validation photographs, or out of fold."""
        config = self.space.run(taken.params, f"{self.study}/trial_{taken.number}")
        config.split.sealed = True
        if self.folds:
            return self._out_of_fold(config, self.folds, taken)
        last = METHODS[config.method][-1]

        def watch(record: Record, done: float) -> None:
            if last in record.histories:
                taken.judge_epochs(record.histories[last]["validation_rmse"], done)

        metrics = train(config, watch=watch)
        if metrics["rmse_validation"] is None:
            raise TrainingError("none of the validation photographs was read")
        return judged(metrics, "rmse_validation")

    def _out_of_fold(self, config: Config, folds: int, taken: Taken) -> float:
        config.split.folds, config.intervals.method, run = folds, "none", config.run
        errors = []
        for fold in range(folds):
            config.split.fold, config.run = fold, f"{run}/fold_{fold}"
            train(config)
            errors.append(_errors(RunFolder.named(config.run), config, fold))
            if errors[-1].empty:
                raise TrainingError(f"none of the photographs of fold {fold} was read")
            each = errors[-1].groupby("specimen")["error"]
            taken.judge({int(str(specimen)): rmse(found.to_numpy()) for specimen, found in each})
        return rmse(pd.concat(errors)["error"].to_numpy())

    def close(self) -> str:
        """Train the usual options, and the best when no trial is under way any more; then tell what came out."""
        if self.trials.done and self.trials.best() is None and not self.trials.running:
            raise RunError(f"none of {self.trials.done} trials has finished: {self.study}/trials.csv says why")
        self._train_with_test("default", {})
        best = self.trials.best()
        if best is not None and not self.trials.running and not self.space.is_usual(best.params):
            self._train_with_test(f"best_{best.number}", best.params)
        write_outcome(self.study, self.config, self.space, self.trials)
        return outcome_text(self.study, self.config, self.space, self.trials)

    def _train_with_test(self, name: str, params: Params) -> None:
        with contextlib.ExitStack() as stack:
            if self.trials.hold(name, stack):
                log.info("%s: trained once more, to read the test set in the end", name)
                train(self.space.run(params, f"{self.study}/{name}"))


def _errors(run: RunFolder, config: Config, fold: int) -> pd.DataFrame:
    """Errors on the scale of the photographs of a fold that were read, with a number for each specimen."""
    splits, read = read_rows(run.splits).set_index("image"), read_rows(run.predictions)
    read = read[read["status"] != "refused"]
    numbers = np.full(len(read), fold)  # no specimens are known
    if "group" in splits:
        numbers = pd.Series(pd.factorize(splits["group"], sort=True)[0], splits.index)[read["image"]].to_numpy()
    scale = scale_of(config.data.scale, config.bins.period)
    return pd.DataFrame({"specimen": numbers, "error": scale.error(read["concentration"], read["target"])})


@contextmanager
def _quietly() -> Iterator[None]:
    """What was said of the photographs in the beginning is not said again by each trial."""
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
