import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twostage.data.photographs import load_photographs
from twostage.errors import DataError, ImageError
from twostage.options.data import CsvConfig, FolderConfig
from twostage.options.run import ImageConfig, SplitConfig
from twostage.tables.folders import find_photographs, read_folder
from twostage.tables.table import Table, read_table

PLAIN = "image,target,group\na.png,100.5,g1\nb.png,200,g2\n"


def write(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def refused(call, *words, kind=DataError):
    """The message of the error that `call` raises: one line, with these words."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "\r" not in message
    for word in words:
        assert word in message
    return message


def reads_plain(path, **options):
    table = read_table(path, **options)
    assert table.images == ["a.png", "b.png"]
    assert table.targets.tolist() == [100.5, 200.0]
    assert table.targets.dtype == np.float64
    return table


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_delimiters_and_line_ends(tmp_path, delimiter, newline):
    text = PLAIN.replace(",", delimiter).replace("\n", newline)
    table = reads_plain(write(tmp_path / "t.csv", text), group_column="group")
    assert table.groups.tolist() == ["g1", "g2"]
    assert table.paths == [tmp_path / "a.png", tmp_path / "b.png"]


def test_no_newline_at_the_end(tmp_path):
    reads_plain(write(tmp_path / "t.csv", PLAIN.rstrip()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path, encoding):
    text = "image;target;Größe\nµl_é.png;100,5;ü\nb.png;200;x\n"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    table = read_table(write(tmp_path / "t.csv", mark + text, encoding), extra_columns=("Größe",))
    assert table.images == ["µl_é.png", "b.png"]
    assert table.targets.tolist() == [100.5, 200.0]
    assert table.columns["Größe"].tolist() == ["ü", "x"]


def test_a_byte_order_mark_is_no_part_of_a_quoted_first_column(tmp_path):
    reads_plain(write(tmp_path / "t.csv", PLAIN.replace("image", '"image"'), "utf-8-sig"))


@pytest.mark.parametrize(
    "text",
    [
        "image;target\na.png;100,5\nb.png;200\n",
        "image\ttarget\na.png\t100,5\nb.png\t2e2\n",
        'image,target\na.png,"100,5"\nb.png,"200"\n',
        "image,target\na.png,100.5\nb.png,+200.\n",
    ],
)
def test_decimal_comma_and_point(tmp_path, text):
    reads_plain(write(tmp_path / "t.csv", text))


# 100,5 in a comma separated table is one cell too many: reading it as 100 would be a wrong concentration.
@pytest.mark.parametrize(
    "rows", ["a.png,100,5\nb.png,200,5\n", "a.png,100,5\nb.png,200\n", "a.png,100\nb.png,200,5\n"], ids=repr
)
def test_a_decimal_comma_between_commas_is_refused_not_cut_off(tmp_path, rows):
    path = write(tmp_path / "t.csv", "image,target\n" + rows)
    refused(lambda: read_table(path), str(path))


def test_an_empty_cell_too_many_is_harmless(tmp_path):
    reads_plain(write(tmp_path / "t.csv", "image,target,\na.png,100.5,\nb.png,200,\n"))


def test_quoted_cells_and_spaces(tmp_path):
    text = ' image ,target,note\n"a, ""b"".png", 100.5 ,"x, y"\n b.png ,"200", z \n'
    table = read_table(write(tmp_path / "t.csv", text), extra_columns=("note",))
    assert table.images == ['a, "b".png', "b.png"]
    assert table.targets.tolist() == [100.5, 200]
    assert table.columns["note"].tolist() == ["x, y", "z"]


@pytest.mark.parametrize("blank", ["\n", "   \n", ",,\n", " , ,\n"], ids=repr)
def test_blank_lines_between_rows_are_dropped(tmp_path, blank):
    head, first, second = PLAIN.splitlines(keepends=True)
    reads_plain(write(tmp_path / "t.csv", head + blank + first + blank * 2 + second + blank), group_column="group")


def test_blank_lines_before_the_header_are_dropped(tmp_path):
    reads_plain(write(tmp_path / "t.csv", "\n\n" + PLAIN))
    path = write(tmp_path / "t.csv", "\n\nimage,target\na.png,1\nb.png,bad\n")
    refused(lambda: read_table(path), "row 5 'bad'")


def test_absolute_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"image,target\n{tmp_path}/x/a.png,1\nsub/b.png,2\n../c.png,3\n"
    path = write(tmp_path / "tables" / "t.csv", text)
    expected = [tmp_path / "x/a.png", tmp_path / "tables/sub/b.png", tmp_path / "c.png"]
    for given in (path, str(path), "tables/t.csv"):
        table = read_table(given)
        assert [p.resolve() for p in table.paths] == expected
        assert table.images == [f"{tmp_path}/x/a.png", "sub/b.png", "../c.png"]


def test_backslash_paths_unless_such_a_file_exists(tmp_path):
    write(tmp_path / "odd\\name.png", b"")
    table = read_table(write(tmp_path / "t.csv", "image,target\nsub\\day 1\\a.png,1\nodd\\name.png,2\n"))
    assert table.paths == [tmp_path / "sub/day 1/a.png", tmp_path / "odd\\name.png"]
    assert table.images == ["sub\\day 1\\a.png", "odd\\name.png"]


def test_home_is_expanded_and_other_tildes_are_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "t.csv", "image,target\n~/a.png,1\n~b.png,2\n")
    assert read_table("~/t.csv").paths == [tmp_path / "a.png", tmp_path / "~b.png"]


def test_other_column_names_groups_and_extra_columns(tmp_path):
    text = "day,c,file,who,lot\nmon,1,a.png,s1,007\ntue,2,b.png,s1,1e3\nmon,3,c.png,s2,NA\n"
    path = write(tmp_path / "t.csv", text)
    table = read_table(path, "file", "c", "who", ("day", "lot"))
    assert table.images == ["a.png", "b.png", "c.png"]
    assert table.targets.tolist() == [1, 2, 3]
    assert table.groups.tolist() == ["s1", "s1", "s2"]
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "day": ["mon", "tue", "mon"],
        "lot": ["007", "1e3", "NA"],
    }
    plain = read_table(path, "file", None)
    assert np.isnan(plain.targets).all()
    assert plain.groups is None
    assert plain.columns == {}


def test_for_prediction_repeated_photographs_and_odd_targets_are_allowed(tmp_path):
    path = write(tmp_path / "t.csv", "image,target\na.png,?\na.png,\n")
    assert read_table(path, target_column=None).images == ["a.png", "a.png"]


def test_select_by_mask_and_by_index(tmp_path):
    table = Table(
        ["a", "b", "c"], [tmp_path / n for n in "abc"], np.arange(3.0), np.array(["x", "y", "z"]), {"d": np.arange(3)}
    )
    assert len(table) == 3
    for rows in (np.array([False, True, True]), np.array([1, 2])):
        chosen = table.select(rows)
        assert chosen.images == ["b", "c"]
        assert chosen.paths == [tmp_path / "b", tmp_path / "c"]
        assert chosen.targets.tolist() == [1, 2]
        assert chosen.groups.tolist() == ["y", "z"]
        assert chosen.columns["d"].tolist() == [1, 2]
    assert table.select(np.array([2, 0])).images == ["c", "a"]


def test_missing_empty_and_header_only_tables(tmp_path):
    refused(lambda: read_table(tmp_path / "no.csv"), "no.csv", "no such table")
    refused(lambda: read_table(tmp_path), "no such table")
    for content in (b"", b"\n \n", b"\xef\xbb\xbf"):
        refused(lambda: read_table(write(tmp_path / "t.csv", content)), "t.csv", "empty", "image", "target")  # noqa: B023
    for content in ("image,target\n", "image,target\n\n,\n"):
        refused(lambda: read_table(write(tmp_path / "t.csv", content)), "t.csv", "a header and no rows")  # noqa: B023


def test_wrong_delimiter_says_which_are_right(tmp_path):
    path = write(tmp_path / "t.csv", PLAIN.replace(",", "/"))
    refused(lambda: read_table(path), "no column 'image'", "image/target/group", "comma, semicolon, tab or |")


def test_missing_column_suggests_the_nearest(tmp_path):
    path = write(tmp_path / "t.csv", "Image,targte,specimen\na.png,1,s\n")
    refused(lambda: read_table(path, "Image"), "no column 'target'", "did you mean data.target_column=targte?")
    refused(lambda: read_table(path, "file", "targte"), "no column 'file'", "Image, targte, specimen")
    refused(
        lambda: read_table(path, "Image", "targte", "specimn"),
        "no column 'specimn'",
        "did you mean data.group_column=specimen?",
    )
    refused(lambda: read_table(path, "Image", "targte", None, ("day",)), "no column 'day'")


@pytest.mark.parametrize("header", ["image,target,target", "image,target, target", "image, image,target"])
def test_a_column_named_twice_is_refused(tmp_path, header):
    path = write(tmp_path / "t.csv", header + "\n1,2,3\n")
    refused(lambda: read_table(path), "t.csv")


@pytest.mark.parametrize(
    "cell",
    [
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e999",
        "",
        "NA",
        "12 mM",
        "<5",
        "1_0",
        "0x1F",
        "True",
        "\uff11\uff12",
        "\u0663",
        "1e400",
        "--1",
    ],
)
def test_a_target_that_is_no_finite_number_is_refused_with_its_line(tmp_path, cell):
    path = write(tmp_path / "t.csv", f"image,target,x\na.png,1,\n\nb.png,{cell},y\nc.png,3,\n")
    refused(
        lambda: read_table(path),
        "t.csv",
        "column 'target'",
        "finite number",
        "1 does not",
        f"row 4 '{cell.strip(chr(34))}'",
    )


def test_many_bad_targets_are_counted_and_a_few_shown(tmp_path):
    path = write(tmp_path / "t.csv", "image,target\n" + "".join(f"{i}.png,bad{i}\n" for i in range(30)))
    message = refused(lambda: read_table(path), "30 do not", "row 2 'bad0'", "and 25 more")
    assert "bad7" not in message


def test_a_line_break_in_a_cell_does_not_break_the_message(tmp_path):
    path = write(tmp_path / "t.csv", 'image,target\na.png,"one\ntwo"\n')
    refused(lambda: read_table(path), "row 2 ")


def test_line_numbers_count_line_breaks_in_cells(tmp_path):
    path = write(tmp_path / "t.csv", 'image,target,note\na.png,1,"one\ntwo"\nb.png,bad,\n')
    refused(lambda: read_table(path), "row 4 'bad'")


def test_repeated_photographs_are_refused_with_their_rows(tmp_path):
    text = "image,target\na/x.png,1\nb/y.png,2\n\nc/z.png,3\nb/../b/y.png,2\nc/z.png,3\n"
    path = write(tmp_path / "t.csv", text)
    refused(lambda: read_table(path), "2 photographs are listed more than once", "rows 3, 6;")


def test_repeated_photographs_are_named_with_their_own_folder(tmp_path):
    path = write(tmp_path / "t.csv", "image,target\na/x.png,1\nb/y.png,2\nb/y.png,2\n")
    message = refused(lambda: read_table(path), "b/y.png")
    assert "a/y.png" not in message


def test_same_name_in_other_folders_is_no_repetition(tmp_path):
    assert len(read_table(write(tmp_path / "t.csv", "image,target\na/x.png,1\nb/x.png,2\n"))) == 2


def test_empty_group_and_empty_photograph_are_refused_with_their_rows(tmp_path):
    path = write(tmp_path / "t.csv", "image,target,group\na.png,1,g\nb.png,2,\n\nc.png,3,  \n")
    refused(lambda: read_table(path, group_column="group"), "column 'group' is empty in row 3, 5")
    path = write(tmp_path / "t.csv", "image,target\na.png,1\n,2\n  ,3\n")
    refused(lambda: read_table(path), "no photograph named in row 3 ('2'), 4 ('3')")


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"PK\x03\x04\x14\0\x06\0",
        bytes(range(256)) * 20,
        b"\xff\xfea",
        b"\xff\xfe\0\xd8",
    ],
    ids=["png", "xlsx", "bytes", "odd utf-16", "broken utf-16"],
)
def test_binary_files_are_refused(tmp_path, content):
    path = write(tmp_path / "t.csv", content)
    refused(lambda: read_table(path), "t.csv")


def test_an_open_quote_is_refused(tmp_path):
    path = write(tmp_path / "t.csv", 'image,target\n"a.png,1\nb.png,2\n')
    refused(lambda: read_table(path), "t.csv", "not a table")


def photo(path, color=(10, 200, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), color).save(path)
    return path


def test_folder_names_are_concentrations(tmp_path):
    for name in (
        "123.5/a.jpg",
        "9,25/b.PNG",
        "100/c.tif",
        "0/d.bmp",
        ".thumbs/e.png",
        "0/.keep",
        "0/notes.txt",
    ):
        write(tmp_path / name, b"x")
    write(tmp_path / "readme.txt", "x")
    table = read_folder(tmp_path)
    found = dict(zip(table.images, table.targets.tolist(), strict=True))
    assert found == {"123.5/a.jpg": 123.5, "9,25/b.PNG": 9.25, "100/c.tif": 100.0, "0/d.bmp": 0.0}
    assert table.paths == [tmp_path / name for name in table.images]
    assert table.groups is None


@pytest.mark.parametrize(
    "name",
    [
        "blank",
        "nan",
        "inf",
        "1,2,3",
        "12_5",
        "12_500",
        "1e5",
        "1E5",
        "0x10",
        "\uff11\uff12",
        "\u0663",
        "Infinity",
        "+",
        "1.2.3",
    ],
)
def test_a_folder_that_is_no_number_is_refused(tmp_path, name):
    for folder in ("5", "1200", name):
        write(tmp_path / folder / "b.png", b"")
    refused(lambda: read_folder(tmp_path), str(tmp_path / name), "finite number")


def test_folders_without_photographs_are_refused(tmp_path):
    refused(lambda: read_folder(tmp_path / "no"), "no such folder")
    refused(lambda: read_folder(tmp_path), "no photographs", "123.5")
    write(tmp_path / "5" / "notes.txt", "x")
    write(tmp_path / "loose.png", b"")
    refused(lambda: read_folder(tmp_path), "no photographs")


def test_find_one_file_a_folder_and_a_pattern(tmp_path, monkeypatch):
    for name in ("a.png", "b.JPG", "sub/c.tiff", "notes.txt", "x[1].png"):
        write(tmp_path / name, b"")

    def names(source):
        table = find_photographs(source)
        assert np.isnan(table.targets).all()
        assert table.images == [str(path) for path in table.paths]
        return [path.relative_to(tmp_path).as_posix() for path in table.paths]

    assert names(f"{tmp_path}/a.png") == ["a.png"]
    assert names(f"{tmp_path}/x[1].png") == ["x[1].png"]
    assert names(str(tmp_path)) == ["a.png", "b.JPG", "sub/c.tiff", "x[1].png"]
    assert names(f"{tmp_path}/*.png") == ["a.png", "x[1].png"]
    assert names(f"{tmp_path}/**/*.tiff") == ["sub/c.tiff"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names("~/a.png") == ["a.png"]


def test_find_nothing_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(lambda: find_photographs(f"{tmp_path}/empty"), "no photographs in this folder")
    refused(lambda: find_photographs(f"{tmp_path}/no.png"), "no.png", "no such photograph")
    refused(lambda: find_photographs(f"{tmp_path}/*.png"), "*.png", "pattern")
    refused(lambda: find_photographs(f"{tmp_path}/emp*"), "emp*")


def load(path, on_error="stop", **options):
    data = CsvConfig(table=str(path), on_error=on_error, **options)
    return load_photographs(data, ImageConfig(size=32), SplitConfig(), 0, Path(path).parent / "cache")


@pytest.fixture
def mixed(tmp_path):
    """A table of two good photographs around a missing and a broken one."""
    photo(tmp_path / "a.png", (200, 0, 0))
    photo(tmp_path / "d.png", (0, 0, 200))
    write(tmp_path / "c.png", (tmp_path / "a.png").read_bytes()[:60])
    return write(tmp_path / "t.csv", "image,target\na.png,1\nb.png,2\nc.png,3\nd.png,4\n")


def test_load_decodes_in_the_order_of_the_table(tmp_path):
    colors = [(25 * i, 255 - 25 * i, 7) for i in range(10)]
    for i, color in enumerate(colors):
        photo(tmp_path / f"{i}.png", color)
    order = [3, 1, 9, 0, 7]
    text = "image,target\n" + "".join(f"{i}.png,{i}\n" for i in order)
    photographs = load(write(tmp_path / "t.csv", text))
    assert photographs.pixels[:].shape == (5, 32, 32, 3)
    assert photographs.pixels[:][:, 5, 5].tolist() == [list(colors[i]) for i in order]
    assert photographs.table.targets.tolist() == order
    assert photographs.skipped == {}


def test_missing_photographs_stop_the_load(mixed):
    refused(lambda: load(mixed), "1 of 4 photographs are missing", "b.png", "data.on_error=skip")


def test_broken_photographs_stop_the_load(mixed):
    photo(mixed.parent / "b.png")
    refused(lambda: load(mixed), "1 of 4 photographs cannot be read", "c.png", "data.on_error=skip", kind=ImageError)


def test_skipped_photographs_are_listed_and_the_rest_stays_aligned(mixed):
    photographs = load(mixed, "skip")
    assert photographs.table.images == ["a.png", "d.png"]
    assert photographs.table.targets.tolist() == [1, 4]
    assert photographs.pixels[:][:, 0, 0].tolist() == [[200, 0, 0], [0, 0, 200]]
    assert list(photographs.skipped) == ["b.png", "c.png"]
    assert "no such photograph" in photographs.skipped["b.png"]
    assert "c.png" in photographs.skipped["c.png"]


def test_a_text_far_too_long_for_a_path_is_a_missing_photograph(tmp_path):
    path = write(tmp_path / "t.csv", f"image,target\n{'a remark and no path ' * 30},1\n")
    refused(lambda: load(path), "1 of 1 photographs are missing")


def test_an_unused_column_of_specimens_is_noted(tmp_path):
    photo(tmp_path / "a.png")
    path = write(tmp_path / "t.csv", "image,target,specimen\na.png,1,s\n")
    assert any("data.group_column=specimen" in note for note in load(path).notes)
    assert load(path, group_column="specimen").notes == []


def test_load_keeps_the_columns_that_the_split_needs(tmp_path):
    photo(tmp_path / "a.png")
    data = CsvConfig(table=str(write(tmp_path / "t.csv", "image,target,day,part\na.png,1,mon,test\n")))
    data.split_column = "part"
    table = load_photographs(data, ImageConfig(size=32), SplitConfig(column="day"), 0, tmp_path / "cache").table
    assert {name: values.tolist() for name, values in table.columns.items()} == {"part": ["test"], "day": ["mon"]}


def test_load_from_folders(tmp_path):
    photo(tmp_path / "2,5" / "a.png", (9, 8, 7))
    photo(tmp_path / "10" / "b.png", (1, 2, 3))
    root, cache = FolderConfig(root=str(tmp_path)), tmp_path / ".cache"
    photographs = load_photographs(root, ImageConfig(size=32), SplitConfig(), 0, cache)
    pairs = zip(photographs.table.targets.tolist(), photographs.pixels[:][:, 0, 0].tolist(), strict=True)
    assert dict(pairs) == {2.5: [9, 8, 7], 10.0: [1, 2, 3]}
    write(tmp_path / "10" / "c.png", b"broken")
    message = refused(
        lambda: load_photographs(root, ImageConfig(size=32), SplitConfig(), 0, cache),
        "1 of 3 photographs cannot be read",
        kind=ImageError,
    )
    assert re.search(r"10.c\.png", message)
