"""Which of point and comma is the decimal mark of a column, and which separates thousands."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from twostage.errors import DataError

__all__ = ["DECIMALS", "SPACES", "THOUSANDS", "Cell", "are_thousands", "decimal_marks", "value_of"]

DECIMALS = ".,"
SPACES = " \u00a0\u2009\u202f"
THOUSANDS = "'\u2019" + SPACES
"""What separates thousands and nothing else. A point or a comma may, too, and an underscore beside cells without."""


class Cell(NamedTuple):
    """A cell taken apart: what all share, and the digits with their marks."""

    shared: tuple[str, str]
    sign: str
    digits: str
    exponent: str


def decimal_marks(
    found: list[Cell],
    shown: Sequence[str],
    what: str,
    likely: str,
    option: str,
    notes: list[str],
    beside_numbers: bool = False,
) -> set[str]:
    """The decimal marks of a column: none, one, or both where people wrote with either.

    Args:
        shown: The cells with their places, for messages about `what`.
        likely: The decimal mark of a program that writes such a table, "" if unknown.
        option: How a user says which it is.
        notes: Where a separator of thousands was told by the column alone, that is added.
        beside_numbers: Are these the texts of a column that holds numbers of a workbook as well? Then they are what
            the program did not take for a number, and what stands beside them shows nothing.

    Raises:
        DataError: Two readings are possible.
    """
    proofs = {mark: [_proof(one, mark) for one in found] for mark in DECIMALS}
    marks: set[str] = set()
    for mark, other in (".,", ",."):
        role = _role(mark, other, proofs, found, likely)
        if beside_numbers and set(proofs[mark]) & set("dt?") == {"?"}:
            role = "doubtful"
        if role == "doubtful":
            raise DataError(_two_readings(found, shown, proofs[mark], mark, what, option))
        if role == "decimal":
            marks.add(mark)
        elif role and "t" not in proofs[other]:
            marks.add(other)
        if role == "thousands" and "t" not in proofs[mark] and "d" not in proofs[other]:
            first = proofs[mark].index("?")
            notes.append(
                f"{what}: '{mark}' is read as a separator of thousands, {shown[first]} as "
                f"{value_of(found[first], set(), ''):g}: {option}={mark} would say otherwise"
            )
    return marks


def _proof(cell: Cell, mark: str) -> str:
    """What one cell shows of a mark: d decimal, t thousands, ? either, "" where it has none or is no number."""
    digits, other = cell.digits, DECIMALS[1 - DECIMALS.index(mark)]
    if mark not in digits:
        return ""
    if digits.count(mark) > 1 or mark in digits[: max(0, digits.rfind(other))]:
        return "t" if math.isfinite(value_of(cell, {other}, "")) else ""
    lead, rest = digits.split(mark)
    grouped = re.fullmatch(r"[1-9][0-9]{0,2}", lead) and re.fullmatch(r"[0-9]{3}", rest)
    return "d" if cell.exponent or not grouped else "?"


def _role(mark: str, other: str, proofs: dict[str, list[str]], found: list[Cell], likely: str) -> str:
    """What a mark is in a column: "decimal", "thousands", "doubtful", or "" where there is none.

    What cells prove holds for those that may be either, unless these are more and look as if they were the other: one
    mistyped cell must not move all others by a factor of thousand.
    """
    decimal, thousands, either = (proofs[mark].count(kind) for kind in "dt?")
    if decimal and thousands:
        return "doubtful"
    if not either:
        return "decimal" if decimal else "thousands" if thousands else ""
    as_decimals, as_thousands = _are_decimals(mark, found), are_thousands(mark, found)
    others = proofs[other].count("d")
    if not decimal and not thousands and any(set(one.digits) & set(THOUSANDS) for one in found) and not others:
        return "doubtful"  # thousands are separated in another way: by this mark too, or 1'528 stands beside 1.528
    if mark == likely == "." and not thousands and not others:  # between commas, a point is a decimal mark
        return "decimal" if decimal or as_decimals or not as_thousands else "doubtful"
    if thousands:
        return "thousands" if thousands >= either or likely != mark else "doubtful"
    if decimal or others:
        if decimal and others:
            return "doubtful"
        if decimal:
            return "decimal" if decimal >= either or as_decimals else "doubtful"
        return "thousands" if others >= either or not as_decimals or likely == other else "doubtful"
    grouped = proofs[other].count("t")
    if grouped:
        return "decimal" if grouped >= either or as_decimals else "doubtful"
    clear = as_thousands and "?" not in proofs[other] and (not as_decimals or (likely or ".") == other)
    return "thousands" if clear else "doubtful"


def are_thousands(mark: str, found: list[Cell]) -> bool:
    """Do numbers from 1,000 on have this mark, all of them, and those below not? Zero is written in every way."""
    without = [one.digits for one in found if mark not in one.digits and one.digits.strip("0.,")]
    return bool(without) and all(len(re.split("[.,]", digits)[0]) <= 3 for digits in without)


def _are_decimals(mark: str, found: list[Cell]) -> bool:
    """Do cells have decimals as a program writes them: as many in every cell, or no zero at the end of any?"""
    rest = [one.digits.rpartition(mark)[2] for one in found if mark in one.digits]
    without = any(mark not in one.digits and one.digits.strip("0") for one in found)
    return (len(set(map(len, rest))) == 1 and not without) or not any(digits.endswith("0") for digits in rest)


def _two_readings(found: list[Cell], shown: Sequence[str], proofs: list[str], mark: str, what: str, option: str) -> str:
    first = proofs.index("?") if "?" in proofs else proofs.index("t")
    cell, other = found[first], DECIMALS[1 - DECIMALS.index(mark)]
    proving = [i for kind in "dt" for i, proof in enumerate(proofs) if proof == kind and i != first]
    unlike = [i for i, one in enumerate(found) if one.digits != cell.digits]
    second = next((shown[i] for i in [*proving, *unlike]), "")
    beside = f" (beside {second})" if second else ""
    large, small = value_of(cell, set(), ""), value_of(cell, {mark}, "")
    if not math.isfinite(small):
        return f"{what}: '{mark}' is a decimal mark and separates thousands at once: {shown[first]}{beside}; write one"
    return (
        f"{what} can be read in two ways: {shown[first]}{beside} may be {large:g} or {small:g}; say which mark is "
        f"the decimal one: {option}={other} for {large:g}, {option}={mark} for {small:g}"
    )


def value_of(cell: Cell, decimals: set[str], underscore: str) -> float:
    """The number; NaN where the digits are not grouped in threes by one separator."""
    at = max((cell.digits.rfind(mark) for mark in decimals), default=-1)
    whole, rest = (cell.digits, "") if at < 0 else (cell.digits[:at], cell.digits[at + 1 :])
    separators = "".join(mark for mark in DECIMALS if mark not in decimals) + THOUSANDS + underscore
    if not re.fullmatch(rf"[0-9]*|[1-9][0-9]{{0,2}}(?:([{separators}])[0-9]{{3}})(?:\1[0-9]{{3}})*", whole):
        return math.nan
    if not re.fullmatch("[0-9]*", rest) or not whole + rest:
        return math.nan
    value = float(cell.sign + re.sub(r"\D", "", whole) + "." + rest + cell.exponent)
    lost = value == 0 and (whole + rest).strip("0" + separators)  # 1e-400 is not zero
    return math.nan if lost or not math.isfinite(value) else value
