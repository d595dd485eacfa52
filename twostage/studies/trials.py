"""The trials of a search, which several processes share: by Optuna, in a journal in the search's folder."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, cast

import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from twostage.errors import RunError
from twostage.options.space import Span
from twostage.run.folder import RunFolder
from twostage.studies.search_space import Params, Space
from twostage.training.order import stream_seed

__all__ = ["Best", "Taken", "Trials", "pruner"]

TENTHS = 10
"""The validation RMSE is compared so many times in a training."""


class Best(NamedTuple):
    """The best of the trials that have finished."""

    number: int
    rmse: float
    params: Params


class Trials:
    """What all processes of a search know together."""

    def __init__(self, folder: RunFolder, space: Space, seed: int, pruner: BasePruner) -> None:
        """Open the journal, or begin it with the options as they are, where the space has them.

        Raises:
            RunError: It cannot be read.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.space, self.seed, path = folder, space, seed, folder.path / "journal.log"
        self.lock = FileLock(folder.path / ".journal.lock")
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                storage = JournalStorage(JournalFileBackend(str(path), cast(Any, _JournalLock(path, self.lock))))
                self.study = optuna.create_study(
                    storage=storage, study_name="search", pruner=pruner, load_if_exists=True
                )
            except (ValueError, KeyError, json.JSONDecodeError) as error:
                reason = " ".join(str(error).split())
                raise RunError(f"{path} cannot be read ({reason}): choose another run=NAME") from error
            if not self.study.get_trials(deepcopy=False) and not space.outside:
                self.study.enqueue_trial(dict(space.usual))

    @contextmanager
    def taken(self, total: int, *, new: bool = True) -> Iterator[Taken | None]:
        """A trial for this process alone: one that a process left when it died, or a new one; None where all are taken.

        Args:
            total: How many trials there are to be.
            new: May another one begin?
        """
        with contextlib.ExitStack() as stack:
            with self.lock:
                trial = self._left(stack) or (self._new(stack, total) if new else None)
            yield trial

    def _left(self, stack: contextlib.ExitStack) -> Taken | None:
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self.hold(f"trial_{frozen.number}", stack):
                return self._taken(Trial(self.study, frozen._trial_id), frozen.number)
        return None

    def _new(self, stack: contextlib.ExitStack, total: int) -> Taken | None:
        states = [one.state for one in self.study.get_trials(deepcopy=False)]
        if TrialState.WAITING not in states and len(states) >= total:
            return None
        number = states.index(TrialState.WAITING) if TrialState.WAITING in states else len(states)
        self.hold(f"trial_{number}", stack)
        self._seeded(number)
        return self._taken(self.study.ask(), number)

    def _taken(self, trial: Trial, number: int) -> Taken:
        self._seeded(number)
        return Taken(self, trial, {key: _suggested(trial, key, self.space) for key in self.space.values})

    def _seeded(self, number: int) -> None:
        """What is drawn depends on the seed, the trial's number and what is known, not on who draws it."""
        self.study.sampler = TPESampler(
            multivariate=True, constant_liar=True, seed=stream_seed(self.seed, "search", number) % 2**32
        )

    def hold(self, name: str, stack: contextlib.ExitStack) -> bool:
        """Keep a folder of the search to this process; False where another has it. Who dies lets go."""
        path = self.folder.path / name
        path.mkdir(exist_ok=True)
        lock = FileLock(path / ".search.lock")
        try:
            stack.enter_context(lock.acquire(timeout=0))
        except Timeout:
            return False
        return True

    @property
    def running(self) -> int:
        """How many trials are under way."""
        return len(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    @property
    def done(self) -> int:
        """How many trials are over, one way or another."""
        return len(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    def best(self) -> Best | None:
        """The one with the least RMSE; None where none has finished."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = min(done, key=lambda one: (one.value, one.number), default=None)
        return None if best is None else Best(best.number, float(best.value or 0), best.params)

    def table(self) -> pd.DataFrame:
        """A row per trial that has begun, best first: trial, rmse (NaN if it has none), state, seconds, its options."""
        words = {"COMPLETE": "finished", "PRUNED": "stopped early", "RUNNING": "under way"}
        rows = []
        for one in self.study.get_trials(deepcopy=False):
            if one.state == TrialState.WAITING:
                continue
            why = one.user_attrs.get("failed")
            row = {
                "trial": one.number,
                "rmse": one.value if one.state == TrialState.COMPLETE else None,
                "state": words[one.state.name] if why is None else "failed",
                "seconds": round(one.duration.total_seconds(), 1) if one.duration else None,
            }
            rows.append(row | {key: self.space.text(key, value) for key, value in one.params.items()} | {"why": why})
        columns = ["trial", "rmse", "state", "seconds", *self.space.values, "why"]
        table = pd.DataFrame(rows, columns=columns).astype({"rmse": float})
        return table.sort_values(["rmse", "trial"], ignore_index=True)

    def importances(self) -> dict[str, float]:
        """What share of the differences each option explains, by fANOVA; {} where trials are too few to tell.

        The default of Optuna, PED-ANOVA, asks what the best tenth has in common: of 14 trials nearly nothing.
        """
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < 2 * len(self.space.values) or len({one.value for one in done}) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=self.seed))
        return {key: float(share) for key, share in shares.items()}


class Taken:
    """A trial that is this process's own; `STOPPED` ends one that is not worth its time."""

    STOPPED = optuna.TrialPruned

    def __init__(self, trials: Trials, trial: Trial, params: Params) -> None:
        self.study, self.trial, self.params, self.number = trials.study, trial, params, trial.number
        self.told = set(trials.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def judge(self, values: Mapping[int, float]) -> None:
        """Tell how it stands, by step, and stop it where that is worse than others were at the same steps.

        Raises:
            TrialPruned: It is.
        """
        for step, value in values.items():
            if step not in self.told:
                self.trial.report(value, step)
                self.told.add(step)
        if self.trial.should_prune():
            raise self.STOPPED

    def judge_epochs(self, rmse: pd.Series, done: float) -> None:
        """Judge it by the RMSE after each tenth of its epochs; `done` is the share of them that `rmse` tells of."""
        if not len(rmse):  # a checkpoint within the first
            return
        epochs = round(len(rmse) / done)
        for step in range(1, TENTHS):
            if (epoch := ceil(step * epochs / TENTHS)) <= len(rmse):
                self.judge({step: float(rmse.iloc[epoch - 1])})

    def finish(self, value: float) -> None:
        """It is done, with that RMSE."""
        self.study.tell(self.trial, value)

    def stop(self, failed: str | None = None) -> None:
        """It is done without an RMSE: stopped early, or `failed` for a reason. The sampler takes it for a bad one."""
        if failed is not None:
            self.trial.set_user_attr("failed", failed)
        self.study.tell(self.trial, state=TrialState.PRUNED)


def pruner(wanted: bool, by_folds: bool) -> BasePruner:
    """Who stops trials early.

    By epochs: who has passed seven tenths of them, and is worse than half of the finished ones were. Of 14 trials of
    experiment=smoke the RMSE after 3, 5, 6, 7, 8 and 9 tenths ranked the trials as the RMSE in the end did with a
    correlation (Spearman) of 0.62, 0.59, 0.45, 0.78, 0.86 and 0.93: before, a low learning rate looks better than it
    is. By folds, which are not equally hard: whose specimens are read worse than
    the best trial has read the same ones.
    """
    if not wanted:
        return NopPruner()
    if by_folds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is experimental, and optuna is pinned
            return WilcoxonPruner(p_threshold=0.05)
    return MedianPruner(n_startup_trials=8, n_warmup_steps=7)


def _suggested(trial: Trial, key: str, space: Space) -> Any:
    """The value of an option, drawn now or by who began the trial."""
    one = space.values[key]
    if not isinstance(one, Span):
        return trial.suggest_categorical(key, one)
    low, high = one.ends
    if key in space.whole:
        return trial.suggest_int(key, int(low), int(high), log=one.by_factors)
    return trial.suggest_float(key, low, high, log=one.by_factors)


class _JournalLock:
    """Held while the journal is written, and let go by the system if the process dies.

    What a full disk or a power cut left half written was not told to anybody, and is cut off.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path, self.lock = path, lock

    def acquire(self) -> bool:
        self.lock.acquire()
        _cut_half_a_line(self.path)
        return True

    def release(self) -> None:
        self.lock.release()


def _cut_half_a_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if end and file.read(1) != b"\n":
            file.truncate(path.read_bytes().rfind(b"\n") + 1)
