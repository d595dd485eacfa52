"""Where the photographs are that a table names, also where their names were written on another machine."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from twostage.decoding.kinds import SUFFIXES
from twostage.errors import DataError, some
from twostage.tables.files_below import walk
from twostage.tables.texts import Paths

__all__ = ["Places"]

MOST = 200_000
"""Files below a folder among which a name is looked for; a whole disk would take too long."""


@dataclass
class Places:
    r"""The folder where the names of a table start.

    A name leads to the file that it names. Where there is none, a photograph below the folder is taken whose path ends
    as the name does, or that is the end of the name; upper and lower case, ``\`` for ``/`` and a missing suffix make
    no difference. It must be the only one.
    """

    folder: Path

    def find(self, names: Sequence[str], places: Sequence[str]) -> tuple[Paths, list[str]]:
        """The path of each of N photographs, and what is to be said about those found otherwise than as written.

        Args:
            places: Where each name is, for messages: "row 4".

        Raises:
            DataError: Two photographs may be meant.
        """
        otherwise: list[str] = []

        def found() -> Iterator[Path]:
            for name, place in zip(names, places, strict=True):
                path = self.written(name)
                called = [] if os.path.exists(path) else self._called(name)  # no Path.exists: it may be no name at all
                if len(called) > 1:
                    raise DataError(
                        f"{place}: '{name}' may be {some(called, 3)} below {self.folder}: write the whole path"
                    )
                otherwise.extend(f"'{name}' as {one}" for one in called)
                yield self.folder / called[0] if called else path

        paths = Paths(found())
        if not otherwise:
            return paths, []
        return paths, [
            f"{len(otherwise)} of {len(names)} photographs were found otherwise than as written, such as {otherwise[0]}"
        ]

    def written(self, name: str) -> Path:
        """Where a name leads; backslashes lead there as well, unless a name has them."""
        path = self.folder / (Path(os.path.expanduser(name)) if name.startswith("~/") else Path(name))
        if "\\" in name and not os.path.exists(path):
            return self.folder / name.replace("\\", "/")
        return path

    def nearest(self, name: str) -> str:
        """The photograph below the folder that is called most alike; "" for none."""
        files = {Path(one).name: one for one in self._below}
        near = get_close_matches(name.replace("\\", "/").rpartition("/")[2], files, n=1)
        return files[near[0]] if near else ""

    @cached_property
    def _below(self) -> list[str]:
        return walk(self.folder, most=MOST).photographs

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[tuple[str, ...], str]]]:
        found = defaultdict(list)
        for path in self._below:
            parts = _parts(path)
            found[parts[-1]].append((parts, path))
            found[_stem(parts[-1])].append(((*parts[:-1], _stem(parts[-1])), path))
        return found

    def _called(self, name: str) -> list[str]:
        """Photographs below the folder that a name can mean: the ends of its path, the longest, or else its parents."""
        parts = _parts(name.removeprefix("~/"))
        candidates = self._by_name.get(parts[-1], []) if parts else []
        ends = [(len(one), path) for one, path in candidates if one == parts[-len(one) :]]
        longest = max((length for length, _ in ends), default=0)
        return [path for length, path in ends if length == longest] or [
            path for one, path in candidates if parts == one[-len(parts) :]
        ]


def _parts(path: str) -> tuple[str, ...]:
    """The parts of a path as they can be compared; Macs write é as two letters."""
    plain = unicodedata.normalize("NFC", path.replace("\\", "/")).casefold()
    return tuple(part for part in plain.split("/") if part not in ("", "."))


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix}" in SUFFIXES else name
