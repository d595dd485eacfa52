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


@pytest.fixture
def workbook(folder):
    openpyxl = pytest.importorskip("openpyxl")

    def written(*rows, formats=(), first=()):
        book = openpyxl.Workbook()
        sheet = book.active
        if first:
            sheet.title = "Notes"
            sheet.append(first)
            sheet = book.create_sheet("Table")
        for row in rows:
            sheet.append(row)
        for cell, form in formats:
            sheet[cell].number_format = form
        book.save(folder / "t.xlsx")
        return folder / "t.xlsx"

    return written


@pytest.mark.parametrize("number", [1.25, 911])
@pytest.mark.parametrize("text", ["1,528", "1.528"])
def test_texts_of_a_workbook_are_not_judged_by_its_numbers(workbook, number, text):
    path = workbook(["image", "target"], ["a.png", text], ["b.png", number])
    with pytest.raises(DataError, match=r"two ways: row 2 '1.528'.*data\.decimal="):
        read_table(path)
    assert read_table(path, decimal=",").targets[1] == number


def test_percent_of_a_workbook_are_read_as_they_are_shown(workbook):
    header, half = ["image", "target"], ["a.png", 0.5]
    table = read_table(workbook(header, half, ["b.png", 0.07], formats=[("B2", "0%"), ("B3", "0.00%")]))
    assert (table.targets.tolist(), table.unit) == ([50, 7], "%")
    with pytest.raises(DataError, match="row 2 '50%' and row 3 '25' differ"):
        read_table(workbook(header, half, ["b.png", 25], formats=[("B2", "0%")]))
    assert read_table(workbook(header, half, formats=[("B2", '0.0"%"')])).targets.tolist() == [0.5]


def test_cells_without_a_value_say_why(workbook):
    path = workbook(["image", "target"], ["a.png", "=1+1"], ["b.png", "#DIV/0!"], ["c.png", 3], [None, "=2+2"])
    with pytest.raises(DataError, match=r"2 do not .*: row 2 'a formula without a value', row 3 '#DIV/0!'"):
        read_table(path)


def test_titles_and_other_sheets_are_told_where_no_column_is_found(workbook):
    with pytest.raises(DataError, match=r"its columns are Datei, Wert; did you mean .*column=Datei .*column=Wert\?"):
        read_table(workbook(["Nitrite, June"], ["Datei", "Wert"], ["a.png", 80], ["b.png", 7]))
    with pytest.raises(DataError, match="first sheet, 'Notes', is read; 'Table' is not: put the table first"):
        read_table(workbook(["image", "target"], ["a.png", 80], first=["see below"]))


def test_a_line_that_says_another_delimiter_is_blamed(folder):
    put(folder / "t.csv", lines(",", before="sep=;\n"))
    with pytest.raises(DataError, match="says sep=;, and ',' separates the columns"):
        read_table(folder / "t.csv")


@pytest.mark.parametrize("row", ["{},80,5", "{},80,5,"])
def test_a_cell_below_no_name_is_refused_except_before_the_others(folder, row):
    body = "".join(row.format(name) + "\n" for name in NAMES)
    with pytest.raises(DataError, match="row 2 has '5' where the header names no column"):
        read_table(put(folder / "t.csv", "image,target,\n" + body))
    put(folder / "t.csv", ",image,target,\n0,a.png,252.5,\n1,b.png,91\n2,c.png,1528.25,,\n")
    reads(folder / "t.csv")


def test_parquet_names_that_no_file_and_no_table_can_have(folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": ["a.png", "b\0.png"], "target": [1.0, 2.0]}), folder / "t.parquet")
    with pytest.raises(DataError, match="no file can be called as in row 2"):
        read_table(folder / "t.parquet")
    columns = [pa.array(["a.png"]), pa.array([1.0]), pa.array([2.0])]
    pq.write_table(pa.table(columns, names=["image", "target", "target"]), folder / "t.parquet")
    with pytest.raises(DataError, match="two columns are named 'target'"):
        read_table(folder / "t.parquet")


@pytest.mark.parametrize("columns", ["x,y,w,h", "Left,top,Width,height"])
def test_photographs_listed_often_may_be_boxes(folder, columns):
    put(folder / "t.csv", f"image,target,{columns}\na.png,1,0,0,5,5\na.png,2,5,0,5,5\n")
    with pytest.raises(DataError, match=rf"data\.box_columns=\[{columns}\]"):
        read_table(folder / "t.csv")


def test_tables_without_header_are_read_in_prediction_too(folder):
    table, further = read_new(str(put(folder / "t.csv", "a.png,80\nb.png,90\n")), "image", None, "target")
    assert table.targets.tolist() == [80, 90]
    assert further.empty
    with pytest.raises(DataError, match=r"'a\.png', which is to name a column, is a photograph"):
        read_new(str(folder / "t.csv"), "a.png", None, "target")


def test_prediction_loses_no_cell_and_names_the_decimal_mark_of_the_model(folder):
    put(folder / "t.csv", "image,target\na.png,80\nb.png,<100\nc.png,\n")
    table, further = read_new(str(folder / "t.csv"), "image", None, "target")
    assert table.targets[0] == 80
    assert further["target"].tolist() == ["80", "<100", ""]
    put(folder / "t.csv", "image;target\na.png;80,5\nb.png;1\n")
    with pytest.raises(DataError, match=r"read with the model's data\.decimal=\.; decimal=, says otherwise"):
        read_new(str(folder / "t.csv"), "image", "target", "target", usual_decimal=".")
    assert read_new(str(folder / "t.csv"), "image", "target", "target", decimal=",")[0].targets.tolist() == [80.5, 1]
