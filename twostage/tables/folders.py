"""Photographs in folders: what their paths say of concentration, specimen and split."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from twostage.decoding.kinds import SUFFIXES
from twostage.errors import ConfigError, DataError, NotThereError, number_of, some
from twostage.files import given_path
from twostage.tables.files_below import Found, by_parts, walk
from twostage.tables.marks import DECIMALS, SPACES, THOUSANDS
from twostage.tables.numbers import COUNTED, read_numbers
from twostage.tables.parts import PART_CALLED
from twostage.tables.table import Table
from twostage.tables.texts import Paths, Texts

__all__ = ["find_photographs", "listed_in", "read_folder", "read_photographs"]

NUMBER = "[0-9]+(?:[.,][0-9]+)*"
CAMERAS = frozenset("dsc dscf dscn img mvi p pic pxl scan screenshot".split())
"""How cameras call what they number."""


@dataclass
class _Said:
    """What the paths say: each photograph's concentration as text, its specimen, its part of the split."""

    paths: list[str]
    texts: list[str]
    groups: list[str] | None = None
    parts: list[str] | None = None


def read_folder(root: str | Path, pattern: str | None = None, decimal: str | None = None) -> Table:
    """Photographs whose path says the concentration.

    One folder for each: root/123.5/a.jpg. Above may lie train/, validation/ and test/, below one folder for each
    specimen. Or `pattern` is a regular expression with ``(?P<target>...)``, and maybe ``(?P<group>...)``, that finds
    both in the path below `root`.

    Raises:
        DataError: No such folder, names that are no numbers, or no photographs.
    """
    root, found = _walked(root, "one folder per concentration, such as 123.5/", "123.5/a.jpg")
    notes = found.notes(root)
    paths = found.photographs
    said = _by_pattern(root, paths, pattern, notes) if pattern else _by_folders(root, paths, notes)
    values, unit = _concentrations(root, said.texts, pattern, decimal, notes)
    return Table(
        said.paths,
        Paths(root / path for path in said.paths),
        np.array([values[text] for text in said.texts], np.float64),
        None if said.groups is None else np.array(said.groups),
        {} if said.parts is None else {"split": np.array(said.parts)},
        split_column=None if said.parts is None else "split",
        unit=unit,
        notes=notes,
    )


def read_photographs(root: str | Path) -> Table:
    """All photographs below a folder, whatever their paths say, each with a target of zero.

    Raises:
        DataError: No such folder, or no photographs.
    """
    root, found = _walked(root, "photographs", "a.jpg")
    paths = Paths(root / name for name in found.photographs)
    return Table(found.photographs, paths, np.zeros(len(paths)), notes=found.notes(root))


def _walked(root: str | Path, holds: str, example: str) -> tuple[Path, Found]:
    """The folder that data.root names, and what lies below it."""
    root = given_path(root, "data.root")
    if not root.is_dir():
        raise NotThereError(f"{root}: no such folder; data.root must hold {holds}")
    found = walk(root)
    if not found.photographs:
        left = "".join(f"; {note}" for note in found.notes(root))
        raise DataError(
            f"{root}: no photographs; expected files such as {root}/{example} ({some(sorted(SUFFIXES), 9)}){left}"
        )
    return root, found


def _concentrations(
    root: Path, texts: Sequence[str], pattern: str | None, decimal: str | None, notes: list[str]
) -> tuple[dict[str, float], str]:
    """What each of the names says as a number, all read in the same way, and the unit."""
    names = sorted(set(texts))
    what = f"{root}: what data.pattern finds" if pattern else f"{root}: the names of the folders"
    numbers = read_numbers(names, [""] * len(names), what, decimal=decimal, exponent=False)
    bad = [name for name, value in zip(names, numbers.values, strict=True) if np.isnan(value)]
    if bad:
        if pattern:
            raise DataError(f"{what} as target must be finite numbers in one unit: {some(map(repr, bad))} are none")
        raise DataError(
            f"{root / bad[0]}: the folder's name must be a concentration, a finite number such as 123.5 (digits 0 to "
            f"9, a decimal point or comma, and a unit if all have it): rename the folder, say with data.pattern where "
            f"the paths have it, or list the photographs in a table (data=csv)"
        )
    notes += numbers.notes
    return dict(zip(names, numbers.values.tolist(), strict=True)), numbers.unit


def _by_pattern(root: Path, paths: list[str], pattern: str, notes: list[str]) -> _Said:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"data.pattern={pattern} is no regular expression: {error}") from error
    known = set(expression.groupindex)
    if "target" not in known or known - {"target", "group"}:
        raise ConfigError(
            f"data.pattern={pattern} must say where the concentration is, with (?P<target>...), and may say with "
            f"(?P<group>...) where the specimen is; other names are not known"
        )
    found = [expression.search(path) for path in paths]
    for name in sorted(known):
        without = [path for path, one in zip(paths, found, strict=True) if one is None or not one[name]]
        if without:
            raise DataError(
                f"{root}: data.pattern={pattern} finds no {name} in {len(without)} of {len(paths)} photographs, for "
                f"instance {some(without, 2)}: it must find it in all of them"
            )
    matches = [one for one in found if one is not None]
    _refuse_parts_of_numbers(root, pattern, matches, notes)
    texts = [one["target"] for one in matches]
    groups = [one["group"] for one in matches] if "group" in known else None
    if groups and len({*zip(texts, groups, strict=True)}) > len(set(groups)):  # as folders: a specimen has one
        groups = [f"{text}/{group}" for text, group in zip(texts, groups, strict=True)]
        notes.append(
            f"{root}: what data.pattern finds as group is there at several concentrations, and is another specimen at "
            f"each: {len(set(groups))}, such as '{groups[0]}'; a table may name specimens otherwise"
        )
    return _Said(paths, texts, groups)


def _refuse_parts_of_numbers(root: Path, pattern: str, matches: list[re.Match[str]], notes: list[str]) -> None:
    """Refuse targets that are cut out of a longer number, and tell of hyphens before them, which may be signs."""
    mark = f"[{DECIMALS}{THOUSANDS.strip(SPACES)}]?"
    for one in matches:
        text, ends = one.string, one.span("target")
        if any(re.search(f"[0-9]{mark}$", text[:at]) and re.match(f"{mark}[0-9]", text[at:]) for at in ends):
            raise DataError(
                f"{root}: data.pattern={pattern} finds the target '{one['target']}' in {text}, which is only a part of "
                f"the number there: write a pattern that finds all of it, such as (?P<target>{NUMBER})"
            )
    signed = [one for one in matches if one.string[: one.start("target")].endswith(("-", "\u2212"))]
    if signed:
        notes.append(
            f"{root}: a hyphen stands before the target that data.pattern finds in {len(signed)} of {len(matches)} "
            f"paths, and is no sign: {signed[0].string} is read as {signed[0]['target']}"
        )


def _by_folders(root: Path, paths: list[str], notes: list[str]) -> _Said:
    """Concentration, specimen and part from the folders' names."""
    deep = [path for path in paths if "/" in path]
    first = {path.split("/")[0] for path in deep}
    in_parts = [name for name in sorted(first) if name.casefold() in PART_CALLED]
    if in_parts and len(in_parts) < len(first):
        others = some(sorted(first - set(in_parts)), 3)
        raise DataError(f"{root}: beside {some(in_parts)}, which name parts of the split, lie other folders: {others}")
    above = 1 if in_parts else 0
    used = [path for path in deep if path.count("/") > above]
    loose = [path for path in paths if path.count("/") <= above]
    if not used:
        raise DataError(_no_levels(root, loose))
    if loose:
        notes.append(
            f"{root}: {number_of(len(loose), 'photograph that lies', 'photographs that lie')} in no folder of a "
            f"concentration {'is' if len(loose) == 1 else 'are'} left out: {some(loose, 2)}"
        )
    parts = [PART_CALLED[path.split("/")[0].casefold()] for path in used] if in_parts else None
    if in_parts:
        notes.append(f"{root}: {', '.join(in_parts)} are read as the parts of the split")
    below = [path.split("/")[above:] for path in used]
    return _Said(used, [names[0] for names in below], _specimens(root, below, notes), parts)


def _specimens(root: Path, below: list[list[str]], notes: list[str]) -> list[str] | None:
    """The folder below the concentration, which holds one specimen; none where it is the same in all."""
    folders = {names[1] if len(names) > 2 else "" for names in below}
    inside = {(names[0], names[1] if len(names) > 2 else "") for names in below}
    if folders == {""} or (len(folders) == 1 and len(inside) > 1):
        return None
    groups = ["/".join(names[:2]) for names in below]
    notes.append(
        f"{root}: the folders below the concentrations are read as specimens: {len(set(groups))}, such as '{groups[0]}'"
    )
    return groups


def _no_levels(root: Path, loose: list[str]) -> str:
    said = (
        f"{root}: no photographs in folders of concentrations, such as {root}/123.5/a.jpg; {len(loose)} "
        f"{'lies' if len(loose) == 1 else 'lie'} there loose"
    )
    for pattern in _patterns(Path(loose[0]).stem):
        try:
            found = _by_pattern(root, loose, pattern, [])
            values = read_numbers(sorted(set(found.texts)), [""] * len(set(found.texts)), "", exponent=False).values
        except DataError:
            continue
        if not np.isnan(values).any() and not _are_counted(sorted(values.tolist())):
            return f"{said}; where their names say it, write for instance data.pattern='{pattern}'"
    return f"{said}; list them in a table (data=csv), or say with data.pattern where their names have it"


def _patterns(stem: str) -> list[str]:
    """Patterns by which a name may say its concentration: a number with letters after it, as of a unit, or before."""
    units, names = [], []
    for number in re.finditer(NUMBER, stem):
        before, after = re.search(r"[^0-9]*$", stem[: number.start()]), re.match(r"[^0-9_\W]*", stem[number.end() :])
        ahead, unit = before[0] if before else "", after[0] if after else ""
        pattern = f"{re.escape(ahead)}(?P<target>{NUMBER}){re.escape(unit)}"
        words = re.findall(r"[^0-9_\W]+", ahead)
        if unit:
            units.append(pattern)
        elif words and words[-1].casefold() not in COUNTED | CAMERAS and not re.match("0[0-9]", number[0]):
            names.append(pattern)
    return units + names


def _are_counted(values: list[float]) -> bool:
    """Are these 0, 1, 2, ... or 1, 2, 3, ..., as photographs are numbered?"""
    return values[0] in (0, 1) and values == [values[0] + i for i in range(len(values))]


def find_photographs(source: str) -> Table:
    """Photographs to predict: one file, every photograph below a folder, or a glob pattern such as 'photos/*.png'.

    Raises:
        DataError: Nothing there.
    """
    path, notes = given_path(source, "input"), list[str]()
    if path.is_dir():
        found = walk(path)
        notes = found.notes(path)
        texts = [str(path / name) for name in found.photographs]
        if not texts:
            left = "".join(f"; {note}" for note in notes)
            raise DataError(f"{path}: no photographs in this folder ({some(sorted(SUFFIXES), 9)}){left}")
    elif path.exists():
        texts = [str(path)]
    else:
        names = (str(Path(name)) for name in glob.iglob(str(path), recursive=True) if os.path.isfile(name))
        texts = sorted(names, key=by_parts)
        if not texts:
            raise DataError(f"{source}: no such photograph, folder or table, and no file matches it as a pattern")
    return Table(Texts(texts), Paths(texts), np.full(len(texts), np.nan), notes=notes)


def listed_in(stream: BinaryIO) -> Table:
    """Photographs whose paths a stream names: one a line, or each followed by a zero byte, as ``find -print0`` writes.

    Raises:
        DataError: It names none.
    """
    content = stream.read()
    lines = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    names = [os.fsdecode(line) for line in lines if line]
    if not names:
        raise DataError("input=-: standard input names no photograph; it takes one path a line")
    return Table(Texts(names), Paths(names), np.full(len(names), np.nan))
