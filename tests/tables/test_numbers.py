"""What the cells of one column say as numbers: one reading for all of them, or none."""

import random

import numpy as np
import pytest

from twostage.errors import DataError
from twostage.tables.numbers import is_number, read_numbers


def read(*cells, **options):
    return read_numbers(cells, [f"row {i}" for i in range(len(cells))], "column 'c'", **options)


def values(*cells, **options):
    return read(*cells, **options).values.tolist()


AMOUNTS = [0.0, 0.5, 7.25, 80.0, 911.0, 1528.5, 25200.0, 1234567.25]


@pytest.mark.parametrize("thousands", ["", ",", "'", "\u2019", " ", "\u00a0", "\u202f", "\u2009"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("around", ["{}", "{} mg/L", "{}%", "pH {}", "c = {} µmol·L⁻¹", "{} g/cm3", "{} mg/100 mL"])
def test_every_way_to_write_amounts_gives_them(thousands, decimal, around):
    if thousands == decimal:
        thousands = "."
    for amounts in (AMOUNTS, [-one for one in AMOUNTS]):
        written = [
            f"{one:,.2f}".replace(",", "x").replace(".", decimal).replace("x", thousands).replace("-", "\u2212")
            for one in amounts
        ]
        assert values(*(around.format(text) for text in written)) == amounts


def test_a_plain_number_is_what_python_says_whatever_stands_beside_it():
    draw = random.Random(0)
    for _ in range(2000):
        kind = draw.choice(["{:.2f}", "{:.3f}", "{:g}", "{!r}", "{:.3E}", "{:.0f}"])
        cells = [kind.format(draw.choice([-1, 1]) * 10 ** draw.uniform(-3, 5)) for _ in range(draw.randrange(1, 9))]
        assert values(*cells, likely=".") == [float(cell) for cell in cells], cells


def test_three_digits_beside_numbers_below_a_thousand_are_thousands():
    assert values("2,520", "1,528", "911") == [2520, 1528, 911]
    assert values("2.520", "1.528", "911", likely=",") == [2520, 1528, 911]
    assert values("2.520", "911,5") == [2520, 911.5]
    assert values("1_528", "911") == [1528, 911]
    assert "'.' is read as a separator of thousands, row 0 '2.520' as 2520" in read("2.520", "911").notes[0]
    assert read("2,520.0", "911").notes == ()


def test_what_one_cell_shows_holds_for_all():
    assert values("0,500", "1,234") == [0.5, 1.234]
    assert values("1,234", "12,5") == [1.234, 12.5]
    assert values("1,234", "12.5") == [1234, 12.5]
    assert values("1,234,567", "2.125") == [1234567, 2.125]
    assert values("1'234.500", "2.125") == [1234.5, 2.125]
    assert values("1,234E+02", "5,678E+03") == [123.4, 5678]


@pytest.mark.parametrize(
    ("cells", "likely"),
    [
        (["25,200", "9,110"], "."),
        (["1,234"], ""),
        (["25.200", "9.110"], ","),
        (["1,528", "1528"], "."),
        (["2.520", "911"], "."),
        (["1,528", "12,5", "12.5"], ""),
        (["1,528", "1.528"], "."),
        (["1,528", "1'528", "911"], "."),
        (["1,528", "1 528", "911", "400"], ""),
        (["1.528", "1'528", "911"], "."),
    ],
)
def test_where_two_readings_are_possible_the_user_decides(cells, likely):
    with pytest.raises(DataError, match=r"two ways.*row . '.*data\.decimal=") as caught:
        read(*cells, likely=likely)
    assert len(cells) < 2 or f"row 1 '{cells[1]}'" in str(caught.value)
    for decimal in ".,":
        found = read(*cells, decimal=decimal, likely=likely).values
        assert np.isfinite(found[0])


def test_a_mark_cannot_be_both():
    with pytest.raises(DataError, match=r"row 0 '1,234,567' \(beside row 1 '12,5'\)"):
        read("1,234,567", "12,5")


@pytest.mark.parametrize(
    "cell",
    [
        *"nan inf 1e999 1e-400 NA <5 >300 n.d. - 1_0 12_500_0 0x1F 12h30 5-10 5/10 12:30 2023-06-14 14.06.2023".split(),
        *"1,00,000 1.2.3 --1 12½ 5万 \uff11\uff12 \u0663 S3 A12 nitrite-80".split(),
        *("", "5 to 10", "5 ± 2", "(5)", "5 10", "specimen 3", "ca. 5", "< 5", "5 mg/L"),
    ],
)
def test_a_cell_that_is_no_number_like_the_others_is_none(cell):
    assert np.isnan(values("1", cell, "3")[1])
    assert not is_number(cell)


@pytest.mark.parametrize("cell", ["specimen {}", "S{}", "tube {}", "Probe_{}", "tag{}"])
def test_what_is_numbered_is_not_measured(cell):
    cells = [cell.format(i) for i in range(1, 6)]
    try:
        assert np.isnan(values(*cells)).all()
    except DataError as error:
        assert "as things are numbered" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("cells", "typing", "likely"),
    [
        (["2,520", "1,528", "911"], "2,52", "."),
        (["2.520", "1.528", "911"], "2.52", ","),
        (["1,528", "2,347"], "12.5", ","),
        (["2,520", "1,530"], "1 528", "."),
        (["123.456", "234.560"], "1.234.567", "."),
    ],
)
def test_one_mistyped_cell_does_not_move_the_others(cells, typing, likely):
    try:
        before = values(*cells, likely=likely)
    except DataError:
        before = None
    try:
        assert values(*cells, typing, likely=likely)[:-1] == before
    except DataError as error:
        assert "two ways" in str(error)  # noqa: PT017


def test_units_must_agree():
    assert read("5 mg/L", "7mg/L").unit == "mg/L"
    assert read("5 \u00b5g", "7 \u03bcg").values.tolist() == [5, 7]
    with pytest.raises(DataError, match="row 0 '5 mg/L' and row 1 '7' differ"):
        read("5 mg/L", "7")
    with pytest.raises(DataError, match=r"'5 mM' and .* '7 MM' differ"):
        read("5 mM", "7 MM")
    assert np.isnan(values("5 mg/L", "6 mg/L", "7 µg/L")[2])


def test_an_exponent_in_a_name_is_a_code():
    assert values("1e5", "2.5e-3") == [1e5, 2.5e-3]
    assert np.isnan(values("1e5", "2.5e-3", "1.2e+05", exponent=False)).all()


def test_any_text_is_read_or_refused():
    draw = random.Random(0)
    for _ in range(3000):
        cells = [
            "".join(draw.choices("0123456789.,' _-+eE%mgpH/<\u202f\u2212½", k=draw.randrange(9))) for _ in range(3)
        ]
        try:
            assert len(values(*cells)) == 3
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_what_is_a_number_in_the_file_shows_nothing_of_the_texts_beside_it():
    for cells in (["1,528", "1.25"], ["1.528", "911"], ["1.528", "911", "2.5"]):
        typed = [False, *[True] * (len(cells) - 1)]
        with pytest.raises(DataError, match=r"two ways: row 0 '.*data\.decimal="):
            read(*cells, typed=typed)
        mark = cells[0][1]
        assert values(*cells, typed=typed, decimal=mark) == [1.528, *map(float, cells[1:])]
        assert values(*cells, typed=typed, decimal={",": ".", ".": ","}[mark]) == [1528, *map(float, cells[1:])]
    assert values("1,5", "1.528", "911", typed=[False, True, True]) == [1.5, 1.528, 911]
    assert values("1.528", "911.25", typed=[True, True], decimal=",") == [1.528, 911.25]
