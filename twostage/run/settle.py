"""What a run that goes on must find as it was: its options, its photographs, what it started from."""

from __future__ import annotations

import io
import logging

import numpy as np

from twostage.data.splits import changed_photographs, read_names
from twostage.errors import RunError, some
from twostage.files import text_of
from twostage.run.bins import lay_bins
from twostage.run.preparation import Prepared
from twostage.run.start import Start

__all__ = ["settle"]

log = logging.getLogger("twostage")


def settle(prepared: Prepared) -> None:
    """Write the options, and which photograph is in which part; a run that goes on must find them as they were.

    Then say what there is to be said about them.

    Raises:
        RunError: Photographs or concentrations changed; the message names them.
    """
    folder, config, path = prepared.folder, prepared.config, prepared.folder.splits
    before = text_of(path) if path.is_file() else prepared.splits
    if before != prepared.splits:
        changed = some(changed_photographs(prepared.splits, before))
        if config.resume != "force":
            raise RunError(
                f"photographs or concentrations changed since {path} was written: {changed}; choose another run=NAME, "
                f"or go on all the same with resume=force"
            )
        _refuse_other_bins(prepared, before)
        log.warning("resume=force: the run goes on with other photographs or concentrations: %s", changed)
    if prepared.start is not None:
        _keep_start(prepared.start, prepared)
    folder.begin(config)
    folder.write(path, prepared.splits)
    log.info("photographs: %s", prepared.photos.store)
    for note in prepared.notes:
        log.warning("%s", note)


def _keep_start(start: Start, prepared: Prepared) -> None:
    """Note in start.csv which photographs the run has learned from before it began."""
    path, now = prepared.folder.start, start.learned.to_csv(index=False)
    if path.is_file() and text_of(path) != now and prepared.config.resume != "force":
        raise RunError(
            f"{start.folder}, from which run '{prepared.folder.name}' started, was trained anew since: choose another "
            f"run=NAME, or go on all the same with resume=force"
        )
    prepared.folder.write(path, now)


def _refuse_other_bins(prepared: Prepared, before: str) -> None:
    """What is trained already knows the bins, which other photographs may move."""
    splits = read_names(io.StringIO(before))
    train = splits[splits["split"] == "train"]
    groups = train["group"].to_numpy(str) if "group" in train else None
    edges = lay_bins(prepared.config, train["target"].to_numpy(np.float64), groups)[0].edges
    if not np.array_equal(edges, prepared.bins.edges):
        raise RunError(
            f"these photographs or concentrations move the edges of the bins, from {edges.tolist()} to "
            f"{prepared.bins.edges.tolist()}: choose another run=NAME"
        )
