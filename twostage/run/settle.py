"""What a run that goes on must find as it was: its options, its photographs, what it started from."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from twostage.data.splits import changed_photographs, read_names, read_splits
from twostage.errors import RunError, some
from twostage.files import text_of
from twostage.run.bins import lay_bins, rows_of_bins
from twostage.run.preparation import Prepared
from twostage.run.start import Start, photographs_of
from twostage.tables.parts import PARTS

__all__ = ["settle"]

log = logging.getLogger("twostage")

CHOOSING = ("train", "validation")
"""The parts that make a stage: what it is trained on, and what chooses its epoch and its penalty."""


def settle(prepared: Prepared) -> None:
    """Write the options, and which photograph is in which part; a run that goes on must find them as they were.

    Then say what there is to be said about them.

    Raises:
        RunError: Photographs or concentrations changed, or with resume=force, photographs that the run has learned
            from would be held out from it; the message names them.
    """
    folder, config, path = prepared.folder, prepared.config, prepared.folder.splits
    before = read_splits(path) if path.is_file() or folder.has_trained() else prepared.splits
    if before != prepared.splits:
        changed = some(changed_photographs(prepared.splits, before) or ["another order of the rows, or other columns"])
        if config.resume != "force":
            raise RunError(
                f"photographs or concentrations changed since {path} was written: {changed}; choose another run=NAME, "
                f"or go on all the same with resume=force"
            )
        learned = _learned(prepared, before)
        _refuse_learned(prepared, before, learned)
        _refuse_other_bins(prepared, before)
        folder.write(folder.learned, learned.to_csv(index=False))
        log.warning("resume=force: the run goes on with other photographs or concentrations: %s", changed)
    if prepared.start is not None:
        _keep_start(prepared.start, prepared)
    folder.begin(config)
    folder.write(path, prepared.splits)
    log.info("photographs: %s", prepared.photos.store)
    for note in prepared.notes:
        log.warning("%s", note)


def _learned(prepared: Prepared, before: str) -> pd.DataFrame:
    """The photographs that the run may have learned from so far, each with its group and its part.

    Those of the run that it started from may be trained on again and validated with, but test nothing.
    """
    learned = [_in_parts(before, CHOOSING, prepared)]
    if prepared.folder.start.is_file():
        learned.append(_read_learned(prepared.folder.start, "model").assign(group="", part="calibration"))
    if prepared.folder.learned.is_file():
        learned.append(_read_learned(prepared.folder.learned, "part"))
    return pd.concat(learned)[["photograph", "group", "part"]].drop_duplicates()


def _read_learned(path: Path, last: str) -> pd.DataFrame:
    try:
        return read_names(path)[["photograph", "group", last]]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} cannot be read: restore it, or choose another run=NAME") from error


def _in_parts(splits: str, parts: tuple[str, ...], prepared: Prepared) -> pd.DataFrame:
    rows = read_names(io.StringIO(splits))
    found = [photographs_of(rows, [part], prepared.config).assign(part=part) for part in parts]
    return pd.concat(found, ignore_index=True)


def _refuse_learned(prepared: Prepared, before: str, learned: pd.DataFrame) -> None:
    """What a stage was trained on, or chosen by, would look better than new in a part that is held out from it."""
    old, bad = _in_parts(before, PARTS, prepared), []
    for k, part in enumerate(PARTS):
        used = learned[learned["part"].isin(PARTS[:k])]
        new = _in_parts(prepared.splits, (part,), prepared)
        groups = set(used["group"]) - {""}
        found = new["photograph"].isin(used["photograph"]) | new["group"].isin(groups)
        were_there = new["photograph"].isin(old["photograph"][old["part"] == part])
        bad += [f"{image} in {part}" for image in new["image"][found & ~were_there]]
    if bad:
        raise RunError(
            f"run '{prepared.folder.name}' has learned from photographs, or specimens, that would now be held out "
            f"from it ({some(bad)}): choose another run=NAME, or delete {prepared.folder}"
        )


def _keep_start(start: Start, prepared: Prepared) -> None:
    """Note in start.csv which photographs the run has learned from before it began."""
    path, now = prepared.folder.start, start.learned.to_csv(index=False)
    if path.is_file() and text_of(path) != now and prepared.config.resume != "force":
        raise RunError(
            f"{start.name}, from which run '{prepared.folder.name}' started, was trained anew since: choose another "
            f"run=NAME, or go on all the same with resume=force"
        )
    prepared.folder.write(path, now)


def _refuse_other_bins(prepared: Prepared, before: str) -> None:
    """What is trained already knows the bins, which other photographs may move."""
    splits = read_names(io.StringIO(before))
    groups = splits["group"].to_numpy(str) if "group" in splits else None
    rows = rows_of_bins(splits["split"].to_numpy(str), groups)
    targets = splits["target"].iloc[rows].to_numpy(np.float64)
    edges = lay_bins(prepared.config, targets, None if groups is None else groups[rows])[0].edges
    if not np.array_equal(edges, prepared.bins.edges):
        raise RunError(
            f"these photographs or concentrations move the edges of the bins, from {edges.tolist()} to "
            f"{prepared.bins.edges.tolist()}: choose another run=NAME"
        )
