"""What the cells of one column, or the names of folders, say as numbers: all are read together, in one way.

A decimal point or comma, separators of thousands, a unit or a name that all cells share. Where a column can be read in
two ways it is refused: "1,234" alone may be 1234 or 1.234.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twostage.errors import DataError
from twostage.tables.marks import DECIMALS, SPACES, THOUSANDS, Cell, are_thousands, decimal_marks, value_of
from twostage.tables.texts import Texts

__all__ = ["COUNTED", "Numbers", "is_number", "read_numbers"]

LETTER = r"[^\W\d_]"
BEFORE = rf"(?P<before>{LETTER}(?:{LETTER}|[{SPACES}._:=/%-])*?)"
DIGITS = rf"(?P<digits>[.,]?[0-9]+(?:[._,{THOUSANDS}][0-9]+)*[.,]?)(?P<exponent>[eE][+-]?[0-9]+)?"
SUPERSCRIPTS = "\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u207a\u207b\u2080-\u2089"
# digits belong to a unit after a slash or a power, and as in g/cm3: 12h30, 0x10 and 5 to 10 are no numbers with a unit
AFTER = (
    rf"(?P<after>(?![eE][+-]?[0-9])(?:{LETTER}|[%\u2030\u00b0])"
    rf"(?:{LETTER}|[{SPACES}.%\u00b0/\u00b7^()\[\]{SUPERSCRIPTS}-]|(?<=[/^-])[0-9]+|(?<=[A-Za-z]m)[23](?![\w]))*)"
)
CELL = re.compile(rf"{BEFORE}?(?P<sign>[+\u2212-]?){DIGITS}[{SPACES}_]*{AFTER}?")
UNIT_DIGITS = frozenset("0123456789\u00b2\u00b3\u00b9" + "".join(map(chr, range(0x2070, 0x208F))))
COUNTED = frozenset(
    "batch class day frame group image img level lot no nr photo picture plate probe rep replicate run s sample serie "
    "series set specimen tag test train well".split()
)
"""What is numbered and not measured: "specimen 3" is no concentration of 3."""
QUANTITIES = frozenset({"ph"})
"""What is written without a space before the number; other letters there make it a code, such as S3."""


@dataclass(frozen=True)
class Numbers:
    """N numbers: `values` (N,) float64, NaN where a cell is none, or none in the unit of most cells.

    `before` and `unit` are what all other cells have around their digits, `decimal` is the decimal mark, None where the
    cells show none; `notes` say what a reader should know.
    """

    values: np.ndarray
    before: str = ""
    unit: str = ""
    decimal: str | None = None
    notes: tuple[str, ...] = ()


def is_number(cell: str) -> bool:
    """Is a cell, by itself, a number in one way or another?

    >>> [is_number(cell) for cell in ("-1,5", "1'000", "12_5", "5 mg/L", "-1-1")]
    [True, True, False, False, False]
    """
    taken = _taken_apart(cell, True)
    return taken is not None and taken.shared == ("", "") and any(_is_finite(taken, {mark}) for mark in DECIMALS)


def read_numbers(
    cells: Sequence[str],
    places: Sequence[str],
    what: str,
    *,
    decimal: str | None = None,
    likely: str = "",
    exponent: bool = True,
    option: str = "data.decimal",
    typed: Sequence[bool] | None = None,
) -> Numbers:
    """Read N cells as numbers, all in the same way.

    A separator before exactly three digits is one of thousands where it stands beside cells below 1,000 that have none;
    a decimal mark where any cell shows that. Else the column is refused.

    Args:
        places: Where each cell is, for messages: "row 4".
        what: What they are, for messages: "t.csv: column 'target'".
        decimal: The decimal mark, "." or ",", where the user says it.
        likely: The decimal mark of a program that separates columns as this table's are separated, "" if unknown.
        exponent: Is ``1.2e-05`` a number? Programs write it into cells; as a person's name for a folder it is a code.
        option: How the user says `decimal`.
        typed: Which cells are numbers in the file itself, written here with a decimal point: they have one reading,
            and tell nothing of how the texts beside them are written.

    Raises:
        DataError: Two readings are possible, or cells share no unit.

    >>> read_numbers(["2,520", "911"], ["row 2", "row 3"], "column 'c'").values.tolist()
    [2520.0, 911.0]
    >>> read_numbers(["2,5 mg/L", "911 mg/L"], ["row 2", "row 3"], "column 'c'").unit
    'mg/L'
    """
    apart = {cell: _taken_apart(cell, exponent) for cell in dict.fromkeys(cells)}  # a table has many alike
    taken = [apart[cell] for cell in cells]
    shared = _shared(taken, cells, places, what)
    alike = [one if one is not None and one.shared == shared else None for one in taken]
    read = [i for i, one in enumerate(alike) if one is not None]
    found = [one for one in alike if one is not None]
    shown = Texts(f"{places[i]} '{' '.join(cells[i].split())[:40]}'".strip() for i in read)
    notes: list[str] = []
    clear = [typed is not None and typed[i] for i in read]
    texts = [one for one, is_number in zip(found, clear, strict=True) if not is_number]
    if decimal:
        marks = {decimal}
    else:
        shown = Texts(one for one, is_number in zip(shown, clear, strict=True) if not is_number)
        marks = decimal_marks(texts, shown, what, likely, option, notes, any(clear))
    underscore = "_" if are_thousands("_", texts) else ""
    values = np.full(len(cells), math.nan)
    for i, one, is_number in zip(read, found, clear, strict=True):
        values[i] = value_of(one, {"."} if is_number else marks, "" if is_number else underscore)
    before, unit = shared
    if before and not unit and before.rstrip(" _=:.").casefold() not in QUANTITIES:
        _refuse_counted(values, before, what)
    if any(shared):
        said = " and ".join(f"'{text}' {side} it" for text, side in ((before, "before"), (unit, "after")) if text)
        notes.append(f"{what}: every number has {said}, which is left out")
    mark = next(iter(marks)) if len(marks) == 1 else None
    return Numbers(values, before, unit, mark, tuple(notes))


def _refuse_counted(values: np.ndarray, before: str, what: str) -> None:
    """Refuse what may be no measurement: things with a name and the numbers 1, 2, 3, ..."""
    distinct = sorted({value for value in values.tolist() if math.isfinite(value)})
    if len(distinct) > 2 and distinct[0] in (0, 1) and distinct == [distinct[0] + i for i in range(len(distinct))]:
        last = f"{distinct[-1]:g}"
        raise DataError(
            f"{what} read '{before}' with {distinct[0]:g} to {last}, as things are numbered: concentrations must be "
            f"written with their unit, or alone"
        )


def _taken_apart(cell: str, exponent: bool) -> Cell | None:
    cell = cell.strip().replace("\u03bc", "\u00b5")  # the Greek letter, for the micro sign
    found = CELL.fullmatch(cell)
    if found is None or (found["exponent"] and not exponent):
        return None
    before, after = (found["before"] or "").strip(), " ".join((found["after"] or "").split())
    if found["sign"] and re.search(r"[\w.]$", found["before"] or ""):  # nitrite-80: a minus or a hyphen
        return None
    if any(unicodedata.numeric(one, None) is not None and one not in UNIT_DIGITS for one in before + after):  # 12½, 5万
        return None
    name = before.rstrip(" ._:=-").casefold()
    if name in COUNTED or (name not in QUANTITIES and re.search(r"\w$", found["before"] or "") and before[-1] != "_"):
        return None
    sign = "-" if found["sign"] in ("-", "\u2212") else ""
    return Cell((before, after), sign, found["digits"], found["exponent"] or "")


def _shared(taken: Sequence[Cell | None], cells: Sequence[str], places: Sequence[str], what: str) -> tuple[str, str]:
    """What most numbers have before and after their digits; there must be one such."""
    counts = Counter(one.shared for one in taken if one is not None).most_common(2)
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        two = [next(i for i, one in enumerate(taken) if one and one.shared == shared) for shared, _ in counts]
        shown = " and ".join(f"{places[i]} '{cells[i]}'".strip() for i in two)
        raise DataError(
            f"{what} must be finite numbers in one unit, written with every one of them or with none: {shown} differ"
        )
    return counts[0][0] if counts else ("", "")


def _is_finite(cell: Cell, decimals: set[str]) -> bool:
    return math.isfinite(value_of(cell, decimals, ""))
