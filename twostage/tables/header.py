"""Which row of a table names its columns, and which column is meant by a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from twostage.decoding.kinds import SUFFIXES
from twostage.errors import DataError, some
from twostage.tables.numbers import is_number

__all__ = ["LONGEST_TITLE", "Row", "column_called", "find_header", "is_photograph", "named_columns", "without_header"]

LONGEST_TITLE = 100
"""A header is looked for in so many rows."""
USUAL = frozenset(
    "target concentration conc value label y file filename file_name filepath path image photo picture img".split()
)
"""What people call the two columns, if not as here."""
KINDS = ("data.image_column", "data.target_column", "image_column", "target_column")
"""Options whose column can be told by what it holds."""
Row = tuple[int, list[str]]
"""A row's number in the file, from 1, and its cells."""


def _key(name: str) -> str:
    """How a column is called, whatever the case; numpy writes "# " before the first."""
    return name.removeprefix("#").strip().casefold()


def find_header(rows: Sequence[Row], required: list[str]) -> int | None:
    """The first row in which all required columns are named, as written or else in another letter case."""
    for exactly in (True, False):
        for i, (_, cells) in enumerate(rows[:LONGEST_TITLE]):
            names = cells if exactly else [*map(_key, cells)]
            if required and all((name if exactly else _key(name)) in names for name in required):
                return i
    return None


def column_called(name: str, names: list[str], path: Path, notes: list[str]) -> str | None:
    """The one column of that name, in another letter case if need be, which is said; None if there is no such one."""
    alike = [other for other in names if other == name] or [other for other in names if _key(other) == _key(name)]
    if len(alike) != 1:
        return None
    if alike[0] != name:
        notes.append(f"{path}: column '{alike[0]}' is taken for '{name}'")
    return alike[0]


def without_header(
    path: Path, rows: list[Row], columns: dict[str, str], photograph: str, number: str, notes: list[str]
) -> tuple[list[str], list[Row]]:
    """What the first row is, where no row names the columns: the data begin there, or columns are called otherwise."""
    cells = [cell for cell in rows[0][1] if cell]
    named = [*map(is_photograph, cells)]
    if not columns or not any(named):
        return _nearest_header(rows, columns)
    others = [cell for cell, is_name in zip(cells, named, strict=True) if not is_name]
    expected = {photograph, number} - {""}
    fits = len(others) == len(expected) - 1 or not (others or number in columns)
    clear = sum(named) == 1 and set(columns) <= expected and fits
    if not clear or not all(map(is_number, others)):
        shown = some((f"'{cell}'" for cell in cells), 4)
        raise DataError(
            f"{path}: the table has no header: row {rows[0][0]} reads {shown}; the first line must name the columns "
            f"{some(columns)}"
        )
    names = [photograph if is_photograph(cell) else "" for cell in rows[0][1]]
    names = [name or (number if cell else "") for name, cell in zip(names, rows[0][1], strict=True)]
    notes.append(f"{path}: the table has no header; its columns are read as {some(filter(None, names))}")
    return names, rows


def _nearest_header(rows: list[Row], columns: dict[str, str]) -> tuple[list[str], list[Row]]:
    """The row that names most of the required columns, the first among equals; a row of one cell is a title."""
    several = any(len([*filter(None, cells)]) > 1 for _, cells in rows[:LONGEST_TITLE])
    found = [
        -1 if several and len([*filter(None, cells)]) < 2 else sum(_key(name) in map(_key, cells) for name in columns)
        for _, cells in rows[:LONGEST_TITLE]
    ]
    at = found.index(max(found))
    return rows[at][1], rows[at + 1 :]


def named_columns(
    path: Path, names: list[str], body: Sequence[Row], columns: dict[str, str], photograph: str, notes: list[str]
) -> list[str]:
    """The header with the required columns called as they are required.

    Raises:
        DataError: One is missing, or there twice.
    """
    names = list(names)
    for name, option in columns.items():
        if name not in names:
            alike = [i for i, other in enumerate(names) if _key(other) == _key(name)]
            if len(alike) == 1:
                notes.append(f"{path}: column '{names[alike[0]]}' is taken for {option}={name}")
                names[alike[0]] = name
            elif alike:
                found = some(repr(names[i]) for i in alike)
                raise DataError(f"{path}: no column '{name}', but {found}: set {option}=")
        if names.count(name) > 1:
            raise DataError(f"{path}: two columns are named '{name}': rename one of them")
    missing = {name: option for name, option in columns.items() if name not in names}
    if missing:
        raise DataError(_no_columns(path, names, body, missing, photograph))
    return names


def _no_columns(path: Path, names: list[str], body: Sequence[Row], missing: dict[str, str], photograph: str) -> str:
    """What to say where columns are missing, with those that may be meant: by their names, or by what they hold."""
    what = f"{path}: no column {' and '.join(map(repr, missing))}"
    if len(names) == 1:
        return f"{what}; its header reads '{names[0][:80]}'; columns are separated by comma, semicolon, tab or |"
    what += f"; its columns are {some(filter(None, names), 8)}"
    meant = []
    for name, option in missing.items():
        near = get_close_matches(name, [*filter(None, names)], n=1, cutoff=0.6)
        holds = is_photograph if name == photograph else is_number
        fit = [other for i, other in enumerate(names) if other and _mostly(holds, i, body)] if option in KINDS else []
        fit = near or [other for other in fit if _key(other) in USUAL] or fit
        meant += [f"{option}={fit[0]}"] if len(fit) == 1 else []
    return f"{what}; did you mean {' '.join(meant)}?" if meant else what


def _mostly(holds: Callable[[str], bool], column: int, body: Sequence[Row]) -> bool:
    return len(body) < 2 * sum(len(cells) > column and holds(cells[column]) for _, cells in body)


def is_photograph(cell: str) -> bool:
    """Is a cell called as a photograph is?"""
    return Path(cell.replace("\\", "/")).suffix.lower() in SUFFIXES
