"""One file under two names, and one specimen written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

import numpy as np

from twostage.errors import DataError, some
from twostage.tables.table import Table

__all__ = ["alike_names", "contradicting_copies", "copies_message"]


def contradicting_copies(
    table: Table, digests: list[str], unreadable: Collection[int], on_error: str
) -> dict[int, str]:
    """Rows of a table whose file is that of another row with another concentration, with the reason.

    Args:
        digests: Of the content of each file; the same file under one path is no copy.
        unreadable: Rows that are left out anyway.
        on_error: "skip" where they are to be left out.

    Raises:
        DataError: There are some, and they are not to be left out.
    """
    bad = {}
    for rows in _copies(table, digests):
        rows = [i for i in rows if i not in unreadable]
        different = {table.targets[i]: f"{table.images[i]} ({table.targets[i]:g})" for i in reversed(rows)}
        if len(different) > 1:
            said = " and ".join([*different.values()][::-1][:3])
            bad.update(dict.fromkeys(rows, f"the same file with different concentrations: {said}"))
    if bad and on_error == "stop":
        raise DataError(
            f"{some(dict.fromkeys(bad.values()), 2)}; one of them at least is wrong: correct or remove it, or leave "
            f"all such copies out with data.on_target_error=skip"
        )
    return bad


def copies_message(table: Table, digests: list[str]) -> list[str]:
    """What is to be said about files that are there under two names, with one concentration."""
    found = [rows for rows in _copies(table, digests) if len(set(table.targets[rows])) == 1]
    if not found:
        return []
    shown = some((" and ".join(table.images[i] for i in rows[:2]) for rows in found), 2)
    count = "one photograph is" if len(found) == 1 else f"{len(found)} photographs are"
    return [f"{count} there under more than one name, and counts more than others: {shown}"]


def _copies(table: Table, digests: list[str]) -> list[list[int]]:
    """Rows with the same content, at different paths; a file that cannot be read has none."""
    by_content = defaultdict(list)
    for i, digest in enumerate(digests):
        by_content[digest].append(i)
    return [
        rows
        for digest, rows in by_content.items()
        if len({table.paths[i] for i in rows}) > 1 and not digest.startswith("not readable")
    ]


def alike_names(groups: np.ndarray | None) -> list[str]:
    """What is to be said about specimens that are called alike but for case, spaces, hyphens and leading zeros."""
    by_key = defaultdict(list)
    for name in [] if groups is None else np.unique(groups):
        by_key[_plain(str(name))].append(str(name))
    alike = [names for names in by_key.values() if len(names) > 1]
    if not alike:
        return []
    shown = some((_listed(names) for names in alike), 3)
    return [
        f"specimens are called alike and count as different ones, on both sides of the split perhaps: {shown}; where "
        f"they are the same, write their names in one way"
    ]


def _plain(name: str) -> str:
    letters = re.sub(r"[\s_\-.]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()
    letters = re.sub(r"(?<![0-9])0+(?=[0-9])", "", letters)
    return re.sub(r"(?<=[0-9]) (?![0-9])|(?<![0-9]) (?=.)", "", letters)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
