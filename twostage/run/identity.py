"""Is what a run has made still what its options and its photographs would make today?"""

from __future__ import annotations

import io
import logging

import pandas as pd

from twostage.data.splits import changed_photographs, read_names, read_splits
from twostage.errors import DataError, ModelFolderError, NotThereError, RunError, some
from twostage.files import text_of
from twostage.options.run import Config
from twostage.run.data import splits_today
from twostage.run.folder import RunFolder
from twostage.run.start import load_start
from twostage.tables.table import Table

__all__ = ["changes_since", "compare_with_today"]

log = logging.getLogger("twostage")


def compare_with_today(config: Config, folder: RunFolder) -> None:
    """See that what a run has made may be used again: table, files and split are read again, nothing is written.

    Where table or photographs are no longer there, that is said: what was made of them is still what it was.

    Raises:
        RunError: They are others today; the message names them.
    """
    try:
        changed = changes_since(config, folder)
    except NotThereError as error:
        log.warning("run %s could not be compared with its photographs: %s", folder.name, error)
        return
    if changed:
        raise RunError(
            f"run '{folder.name}' was made with other photographs or concentrations ({some(changed)}): choose another "
            f"run=NAME, or delete {folder}"
        )


def changes_since(config: Config, folder: RunFolder) -> list[str]:
    """What differs between what a run was made of and what its options name today, photograph by photograph.

    Raises:
        NotThereError: What was there is no longer, so that only the table, or nothing, could be compared.
        RunError: The run's splits.csv cannot be read.
        StorageError: The photographs cannot be read or decoded at the moment.
    """
    before = read_splits(folder.splits)
    try:
        changed = changed_photographs(splits_today(config), before, leave_out=("reason",))
        return changed or _changed_start(config, folder)
    except NotThereError as error:
        if 0 < len(error.missing) < len(error.table):
            return [f"{image} (no longer there)" for image in error.missing]
        changed = [] if error.table is None else _changed_rows(error.table, before, config)
        if changed:
            return changed
        raise
    except DataError as error:  # what it was made of could be used
        return [str(error)]


def _changed_rows(table: Table, before: str, config: Config) -> list[str]:
    """What differs in a table whose photographs are not there: their names, concentrations and groups."""
    rows = read_names(io.StringIO(before))
    frame = pd.DataFrame({"image": table.images, "target": table.targets.astype(object)})
    if table.groups is not None and config.split.duplicates != "group":  # else they have other names in splits.csv
        frame["group"] = table.groups
    left_out = pd.DataFrame({"image": list(table.skipped)}).reindex(columns=frame.columns, fill_value="")
    frame = pd.concat([frame, left_out], ignore_index=True)
    frame.loc[frame["image"].isin(rows["image"][rows["split"] == "skipped"]), frame.columns[1:]] = ""
    return changed_photographs(str(frame.to_csv(index=False)), before)


def _changed_start(config: Config, folder: RunFolder) -> list[str]:
    """Was the run from which this one started trained anew?"""
    if not folder.start.is_file():
        return []
    try:
        start = load_start(config)
    except ModelFolderError as error:
        raise NotThereError(f"start={config.start} cannot be loaded ({error})") from error
    if start is None or start.learned.to_csv(index=False) == text_of(folder.start):
        return []
    return [f"{start.name}, from which it started, was trained anew"]
