"""`twostage predict engine=ray`: shards of a table of any length, each read by a worker of a Ray cluster.

The workers are tasks of Ray: each process loads the model once and reads one shard after another on one thread. What
Ray hands out are names of photographs; photographs, model and rows are found by their paths, in folders that all
machines share.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from twostage.engines.loaded import ModelPlace, one_thread
from twostage.engines.shards import Shards
from twostage.errors import ConfigError, RunError, Stopped, TwoStageError, number_of
from twostage.files import given_path, refuse_unwritable
from twostage.options.reading import PredictConfig
from twostage.run.predicting import Job, Told
from twostage.run.wanted import Tally, Wanted, stamp_of
from twostage.tables.row_formats import OTHER_TABLES, ROW_FORMATS, Parquet
from twostage.training.device import threads_to_decode
from twostage.training.interrupt import stop_requests

__all__ = ["OnRay", "Work", "imported", "read_shard"]

log = logging.getLogger("twostage")

SHARD = 1024
"""Rows of a shard unless said: a multiple of what a thread reads at a time, so all digits are those of engine=local."""
TRIES = 3
"""So many workers may die reading a shard before nobody is asked any more."""
WAITING = 2
"""Shards that wait for a worker, so that none is idle, and a cluster that grows by demand sees one."""
LOOK = 1.0
"""Seconds between two looks whether Ctrl-C or SIGTERM came."""
KNOCK = 10.0
"""Seconds that a cluster has to answer."""
STORE = 2**28
"""Bytes of a local cluster's store, which holds names alone."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Ray reports to nobody, and its messages, which are said here in a line, do not reach the terminal."""


@dataclass(frozen=True)
class Work:
    """What every worker is told."""

    place: ModelPlace
    shards: Shards
    config: PredictConfig
    own: frozenset[str]
    cwd: str
    """Where paths start."""


def read_shard(work: Work, shard: slice, wanted: Wanted, stamp: object) -> Tally | str:
    """Read the rows of one shard; what is said of them, or what the user must be told instead.

    Args:
        wanted: Of the shard alone.
        stamp: `stamp_of` its first photograph, as it is where the command was given.
    """
    here = platform.node()
    try:
        if os.path.isdir(work.cwd):  # else all paths must say where they start
            os.chdir(work.cwd)
        pd.set_option("mode.string_storage", "python")  # as the command line does
        if stamp_of(wanted.table.paths[0]) != stamp or not work.shards.notes.is_dir():
            raise RunError(
                f"{here} does not see {wanted.table.paths[0]} or {work.shards.path} as the machine does where the "
                f"command was given: put photographs, model and output into folders that all machines share"
            )
        with one_thread():
            return work.shards.read(shard, wanted, work.place.predictor(), work.config, work.own)
    except TwoStageError as error:
        return str(error)
    except OSError as error:
        return f"{here}: {error.filename or 'a file'}: {error.strerror or error}"


class OnRay:
    """The engine of a Ray cluster: a folder of Parquet files, each written by a worker."""

    numbered = True

    def __init__(self, config: PredictConfig, show: Callable[[bytes], object]) -> None:
        """See that there is Ray, and a place for the folder, before anything takes long."""
        wants = "engine=ray writes a folder of Parquet files"
        if config.output is None:
            raise ConfigError(f"{wants}: name it with output=FOLDER")
        self.output = Path(os.path.realpath(given_path(config.output, "output")))
        others = [*OTHER_TABLES, *(end for kind in ROW_FORMATS.values() for end in kind.suffixes)]
        if self.output.is_file() or self.output.suffix.lower() in set(others) - set(Parquet.suffixes):
            raise ConfigError(f"{wants}, and output={config.output} is a file: name a folder, or leave engine out")
        if config.format not in (None, Parquet.name):
            raise ConfigError(f"{wants}: leave format={config.format} out, or engine=ray")
        refuse_unwritable(self.output / "_", "output")
        self.form, self.ray = Parquet(), imported()

    def read(self, job: Job) -> Tally:
        """Read all photographs whose rows are not there yet; what is to be said of all.

        Raises:
            RunError: The folder was begun by another command; a worker saw something that its reader must be told, or
                too many workers have died.
        """
        wanted, table = job.wanted, job.wanted.table
        self.form.refuse(wanted.columns, table.images)
        size = job.config.shard or SHARD
        command = {"format": self.form.name, **job.command(), "shard": size, "rows": len(wanted)}
        shards = Shards(self.output, command, size, len(wanted))
        with shards.opened():
            there = ((shard.start, shards.finished(shard, wanted)) for shard in shards.all)
            found = {first: tally for first, tally in there if tally is not None}
            waiting = [shard for shard in shards.all if shard.start not in found]
            done = len(wanted) - sum(shard.stop - shard.start for shard in waiting)
            if done:
                log.info("%d of %d rows are there already%s", done, len(wanted), ": going on" if waiting else "")
            with Told(len(wanted), done, job.config.runtime.progress) as told:
                for shard, tally in self._read(waiting, shards, job) if waiting else ():
                    found[shard.start] = tally
                    told.rows(shard.stop - shard.start)
        return sum((found[shard.start] for shard in shards.all), Tally())

    def _read(self, shards: list[slice], folder: Shards, job: Job) -> Iterator[tuple[slice, Tally]]:
        """The shards as they are finished, in any order."""
        runtime, device = job.config.runtime, str(job.command()["device"])
        place = ModelPlace(
            os.path.realpath(job.folder), job.predictor.model.digest, device, runtime.precision, job.config.confidence
        )
        config = replace(job.config, runtime=replace(runtime, progress=False))
        workers = threads_to_decode(runtime.threads)
        with _cluster(self.ray, workers) as ray:
            work = ray.put(Work(place, folder, config, job.own, os.getcwd()))
            task = ray.remote(read_shard).options(num_cpus=1, num_gpus=int(device == "cuda"), max_retries=0)

            def begin(shard: slice) -> Any:
                wanted = job.wanted.part(shard)
                return task.remote(work, shard, wanted, stamp_of(wanted.table.paths[0]))

            yield from _Reading(ray, begin, deque(shards), workers).answers()


class _Reading:
    """Shards that wait, that are being read, and those whose workers have died."""

    def __init__(self, ray: Any, begin: Callable[[slice], Any], waiting: deque[slice], most: int) -> None:
        self.ray, self.begin, self.waiting, self.most = ray, begin, waiting, most
        self.running: dict[Any, slice] = {}
        self.died, self.read = Counter[int](), 0

    def answers(self) -> Iterator[tuple[slice, Tally]]:
        """The shards as they are finished, and what is said of their rows."""
        try:
            with stop_requests() as request:  # Ray would make a KeyboardInterrupt of either
                while self.waiting or self.running:
                    yield from self._next()
                    if request.signal:
                        raise Stopped("stopped", request.signal)
        finally:
            for one in self.running:
                self.ray.cancel(one, force=True)

    def _next(self) -> Iterator[tuple[slice, Tally]]:
        """Those that are finished now, or in a moment."""
        while self.waiting and len(self.running) < (self.most or self._workers() + WAITING):
            shard = self.waiting.popleft()
            self.running[self.begin(shard)] = shard
        for one in self.ray.wait(list(self.running), timeout=LOOK)[0]:
            shard = self.running.pop(one)
            answer = self._answer(one, shard)
            if answer is not None:
                self.read += 1
                yield shard, answer

    def _workers(self) -> int:
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def _answer(self, one: Any, shard: slice) -> Tally | None:
        """What a worker says of its shard; None where it has died, and another will be asked."""
        try:
            answer: Tally | str = self.ray.get(one)
        except self.ray.exceptions.RayTaskError:
            raise  # a mistake of ours
        except self.ray.exceptions.RayError as error:
            self._dead(shard, type(error).__name__)
            return None
        if isinstance(answer, str):
            raise RunError(answer)
        return answer

    def _dead(self, shard: slice, why: str) -> None:
        rows = f"{shard.start}..{shard.stop - 1}"
        self.died[shard.start] += 1
        if self.died[shard.start] >= TRIES or (not self.read and self.died.total() >= TRIES * self._workers()):
            times = number_of(self.died[shard.start], "time", "times")
            raise RunError(
                f"the worker that reads rows {rows} has died {times} ({why}): look at these photographs and at the "
                f"memory of the machines; the other rows stay, and the same command goes on"
            )
        log.warning("the worker that reads rows %s has died (%s): another will go on with them", rows, why)
        self.waiting.append(shard)  # after the others, so that one that kills its workers does not hold them up


def imported() -> Any:
    """Ray, which says nothing by itself.

    Raises:
        ConfigError: It is not installed.
    """
    for name, value in QUIET.items():  # Ray looks at them when it is imported
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ConfigError("engine=ray needs Ray: pip install 'twostage[ray]', or leave engine out") from error
    return ray


@contextmanager
def _cluster(ray: Any, threads: int) -> Iterator[Any]:
    """The cluster to which this process belongs, or which RAY_ADDRESS names, or else one on this machine."""
    if ray.is_initialized():
        yield ray
        return
    address, at_stop = os.environ.get("RAY_ADDRESS"), signal.getsignal(signal.SIGTERM)
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        told |= {"num_cpus": threads or cores, "include_dashboard": False, "object_store_memory": STORE}
    try:
        if address:
            _knock(address)
        ray.init(address=address or "local", **told)
    except SystemExit as stop:  # its own answer to SIGTERM
        raise Stopped("stopped", signal.SIGTERM) from stop
    except (OSError, RuntimeError, ValueError) as error:
        where, why = "a Ray cluster of this machine", " ".join(str(error).split())[:200]
        hint = "end other programs, or leave engine out"
        if address:
            where, hint = f"RAY_ADDRESS={address}", "give HOST:PORT of a cluster that runs, or unset it"
        raise ConfigError(f"{where} cannot be used: {why}; {hint}") from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_stop)
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See that somebody answers at HOST:PORT: Ray itself would wait there for minutes.

    Raises:
        OSError, ValueError: Nobody does, or it is no such address.
    """
    if address not in ("auto", "local"):
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
