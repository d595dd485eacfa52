"""Folders as machines and people leave them: what counts, and what the paths say."""

import itertools
import os

import pytest
from PIL import Image

from twostage.data.photographs import load_photographs
from twostage.errors import ConfigError, DataError
from twostage.options.data import CsvConfig, FolderConfig
from twostage.options.run import ImageConfig, SplitConfig
from twostage.tables.files_below import walk
from twostage.tables.folders import find_photographs, read_folder

count = itertools.count()


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    i = next(count)
    Image.new("RGB", (32, 32), (i % 256, i // 256, 9)).save(path)


@pytest.fixture
def levels(tmp_path):
    for level in ("80", "100", "120"):
        for i in range(2):
            photo(tmp_path / level / f"p{i}.png")
    return tmp_path


LEFT = [
    ".ipynb_checkpoints/p.png",
    "._p.png",
    "__MACOSX/100/p.png",
    "Thumbs.db",
    "desktop.ini",
    "@eaDir/p.png",
    "~$a.png",
]


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("inside", ["", "100"])
def test_what_systems_leave_is_left_out_at_every_level_and_counted(levels, name, inside):
    plain = read_folder(levels)
    photo_or_file = levels / inside / name
    photo_or_file.parent.mkdir(parents=True, exist_ok=True)
    photo_or_file.write_bytes((levels / "80/p0.png").read_bytes())
    table = read_folder(levels)
    assert table.images == plain.images
    assert plain.notes == []
    first = os.path.join(inside, name.split("/")[0], "" if "/" in name else ".").removesuffix("/.")
    assert len(table.notes) == 1
    assert "1 hidden file or folder" in table.notes[0]
    assert table.notes[0].endswith(f": {first}")
    assert find_photographs(str(levels)).notes == table.notes


def test_other_files_are_counted_and_photographs_are_known_by_content(levels):
    for name in ("a.txt", "80/b.txt", "80/c.csv", "80/raw"):
        (levels / name).write_text("text")
    (levels / "80/p7").write_bytes((levels / "80/p0.png").read_bytes())
    (levels / "80/p8.download").write_bytes((levels / "80/p1.png").read_bytes())
    table = read_folder(levels)
    assert {"80/p7", "80/p8.download"} <= set(table.images)
    assert table.notes == [f"{levels}: files that are no photographs are left out: 2 .txt, 1 .csv, 1 without suffix"]


def test_loose_photographs_are_told(levels):
    photo(levels / "x.png")
    table = read_folder(levels)
    assert len(table) == 6
    assert "1 photograph that lies in no folder of a concentration is left out: x.png" in table.notes[0]


@pytest.mark.parametrize(
    "names", [("80 ppm", "1,000 ppm"), ("pH_7.0", "pH_4.5"), ("5", "1'000"), ("0,5", "12,25"), ("c=5 µM", "c=7 µM")]
)
def test_names_with_a_unit_or_a_quantity(tmp_path, names):
    for name in names:
        photo(tmp_path / name / "p.png")
    numbers = {
        name: float("".join(c for c in name.replace("1,0", "10").replace(",", ".") if c in "0123456789."))
        for name in names
    }
    table = read_folder(tmp_path)
    assert {image.split("/")[0]: target for image, target in zip(table.images, table.targets, strict=True)} == numbers


@pytest.mark.parametrize(
    "names", [("80 ppm", "100 mM"), ("80 ppm", "90 ppm", "100"), ("80", "blank"), ("S1", "S2"), ("1,250", "2,500")]
)
def test_names_that_do_not_agree_are_refused(tmp_path, names):
    for name in names:
        photo(tmp_path / name / "p.png")
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path)
    assert any(name in str(caught.value) for name in names)
    if names[0] == "1,250":
        assert read_folder(tmp_path, decimal=",").targets.tolist() == [1.25, 2.5]
        assert read_folder(tmp_path, decimal=".").targets.tolist() == [1250, 2500]


def test_folders_may_name_the_split(tmp_path):
    for part, level, i in itertools.product(("train", "Val", "test"), ("80", "100"), range(3)):
        photo(tmp_path / part / level / f"p{i}.png")
    table = read_folder(tmp_path)
    assert table.split_column == "split"
    assert dict.fromkeys(table.columns["split"].tolist()) == {"validation": None, "test": None, "train": None}
    assert sorted(set(table.targets)) == [80, 100]
    assert "read as the parts of the split" in table.notes[0]
    photo(tmp_path / "80/p.png")
    with pytest.raises(
        DataError, match="beside Val, test, train, which name parts of the split, lie other folders: 80"
    ):
        read_folder(tmp_path)


def test_a_folder_below_the_concentration_is_the_specimen(tmp_path):
    for level, specimen, i in itertools.product(("80", "100"), (1, 2), range(2)):
        photo(tmp_path / level / f"specimen {specimen}" / "close" / f"p{i}.png")
    table = read_folder(tmp_path)
    assert set(table.groups) == {"80/specimen 1", "80/specimen 2", "100/specimen 1", "100/specimen 2"}
    assert "read as specimens: 4" in table.notes[0]
    photo(tmp_path / "80/alone.png")
    assert "80/alone.png" in set(read_folder(tmp_path).groups)


def test_the_same_folder_below_every_concentration_is_no_specimen(tmp_path):
    for level in ("80", "100"):
        photo(tmp_path / level / "images" / "p.png")
    assert read_folder(tmp_path).groups is None


NAMES = ["nitrite_80ppm_s3_01.jpg", "nitrite_80ppm_s3_02.jpg", "nitrite_100ppm_s4_01.jpg", "nitrite_1,000ppm_s5_01.jpg"]


def test_a_pattern_says_where_the_concentration_is(tmp_path):
    for name in NAMES:
        photo(tmp_path / "day 1" / name)
    table = read_folder(tmp_path, r"_(?P<target>[0-9.,]+ppm)_(?P<group>s\d+)")
    assert dict(zip(table.groups, table.targets, strict=True)) == {"s3": 80, "s4": 100, "s5": 1000}
    photo(tmp_path / "extra.jpg")
    with pytest.raises(DataError, match=r"finds no target in 1 of 5 photographs, for instance extra\.jpg"):
        read_folder(tmp_path, r"_(?P<target>[0-9.,]+)ppm")
    with pytest.raises(DataError, match=r"finds no group in 1 of 5"):
        read_folder(tmp_path, r"_(?P<target>[0-9.,]+)ppm(_(?P<group>s\d+))?")
    for pattern in ("(?P<target>", r"\d+", r"(?P<target>\d+)(?P<day>x)?"):
        with pytest.raises(ConfigError, match=r"data\.pattern="):
            read_folder(tmp_path, pattern)


def test_a_flat_folder_is_told_how_its_names_can_be_read(tmp_path):
    for name in NAMES:
        photo(tmp_path / name)
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path)
    pattern = str(caught.value).split("data.pattern='")[1].removesuffix("'")
    assert read_folder(tmp_path, pattern).targets.tolist() == [1000, 100, 80, 80]


def test_links_to_folders_are_followed_each_folder_once(levels, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for i in range(12):
        photo(elsewhere / f"{i}/p.png")
    for i, k in itertools.permutations(range(12), 2):  # every path through them would be 12!
        os.symlink(elsewhere / str(k), elsewhere / f"{i}/to{k}")
    os.symlink(levels, levels / "80/loop")
    os.symlink(levels / "100", levels / "140")
    os.symlink(elsewhere / "3", levels / "160")
    os.symlink(elsewhere / "3", levels / "180")
    found = walk(levels)
    assert len(found.photographs) == 6 + 12
    assert "160/p.png" in found.photographs
    assert {"80/loop/", "140/", "180/"} <= set(found.linked)
    assert any("links lead to folders that are read anyway" in note for note in found.notes(levels))
    assert [one for one in walk(levels, most=1000).photographs if one.startswith("160/p")] == ["160/p.png"]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("c80.5_1.png", "c(?P<target>[0-9]+)"),
        ("c80,5_1.png", "c(?P<target>[0-9]+,?)"),
        ("c80.png", r"(?P<target>\d)"),
        ("c80.5.png", r"(?P<target>[0-9])\.png"),
        ("c1'528.png", "'(?P<target>[0-9]+)"),
    ],
)
def test_a_pattern_must_not_cut_a_number(tmp_path, name, pattern):
    photo(tmp_path / name)
    with pytest.raises(DataError, match="only a part of the number"):
        read_folder(tmp_path, pattern)


def test_a_hyphen_before_a_target_is_told(tmp_path):
    photo(tmp_path / "c-80.png")
    assert "a hyphen stands before the target" in read_folder(tmp_path, r"(?P<target>\d+)").notes[0]


def test_a_specimen_of_a_pattern_has_one_concentration_as_in_folders(tmp_path):
    for level, specimen in itertools.product(("80", "100"), ("s1", "s2")):
        photo(tmp_path / level / specimen / "p.png")
    folders, table = read_folder(tmp_path), read_folder(tmp_path, r"(?P<target>\d+)/(?P<group>s\d+)")
    assert table.groups.tolist() == folders.groups.tolist()
    assert "another specimen at each: 4" in table.notes[0]


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        (["c80.5.png", "c100.png"], [100, 80.5]),
        (["2023_80mg_1.png", "2023_100mg_2.png"], [100, 80]),
        (["nitrite-80_1.png", "nitrite-100_1.png"], [100, 80]),
        (["IMG_0001.png", "IMG_0002.png"], None),
        (["IMG_1234.png", "DSC_1300.png"], None),
        (["IMG_1234.png", "IMG_1300.png"], None),
        (["vial1.png", "vial2.png", "vial3.png"], None),
        (["20231105_101500.png"], None),
    ],
)
def test_what_is_offered_for_loose_photographs_works(tmp_path, names, targets):
    for name in names:
        photo(tmp_path / name)
    with pytest.raises(DataError, match="loose") as caught:
        read_folder(tmp_path)
    offered = str(caught.value).partition("data.pattern='")[2].removesuffix("'")
    assert bool(offered) == bool(targets)
    assert not offered or read_folder(tmp_path, offered).targets.tolist() == targets


def load(data, tmp_path):
    return load_photographs(data, ImageConfig(size=32), SplitConfig(), 0, tmp_path / "cache")


def test_a_copy_with_another_concentration_stops_with_both(levels, tmp_path):
    (levels / "120/copy.png").write_bytes((levels / "80/p0.png").read_bytes())
    with pytest.raises(
        DataError, match=r"different concentrations: 120/copy\.png \(120\) and 80/p0\.png \(80\);.*on_target_error=skip"
    ):
        load(FolderConfig(root=str(levels)), tmp_path)
    photographs = load(FolderConfig(root=str(levels), on_target_error="skip"), tmp_path)
    assert set(photographs.skipped) == {"120/copy.png", "80/p0.png"}
    assert len(photographs.table) == len(photographs.pixels) == len(photographs.digests) == 5


def test_a_copy_with_the_same_concentration_is_told(levels, tmp_path):
    (levels / "80/copy.png").write_bytes((levels / "80/p0.png").read_bytes())
    notes = load(FolderConfig(root=str(levels)), tmp_path).notes
    assert notes == [
        "one photograph is there under more than one name, and counts more than others: 80/copy.png and 80/p0.png"
    ]


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["S1", "s1", "S 1", "S01"], True),
        (["S-1", "S_1"], True),
        (["a.1", "A 01"], True),
        (["S1", "S10", "S11", "T1", "1 1"], False),
        (["1", "10", "0"], False),
        (["80/specimen 1", "100/specimen 1"], False),
    ],
)
def test_specimens_that_are_called_alike_are_told(levels, tmp_path, names, alike):
    for i in range(len(names)):
        photo(levels / f"g{i}.png")
    rows = "".join(f"g{i}.png,{i},{name}\n" for i, name in enumerate(names))
    (levels / "t.csv").write_text("image,target,group\n" + rows)
    notes = load(CsvConfig(table=str(levels / "t.csv"), group_column="group"), tmp_path).notes
    assert bool(notes) == alike
    assert not alike or all(f"'{name}'" in notes[0] for name in names)
