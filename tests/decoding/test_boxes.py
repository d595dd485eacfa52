"""A box of a photograph is read as the photograph that would have been cut out of it, whatever the file looks like."""

import numpy as np
import pandas as pd
import pytest
from helpers import TINY_TABLE, one_line
from PIL import Image

from twostage.data import images
from twostage.data.images import decode_boxes, decode_photograph
from twostage.data.photographs import decode_photographs, load_photographs
from twostage.data.simulated import render_photographs
from twostage.decoding.boxes import Box, boxes_of, pieces
from twostage.errors import ConfigError, DataError, ImageError
from twostage.options.data import CsvConfig
from twostage.options.run import ImageConfig, SplitConfig
from twostage.tables.new_photographs import read_new
from twostage.tables.table import read_table

SIZE = 32
FITS = ["crop", "stretch", "pad"]
COLUMNS = ["x", "y", "w", "h"]


def noise(height=120, width=170, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height, width):
    """Waves that are long beside a pixel, of which any way of sampling makes the same."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + c) + np.cos(y / 13 - c) + np.sin((x + 2 * y) / 31) for c in range(3)]
    return np.rint(127 + 40 * np.stack(waves, axis=2)).astype(np.uint8)


def of(source, *boxes, size=SIZE, fit="crop"):
    source = Image.fromarray(source) if isinstance(source, np.ndarray) else source
    return decode_boxes(source, [Box(*box) if isinstance(box, tuple) else box for box in boxes], size, fit)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    "box", [(0, 0, 170, 120), (0, 0, 48, 48), (122, 70, 48, 50), (7, 9, 100, 33), (50, 60, 17, 21)]
)
def test_a_box_is_the_photograph_that_was_cut_out(box, fit):
    array, (left, top, width, height) = noise(), box
    cut = Image.fromarray(np.ascontiguousarray(array[top : top + height, left : left + width]))
    np.testing.assert_array_equal(of(array, box, fit=fit)[0], decode_photograph(cut, SIZE, fit))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_so_it_is_in_every_mode(mode):
    image = Image.fromarray(noise())
    image = (
        Image.fromarray(noise(channels=1)[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    )
    if mode == "RGBA":
        image.putalpha(Image.fromarray(noise(channels=1)[..., 0]))
    cut = image.crop((11, 13, 81, 93))
    np.testing.assert_array_equal(of(image, (11, 13, 70, 80))[0], decode_photograph(cut, SIZE))


@pytest.mark.parametrize("fit", FITS)
def test_the_edges_of_a_box_may_cut_pixels(fit):
    array = noise()
    eight = array.repeat(8, 0).repeat(8, 1)
    for left, top, width, height in [(1.125, 2.5, 70.25, 64.75), (0.5, 0.5, 40, 40)]:
        expected = of(eight, (8 * left, 8 * top, 8 * width, 8 * height), fit=fit)[0]
        np.testing.assert_array_equal(of(array, (left, top, width, height), fit=fit)[0], expected)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, 25, -100])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_lies_where_a_viewer_shows_it(tmp_path, orientation, degrees):
    stored = Image.fromarray(smooth(120, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    upright = stored if turn is None else stored.transpose(Image.Transpose(turn))
    box = (30, 25, 60, 48, degrees)
    difference = of(tmp_path / "a.png", box)[0].astype(int) - of(upright, box)[0]
    assert np.abs(difference).max() <= (0 if degrees % 90 == 0 else 1)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("degrees", [90, 180, -90, 450])
def test_a_quarter_turn_is_exact(degrees, fit):
    array, (left, top, width, height) = noise(), (60, 30, 40, 64)
    turned = np.rot90(array, -degrees // 90)  # what is seen upright, when the box has turned counter-clockwise
    x, y = left + width / 2 - 85, top + height / 2 - 60  # of its middle, from the photograph's
    for _ in range(degrees // 90 % 4):
        x, y = -y, x
    left, top = turned.shape[1] / 2 + x - width / 2, turned.shape[0] / 2 + y - height / 2
    expected = of(np.ascontiguousarray(turned), (left, top, width, height), fit=fit)[0]
    np.testing.assert_array_equal(of(array, (60, 30, 40, 64, degrees), fit=fit)[0], expected)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("degrees", [0.001, 90.001, 179.999, 269.999, 360.001])
def test_an_angle_near_a_quarter_turn_is_nearly_that(degrees, fit):
    array = smooth(140, 200)
    exact, near = (
        of(array, (60.0, 40, 64, 48, d), fit=fit)[0].astype(int) for d in (round(degrees / 90) * 90, degrees)
    )
    assert np.abs(near - exact).max() <= 1


def test_a_box_at_an_angle_shows_what_was_turned():
    """A wave along the box's own direction comes out straight, as if it had been photographed so."""
    y, x = np.mgrid[:300, :300]
    angle = np.radians(30)
    along = (x + 0.5 - 150) * np.cos(angle) - (y + 0.5 - 150) * np.sin(angle)  # counter-clockwise, y downwards
    array = np.rint(127 + 100 * np.sin(along / 9))[..., None].repeat(3, 2).astype(np.uint8)
    square = of(array, (102, 102, 96, 96, 30))[0].astype(float)
    assert np.abs(square - square[:1]).max() <= 2
    u = np.arange(96) + 0.5 - 48
    exact = (127 + 100 * np.sin(u / 9)).reshape(SIZE, 3).mean(1)
    assert np.abs(square[:, :, 0] - exact).max() <= 2


def test_a_jpeg_is_decoded_for_its_smallest_box(tmp_path):
    Image.fromarray(smooth(1600, 2000)).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = Image.fromarray(np.asarray(image))
    for boxes in ([(100, 100, 1400, 1400)], [(100, 100, 1400, 1400), (3, 5, 40, 40)], [(1001, 777, 600, 500, 20)]):
        for found, expected in zip(of(tmp_path / "a.jpg", *boxes), of(whole, *boxes), strict=True):
            difference = found.astype(int) - expected
            assert np.abs(difference).max() <= 2
            assert np.abs(difference.mean((0, 1))).max() < 0.1


def test_shares_are_of_the_upright_photograph(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(120, 160)).save(tmp_path / "a.png", exif=exif)  # shown as 120x160
    shares = Box(0.25, 0.5, 0.5, 0.25, shares=True)
    np.testing.assert_array_equal(of(tmp_path / "a.png", shares)[0], of(tmp_path / "a.png", (30, 80, 60, 40))[0])


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ((130, 0, 48, 48), "does not lie in the photograph, which has 170x120 pixels"),
        ((-1, 0, 48, 48), "does not lie in the photograph"),
        ((0, 100, 20, 21), "does not lie in the photograph"),
        ((0, 0, 40, 40, 45), "does not lie in the photograph"),
        ((10, 10, 48, 15), "too small: 48 x 15 pixels; 16 or more are needed on each side"),
        ((10, 10, 15.9, 48, 30), "too small: 15.9 x 48 pixels"),
        ((10, 10, 0.5, 0.5), "boxes are shares only where all of them lie within 0..1"),
        ((0, 0, 0, 48), "above 0"),
        ((0, 0, 48, -3), "above 0"),
        ((0, np.nan, 48, 48), "numbers"),
        ((0, 0, np.inf, 48), "numbers"),
    ],
)
def test_a_box_that_is_none_is_refused_alone(box, word):
    bad, good = of(noise(), box, (10, 10, 50, 50))
    assert isinstance(bad, ImageError)
    assert word in str(bad)
    assert str(Box(*box)) in str(bad)
    assert "\n" not in str(bad)
    np.testing.assert_array_equal(good, of(noise(), (10, 10, 50, 50))[0])


def test_shares_that_were_written_with_few_digits_are_large_enough():
    third = Box(0.333333, 0, 0.333333, 1, shares=True)
    assert isinstance(of(noise(48, 48), third)[0], np.ndarray)
    assert "too small: 15.67 x 47 pixels" in str(of(noise(47, 47), third)[0])


def test_boxes_of_a_photograph_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no photograph")
    Image.fromarray(noise()).save(tmp_path / "b.png")
    sources = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"]
    _, failed = decode_photographs(sources, SIZE, "crop", boxes=boxes_of([[0, 0, 19, 19]] * 3))
    assert sorted(failed) == [0, 2]
    assert "a.png" in failed[0]


def test_each_photograph_is_decoded_once(tmp_path, monkeypatch):
    decoded, original = [], images.opened
    monkeypatch.setattr(
        "twostage.data.images.opened", lambda source, *more: decoded.append(source) or original(source, *more)
    )
    paths = plate(tmp_path, 3)
    table = write(
        tmp_path,
        rows := [(f"{k}.png", i, 20 * i, 20 * j, 20, 20) for i in range(7) for j in range(5) for k in range(3)],
    )
    monkeypatch.setattr("twostage.data.photographs.CHUNK", 40)
    photos = load(table)
    assert sorted(decoded) == sorted(paths)
    for row in (0, 1, 17, len(rows) - 1):
        name, _, x, y, w, h = rows[row]
        np.testing.assert_array_equal(photos.pixels[row], of(tmp_path / name, (x, y, w, h))[0])
    assert photos.table.targets.tolist() == [row[1] for row in rows]


def plate(folder, count):
    for k in range(count):
        Image.fromarray(noise(seed=k)).save(folder / f"{k}.png")
    return [folder / f"{k}.png" for k in range(count)]


def write(folder, rows, header="image,target,x,y,w,h"):
    lines = [header, *(",".join(str(cell) for cell in row) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def load(table, on_error="stop", **options):
    data = CsvConfig(table=str(table), box_columns=COLUMNS, on_error=on_error, **options)
    return load_photographs(data, ImageConfig(size=SIZE), SplitConfig(), 0, table.parent / "cache")


def test_a_row_is_a_box_and_the_photograph_its_group(tmp_path):
    plate(tmp_path, 2)
    rows = [("0.png", 1, 0, 0, 48, 48), ("./0.png", 2, 48, 0, 48, 48.5), ("1.png", 3, 0, 0, 48, 48)]
    table = read_table(write(tmp_path, rows), box_columns=COLUMNS)
    assert table.images == ["0.png [0,0,48,48]", "./0.png [48,0,48,48.5]", "1.png [0,0,48,48]"]
    assert table.groups.tolist() == ["0.png", "0.png", "1.png"]
    assert table.select(np.array([2])).boxes.tolist() == [Box(0, 0, 48, 48)]
    header = "image,target,x,y,w,h,plant"
    named = read_table(
        write(tmp_path, [(*row, f"p{i}") for i, row in enumerate(rows)], header),
        group_column="plant",
        box_columns=COLUMNS,
    )
    assert named.groups.tolist() == ["p0", "p1", "p2"]
    photos = load(tmp_path / "t.csv")
    assert any("3 boxes in 2 photographs" in note for note in photos.notes)


def test_one_box_twice_is_refused_and_two_boxes_are_not(tmp_path):
    rows = [("0.png", 1, 0, 0, 48, 48), ("0.png", 2, 48, 0, 48, 48), ("0.png", 2, 0, 0, 48, 48.0)]
    with pytest.raises(DataError, match=r"1 boxes .* 0.png \[0,0,48,48\] in rows 2, 4"):
        read_table(write(tmp_path, rows), box_columns=COLUMNS)


@pytest.mark.parametrize(
    ("boxes", "shares"),
    [
        ([(0, 0, 0.5, 0.5), (0.333333, 0, 0.666667, 1)], True),
        ([(0, 0, 1, 1)], True),
        ([(5, 7, 1, 1), (0, 0, 1, 1)], False),
        ([(0, 0, 1, 1), (1, 0, 1, 1)], False),
        ([(0, 0, 0.5, 0.5), (0.6, 0, 0.5, 0.5)], False),
        ([(0, 0, 48, 48)], False),
    ],
)
def test_shares_are_told_from_pixels_and_it_is_said(tmp_path, boxes, shares):
    table = read_table(write(tmp_path, [("a.png", i, *box) for i, box in enumerate(boxes)]), box_columns=COLUMNS)
    assert [box.shares for box in table.boxes] == [shares] * len(boxes)
    assert any(f"understood as {'shares' if shares else 'pixels'}" in note for note in table.notes)


def test_bad_boxes_stop_the_training_or_are_listed(tmp_path):
    plate(tmp_path, 1)
    table = write(tmp_path, [("0.png", 1, 0, 0, 48, 48), ("0.png", 2, 150, 0, 48, 48), ("0.png", 3, "left", 0, 48, 48)])
    with pytest.raises(ImageError, match=r"2 of 3 .*0.png \[150,0,48,48\] in row 3: its box .* 170x120") as caught:
        load(table)
    assert "\n" not in str(caught.value)
    photos = load(table, on_error="skip")
    assert photos.table.images == ["0.png [0,0,48,48]"]
    assert list(photos.skipped) == ["0.png [150,0,48,48]", "0.png [nan,0,48,48] in row 4"]


def test_another_box_is_another_content(tmp_path):
    plate(tmp_path, 1)
    one = load(write(tmp_path, [("0.png", 1, 0, 0, 48, 48), ("0.png", 2, 50, 0, 48, 48)]))
    other = load(write(tmp_path, [("0.png", 1, 0, 0, 48, 48), ("0.png", 2, 51, 0, 48, 48)]))
    assert one.digests[0] == other.digests[0] != one.digests[1] != other.digests[1]
    assert one.store.path != other.store.path


@pytest.mark.parametrize("columns", [["x", "y", "w"], ["x", "y", "w", "w"], ["x", "y", "w", "h", "d", "e"]])
def test_columns_that_are_no_box(tmp_path, columns):
    table = write(tmp_path, [("0.png", 1, 0, 0, 4, 4, 0, 0)], "image,target,x,y,w,h,d,e")
    with pytest.raises(ConfigError, match=r"must name the columns .* data.box_columns=\[x,y,w,h\]"):
        read_table(table, box_columns=columns)


def test_new_boxes_are_read_as_in_training_and_never_whole_photographs_instead(tmp_path):
    table = write(tmp_path, [("0.png", 1, 0, 0, 48, 48), ("0.png", 2, 0, 0, 48, 48)])
    found, further = read_new(str(table), "image", None, "target", None, COLUMNS)
    assert found.images == ["0.png", "0.png"]
    assert found.boxes.tolist() == [Box(0, 0, 48, 48)] * 2
    assert list(further.columns) == COLUMNS
    assert read_new(str(table), "image", None, "target", [], COLUMNS)[0].boxes is None
    upper = read_new(str(table), "image", None, "target", None, ["X", "y", "w", "h"])[0]  # as for other columns
    assert upper.boxes.tolist() == found.boxes.tolist()
    with pytest.raises(DataError, match=r"there is no column a: name the columns with box_columns=\[...\]"):
        read_new(str(table), "image", None, "target", None, ["a", "y", "w", "h"])
    with pytest.raises(DataError, match="no column 'a'"):
        read_new(str(table), "image", None, "target", ["a", "y", "w", "h"], COLUMNS)


@pytest.mark.parametrize("most", [1, 4, 100])
def test_pieces_hold_every_row_once_and_no_photograph_twice(most):
    photograph = np.random.default_rng(0).integers(0, 9, 50)
    found = list(pieces(photograph, most))
    assert sorted(np.concatenate(found)) == list(range(50))
    owners = [set(photograph[piece]) for piece in found]
    assert sum(map(len, owners)) == len(set(photograph))
    assert not list(pieces(photograph[:0], most))


@pytest.mark.slow
def test_a_table_of_boxes_from_training_to_readings(here, run):
    wells = render_photographs(targets := np.linspace(80, 350, 48), 40, 0)
    rows = []
    for k in range(12):
        Image.fromarray(np.concatenate(list(wells[4 * k : 4 * k + 4]), axis=1)).save(here / f"{k}.png")
        rows += [(f"{k}.png", targets[4 * k + i], 40 * i, 0, 40, 40) for i in range(4)]
    options = [*TINY_TABLE, "data.table=t.csv", "data.box_columns=[x,y,w,h]", "run=a"]
    write(here, rows)
    assert run("train", *options)[0] == 0
    splits = pd.read_csv(here / "outputs/a/splits.csv")
    assert splits["image"].tolist()[:2] == ["0.png [0,0,40,40]", "0.png [40,0,40,40]"]
    assert (splits.groupby("group")["split"].nunique() == 1).all()
    assert splits["content"].is_unique
    assert run("predict", "run=a", "input=t.csv", "output=p.csv")[0] == 0
    found = pd.read_csv(here / "p.csv").set_index(splits["image"])
    assert found["image"].tolist() == [row[0] for row in rows]
    assert list(found.columns[-4:]) == COLUMNS
    tested = pd.read_csv(here / "outputs/a/predictions.csv").set_index("image")
    np.testing.assert_allclose(found["concentration"][tested.index], tested["concentration"], rtol=1e-4)
    write(here, [rows[0], ("0.png", 100, 300, 0, 40, 40), rows[1]])
    assert run("predict", "run=a", "input=t.csv", "output=p.csv")[0] == 0
    assert pd.read_csv(here / "p.csv")["status"].eq("refused").tolist() == [False, True, False]
    one_line(run("predict", "run=a", "input=0.png"), "learned from boxes", "box_columns=[]")
    assert run("predict", "run=a", "input=0.png", "box_columns=[]")[0] == 0
    write(here, [("0.png", rows[0][1], 1, 0, 39, 40), *rows[1:]])
    other = [option for option in options if option != "run=a"]  # the same plates, cut otherwise
    status, _, err = run("train", *other, "run=b", "seed=5", "start=outputs/a")
    assert status == 1
    assert "are among those that made start" in err
    status, _, err = run("train", *options)
    assert status == 1
    assert "0.png [1,0,39,40]" in err


def test_one_scene_in_two_boxes_of_a_photograph_is_no_near_duplicate(here, run):
    wells = render_photographs(targets := np.linspace(80, 350, 12), 40, 0)
    for k, well in enumerate(wells):
        Image.fromarray(np.concatenate([well, well], axis=1)).save(here / f"{k}.png")
    rows = [(f"{k}.png", targets[k], 40 * i, 0, 40, 40) for k in range(12) for i in range(2)]
    write(here, rows)
    options = [*TINY_TABLE, "data.table=t.csv", "data.box_columns=[x,y,w,h]", "split.duplicates=group", "run=a"]
    assert run("train", *options)[0] == 0
    assert pd.read_csv(here / "outputs/a/splits.csv")["group"].nunique() == 12


@pytest.mark.parametrize("form", [list, lambda rows: np.array(rows, object), lambda rows: np.array(rows, np.int16)])
def test_boxes_are_numbers_whatever_holds_them(form):
    boxes = boxes_of(form([[0, 0, 10, 10], [1, 2, 3, 4]]))
    assert boxes.tolist() == [Box(0, 0, 10, 10), Box(1, 2, 3, 4)]
    assert boxes_of(boxes).tolist() == boxes_of(list(boxes)).tolist() == boxes.tolist()


@pytest.mark.parametrize("wrong", [[["a", 0, 1, 1]], [[0, 0, 1]], [0, 0, 1, 1], [[0, 0, 1, 1], [0]], ["box"]])
def test_what_is_no_box_is_refused_in_words(wrong):
    for boxes in (wrong, np.array(wrong, object)):
        with pytest.raises(ConfigError, match=r"boxes must be numbers \(N,4\)"):
            boxes_of(boxes)
