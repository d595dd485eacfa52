"""Train, validation, calibration and test: at random, by group, or by a column's values."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedGroupKFold, StratifiedKFold

from twostage.errors import DataError, RunError, some, suggest
from twostage.files import text_of
from twostage.tables.numbers import read_numbers
from twostage.tables.parts import PART_CALLED, PARTS
from twostage.tables.table import Table

__all__ = [
    "UNUSED",
    "changed_photographs",
    "fold_numbers",
    "read_names",
    "read_splits",
    "said_of_validation",
    "split_table",
    "splits_table",
]

UNUSED = "unused"
"""Training photographs that a `train_share` below 1 leaves out."""


def split_table(
    table: Table,
    *,
    validation: float,
    calibration: float,
    test: float,
    seed: int,
    split_column: str | None = None,
    test_column: str | None = None,
    test_values: list[str] | None = None,
    folds: int | None = None,
    fold: int = 0,
    train_share: float = 1.0,
    decimal: str | None = None,
) -> np.ndarray:
    """Assign each photograph to a part: (N,) of the words in `PARTS`, and `UNUSED`.

    With a `test` of 0 none is for testing, unless a column or a fold says so.
    Photographs of one group, or of one block, always share a part. Either `split_column` names the part of every row
    (if none is for validation, it is drawn from the training rows), or the rows whose `test_column` is one of
    `test_values`, as text or as number, are the test set, or it is one of so many `folds`, or drawn like the others.
    Only `train_share` of the training photographs is used, whole groups or blocks; for one seed the fewer are among
    the more.

    Raises:
        DataError: A part would be empty, a group would straddle, or a value is unknown.
    """
    if split_column:
        parts = _from_column(table, split_column)
        if not (parts == "validation").any():
            _draw_missing(parts, table, validation, calibration, seed)
    else:
        parts = np.full(len(table), "train", dtype="<U11")
        if test_column:
            parts[_rows_with(table, test_column, test_values or [], decimal)] = "test"
        elif folds:
            parts[fold_numbers(table.targets, _kept_whole(table), folds, seed) == fold] = "test"
            test = 1 / folds
        else:
            _draw(parts, table, "test", test, 1.0, seed)
        left = 1.0 - (0.0 if test_column else test)
        if validation + calibration >= left:
            raise DataError("split.validation, split.calibration and split.test leave nothing to train on: lower them")
        _draw(parts, table, "calibration", calibration, left, seed + 1)
        _draw(parts, table, "validation", validation, left - calibration, seed + 2)
    _check(parts, table, split_column, tested=bool(split_column or test_column or folds or test))
    if train_share < 1:
        _leave_out(parts, table, train_share, seed)
    return parts


def _kept_whole(table: Table) -> np.ndarray | None:
    """Names (N,) of what is never torn apart: blocks, or groups; None: each photograph by itself."""
    return table.groups if table.blocks is None else table.blocks


def _draw_missing(parts: np.ndarray, table: Table, validation: float, calibration: float, seed: int) -> None:
    """Move training rows to validation, and to calibration if nothing is there either, by their shares of all."""
    left = float(np.mean(parts == "train"))
    if not (parts == "calibration").any():
        _draw(parts, table, "calibration", min(calibration, left / 3), left, seed + 1)
        left = float(np.mean(parts == "train"))
    _draw(parts, table, "validation", min(validation, left / 3), left, seed + 2)


def said_of_validation(table: Table, split_column: str | None) -> list[str]:
    """What is to be said where a column names the parts of a split, and none is for validation."""
    if not split_column or (_from_column(table, split_column) == "validation").any():
        return []
    return ["no photograph is named for validation: it is drawn from those for training"]


def _draw(parts: np.ndarray, table: Table, part: str, share: float, of: float, seed: int) -> None:
    """Move `share` of the `of` that is left in train to `part`, whole groups at a time."""
    if share == 0:
        return
    rows = np.flatnonzero(parts == "train")
    whole = _kept_whole(table)
    groups = None if whole is None else whole[rows]
    pieces = len(rows) if groups is None else len(np.unique(groups))
    if pieces < 2:
        kind = "photographs" if groups is None else "groups"
        raise DataError(f"too few {kind} ({pieces} left) to draw the {part} set: add data or set split.{part} lower")
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    share = min(max(share / of, 1 / pieces), 1 - 1 / pieces)
    _, drawn = next(splitter(n_splits=1, test_size=share, random_state=seed % 2**32).split(rows, groups=groups))
    parts[rows[drawn]] = part


def _leave_out(parts: np.ndarray, table: Table, share: float, seed: int) -> None:
    """Use `share` of the training groups, the first in one order for all shares."""
    rows = np.flatnonzero(parts == "train")
    whole = _kept_whole(table)
    owners = rows if whole is None else whole[rows]
    order = np.random.default_rng([seed, 3]).permutation(np.unique(owners))
    used = round(share * len(order))
    if used < 2:
        kind = "photographs" if whole is None else "groups"
        least = f"choose at least {np.ceil(200 / len(order)) / 100:g}, or " if len(order) > 2 else ""
        raise DataError(f"split.train_share={share:g} of {len(order)} training {kind} leaves {used}: {least}add data")
    parts[rows[~np.isin(owners, order[:used])]] = UNUSED


def fold_numbers(targets: np.ndarray, groups: np.ndarray | None, folds: int, seed: int = 0) -> np.ndarray:
    """The fold of each photograph (N,), from 0: test sets that hold every photograph once, all concentrations in each.

    Args:
        targets: Concentrations (N,).
        groups: Specimens (N,), which are not torn apart; None where each photograph is one.
        seed: As `seed=` of a run: `twostage crossval` has these folds.

    Raises:
        DataError: There are more folds than photographs or specimens.

    >>> fold_numbers(np.array([1.0, 1, 5, 5]), np.array(["a", "a", "b", "b"]), 2).tolist()
    [1, 1, 0, 0]
    """
    pieces = len(targets) if groups is None else len(np.unique(groups))
    if pieces < folds:
        kind = "photographs" if groups is None else "groups"
        raise DataError(f"{pieces} {kind} are fewer than split.folds={folds}: choose at most {pieces}")
    inner = np.quantile(targets, np.linspace(0, 1, max(2, min(9, pieces // folds + 1)))[1:-1])
    strata = np.searchsorted(inner, targets)
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    numbers = np.empty(len(targets), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a stratum of fewer photographs than folds is all right
        parts = splitter(folds, shuffle=True, random_state=seed).split(strata, strata, groups)
        for number, (_, rows) in enumerate(parts):
            numbers[rows] = number
    return numbers


def _from_column(table: Table, column: str) -> np.ndarray:
    words = np.array([PART_CALLED.get(word, word) for word in np.char.lower(table.columns[column])])
    unknown = sorted(set(words) - set(PARTS))
    if unknown:
        raise DataError(f"column '{column}' holds {some(unknown)}; allowed are {', '.join(PARTS)}")
    return words.astype("<U11")


def _rows_with(table: Table, column: str, values: list[str], decimal: str | None) -> np.ndarray:
    cells = table.columns[column]
    present, rows = set(cells), np.isin(cells, values)
    if not values:
        raise DataError(f"split.column={column} needs split.test_values=[...]; it holds {some(sorted(present), 8)}")
    for value in values:
        equal = _rows_equal(cells, value, decimal) if value not in present else rows
        rows = rows | equal
        if not equal.any():
            raise DataError(f"split.test_values: '{value}' is not in column '{column}'; {suggest(value, present)}")
    if rows.all():
        raise DataError(f"split.test_values covers every row of column '{column}': nothing is left to train on")
    return rows


def _rows_equal(cells: np.ndarray, value: str, decimal: str | None) -> np.ndarray:
    """Where a column says the same number as a value, which may lack the unit: "100" for 100.0 or 100 ppm."""
    texts = [str(cell) for cell in cells]
    try:
        column = read_numbers(texts, texts, "", decimal=decimal)
        given = read_numbers([value], [value], "", decimal=column.decimal)
    except DataError:  # a text, then, that is not there
        return np.zeros(len(cells), bool)
    same = (given.before, given.unit) in (("", ""), (column.before, column.unit))
    return np.asarray((column.values == given.values[0]) & same)


def _check(parts: np.ndarray, table: Table, split_column: str | None, tested: bool) -> None:
    for part in ("train", "validation", "test") if tested else ("train", "validation"):
        if not (parts == part).any():
            found = f"the {part} set is empty ({len(table)} photographs in all): "
            if table.split_column:
                raise DataError(f"{found}no folder {part}/ holds photographs")
            if split_column:
                raise DataError(
                    f"{found}write {part} into rows of column '{split_column}', or leave data.split_column out"
                )
            raise DataError(f"{found}add data or change split.*")
    if (whole := _kept_whole(table)) is not None:
        parts_of = pd.Series(parts).groupby(whole).nunique()  # sorted by group
        straddling = [str(group) for group in parts_of.index[parts_of > 1]]
        if straddling:
            shown = [_where(group, whole, table, parts) for group in straddling[:3]]
            raise DataError(
                f"{len(straddling)} groups lie in more than one part of the split: "
                f"{some(shown + straddling[3:], 3)}; photographs of one group must stay together"
            )


def _where(group: str, groups: np.ndarray, table: Table, parts: np.ndarray) -> str:
    """A group, with one of its photographs in each part that it lies in: "g9 (a.png in test, b.png in train)"."""
    rows = np.flatnonzero(groups == group)
    firsts = [rows[parts[rows] == part][0] for part in np.unique(parts[rows])]
    return f"{group} ({', '.join(f'{table.images[i]} in {parts[i]}' for i in firsts)})"


def splits_table(table: Table, parts: np.ndarray, digests: list[str], skipped: dict[str, str]) -> str:
    """Which photograph went where, as CSV; those that were left out are listed as "skipped" with the reason.

    `digests` tell what each file contains, so that a run that goes on can see that it still does.
    """
    frame = pd.DataFrame({"image": table.images, "target": table.targets, "split": parts})
    if table.groups is not None:
        frame.insert(2, "group", table.groups)
    if table.blocks is not None:
        frame["block"] = table.blocks
    if digests:
        frame["content"] = digests
    if skipped:
        left_out = pd.DataFrame({"image": list(skipped), "split": "skipped", "reason": list(skipped.values())})
        frame = pd.concat([frame, left_out], ignore_index=True)
    return str(frame.to_csv(index=False))


def read_names(source: Path | io.StringIO) -> pd.DataFrame:
    """A table that was written here, every cell as text; a name that is no Unicode keeps its bytes."""
    return pd.read_csv(source, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")


def read_splits(path: Path) -> str:
    """What `splits_table` gave, as text, of a run that was made before.

    Raises:
        RunError: It is not there, or not what was written.
    """
    try:
        text = text_of(path)
        _rows(text)[["target", "split"]]
    except (OSError, ValueError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no table of splits"
        raise RunError(
            f"{path} cannot be read ({reason}), so it is not known which photographs made the run: restore it, or "
            f"choose another run=NAME"
        ) from error
    return text


def _rows(table: str) -> pd.DataFrame:
    return read_names(io.StringIO(table)).drop_duplicates("image").set_index("image")


def changed_photographs(table: str, before: str, leave_out: tuple[str, ...] = ()) -> list[str]:
    """What differs between two tables of splits, as CSV: "a.png (target 80.0 -> 81.0)", "b.png (new)", ...

    The order of their rows does not count, nor do columns that only one has, or that are to be left out. What was
    merely drawn into another part, because something else changed, comes last.
    """
    new, old = _rows(table), _rows(before)
    changed = [f"{image} (no longer there)" for image in old.index.difference(new.index, sort=False)]
    changed += [f"{image} (new)" for image in new.index.difference(old.index, sort=False)]
    both = [image for image in new.index if image in old.index]
    columns = [name for name in new.columns if name in old.columns and name not in leave_out]
    now, was = new.loc[both, columns], old.loc[both, columns]
    differs = now.to_numpy() != was.to_numpy()
    drawn = differs[:, [name == "split" for name in columns]].any(axis=1) & (differs.sum(axis=1) == 1)
    for row in [*np.flatnonzero(differs.any(axis=1) & ~drawn), *np.flatnonzero(drawn)]:
        pairs = zip(columns, was.iloc[row], now.iloc[row], strict=True)
        changed.append(f"{both[row]} ({', '.join(f'{name} {a} -> {b}' for name, a, b in pairs if a != b)})")
    return changed
