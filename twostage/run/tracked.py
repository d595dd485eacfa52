"""A run that is shown elsewhere while a command works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd

from twostage.options.flat import flatten, to_plain
from twostage.options.run import Config
from twostage.run.folder import RunFolder
from twostage.tracking.tracker import Record, Trackers
from twostage.training.distributed import is_first_process

__all__ = ["Watch", "tracked"]


Watch = Callable[[Record, float], None]
"""Is shown what a run has to show so far, and the share of the epochs of the stage at work that are done.

What it raises ends the run, which can go on from there.
"""


@contextmanager
def tracked(folder: RunFolder, config: Config, watch: Watch | None = None) -> Iterator[Callable[[float], None]]:
    """What tells the trackers of runtime.tracker that there is more to show; when the command is done, all of it.

    `watch` is told as well, while a stage is trained.

    Raises:
        ConfigError: A package that one needs is missing.
    """
    trackers = Trackers(config.runtime.tracker if is_first_process() else [], lambda: _record(folder, config))

    def tell(done: float) -> None:
        trackers.tell()
        if watch is not None:
            watch(_record(folder, config), done)

    try:
        yield tell
        trackers.tell(last=True)
    finally:
        trackers.close()


def _record(folder: RunFolder, config: Config) -> Record:
    histories = {stage: pd.read_csv(folder.stage(stage).history) for stage in folder.stages()}
    metrics = folder.read_metrics() if folder.metrics.is_file() else None
    return Record(folder.name, folder.path, flatten(to_plain(config)), histories, metrics, folder.model)
