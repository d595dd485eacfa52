"""Tables as programs write them: every one gives the same photographs and concentrations."""

import random
import string

import pandas as pd
import pytest

from twostage.errors import DataError
from twostage.tables.new_photographs import read_new
from twostage.tables.table import read_table

NAMES = ["a.png", "b.png", "c.png"]
AMOUNTS = [252.5, 91.0, 1528.25]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def lines(delimiter=",", decimal=".", header=("image", "target"), before="", after="", end="\r\n"):
    rows = [
        f"{name}{delimiter}{str(amount).replace('.', decimal)}" for name, amount in zip(NAMES, AMOUNTS, strict=True)
    ]
    head = [delimiter.join(header)] if header else []
    return before + "".join(row + after + end for row in [*head, *rows])


def reads(path, **options):
    table = read_table(path, **options)
    assert [p.name for p in table.paths] == NAMES
    assert table.targets.tolist() == AMOUNTS
    return table


def put(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("before", ["", "# exported\r\n", '"Plate 4, nitrite"\r\n\r\n2026-11-20\r\n', "a;b;c;d;e\r\n"])
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_titles_delimiters_and_encodings(folder, before, delimiter, encoding):
    table = reads(put(folder / "t.csv", lines(delimiter, ",", before=before, after=delimiter * 2), encoding))
    assert len(table.notes) == bool(before)
    assert not before or "the header is row" in table.notes[0]


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_excel_may_say_its_delimiter_first(folder, delimiter):
    path = put(folder / "t.csv", lines(delimiter, before=f"sep={delimiter}\r\n"), "utf-8-sig")
    assert reads(path).notes == []
    put(path, lines(delimiter, before=f"sep={delimiter}\r\n").replace("252.5", "bad"))
    with pytest.raises(DataError, match="row 3 'bad'"):
        read_table(path)


@pytest.mark.parametrize("header", [("Image", "TARGET"), ("# image", "target"), (" IMAGE ", "Target")])
def test_a_header_in_other_letter_case_is_taken_and_said(folder, header):
    notes = reads(put(folder / "t.csv", lines(header=header))).notes
    assert any("is taken for data.image_column=image" in note for note in notes)


def test_two_columns_that_differ_in_case_are_two(folder):
    path = put(folder / "t.csv", "image,target,Target\na.png,1,2\n")
    assert read_table(path).targets.tolist() == [1]
    put(path, "image,TARGET,Target\na.png,1,2\n")
    with pytest.raises(DataError, match=r"no column 'target', but 'TARGET', 'Target': set data\.target_column="):
        read_table(path)


def test_without_a_header_two_columns_have_one_reading(folder):
    assert "has no header" in reads(put(folder / "t.csv", lines(header=None))).notes[0]
    put(folder / "t.csv", "252.5,a.png\n91,b.png\n1528.25,c.png\n")
    reads(folder / "t.csv")
    put(folder / "t.csv", "a.png\nb.png\n")
    assert read_new(str(folder / "t.csv"), "image", None, "target")[0].images == ["a.png", "b.png"]
    put(folder / "t.csv", "a.png,252.5,7\nb.png,91,8\n")
    with pytest.raises(DataError, match=r"no header: row 1 reads 'a\.png', '252\.5', '7'"):
        read_table(folder / "t.csv")


def test_other_names_of_columns_are_suggested_by_what_they_hold(folder):
    put(folder / "t.csv", "no,filename,amount of it\n1,a.png,252.5\n2,b.png,91\n")
    with pytest.raises(DataError, match=r"did you mean data\.image_column=filename\?"):
        read_table(folder / "t.csv")
    put(folder / "t.csv", "filename,concentration\na.png,252.5\nb.png,91\n")
    with pytest.raises(DataError, match=r"mean data\.image_column=filename data\.target_column=concentration\?"):
        read_table(folder / "t.csv")


def test_excel_first_sheet_and_numbers_as_they_are(folder):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame(
        {"image": NAMES, "target": AMOUNTS, "day": pd.to_datetime(["2023-06-14"] * 3), "lot": [7, 8, 9]}
    )
    for name in ("t.xlsx", "t.csv"):  # told by content
        with pd.ExcelWriter(folder / "t.xlsx", engine="openpyxl") as book:
            frame.to_excel(book, sheet_name="plate 1", index=False, startrow=2)
            frame.to_excel(book, sheet_name="plate 2")
        if name == "t.csv":
            (folder / "t.xlsx").rename(folder / name)
        table = reads(folder / name, extra_columns=("day", "lot"))
        assert set(table.columns["day"]) == {"2023-06-14"}
        assert table.columns["lot"].tolist() == ["7", "8", "9"]
        assert "'plate 2' is not" in table.notes[0]


def test_numbers_of_excel_and_parquet_are_numbers_and_not_texts(folder):
    pytest.importorskip("openpyxl")
    pytest.importorskip("pyarrow")
    amounts = [1.528, 911.0, 25.125]  # as texts they could be thousands
    frame = pd.DataFrame({"image": NAMES, "target": amounts})
    frame.to_excel(folder / "t.xlsx", index=False)
    frame.to_parquet(folder / "t.parquet")
    frame.astype({"target": "float32"}).set_index("image").to_parquet(folder / "u.parquet")
    for name in ("t.xlsx", "t.parquet", "u.parquet"):
        assert read_table(folder / name).targets.tolist() == amounts


@pytest.mark.parametrize("head", [b"PK\3\4", b"PAR1", b"\xd0\xcf\x11\xe0", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_table_is_refused_in_one_line(folder, head):
    for size in (0, 8, 3000):
        (folder / "t.xlsx").write_bytes(head + bytes(range(256)) * (size // 256 + 1))
        with pytest.raises(DataError) as caught:
            read_table(folder / "t.xlsx")
        assert "\n" not in str(caught.value)


def test_rows_without_a_number_stop_or_are_left_out_and_listed(folder):
    put(folder / "t.csv", "image,target\na.png,<100\nb.png,91\nc.png,n.d.\n")
    with pytest.raises(
        DataError, match=r"2 do not \(row 3 '91' does\): row 2 '<100', row 4 'n\.d\.'.*data\.on_target_error=skip"
    ):
        read_table(folder / "t.csv")
    table = read_table(folder / "t.csv", on_target_error="skip")
    assert table.images == ["b.png"]
    assert table.skipped == {"a.png": "row 2: '<100' is no concentration", "c.png": "row 4: 'n.d.' is no concentration"}
    put(folder / "t.csv", "image,target\na.png,<100\n")
    with pytest.raises(DataError, match="1 does not"):
        read_table(folder / "t.csv", on_target_error="skip")


def test_a_damaged_table_is_read_or_refused(folder):
    text, draw = lines(";", ",", before="sep=;\n"), random.Random(0)
    for _ in range(400):
        letters = list(text)
        for _ in range(draw.randrange(1, 4)):
            letters[draw.randrange(len(letters))] = draw.choice(string.printable)
        put(folder / "t.csv", "".join(letters))
        try:
            read_table(folder / "t.csv")
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017
