"""A folder of broken and odd photographs: one row each, in order; a number where it was read, a reason where not."""

import io
import os
import sys
import zipfile
from pathlib import Path

import foreign_photographs
import numpy as np
import pandas as pd
import photo_files as make
import pytest
from helpers import TINY, TINY_TABLE, one_line
from PIL import Image

from twostage import Predictor
from twostage.data.simulated import render_photographs

sys.path.append(str(Path(__file__).resolve().parent / "benchmarks"))
import costly
import mutations

ASSAY = render_photographs(np.array([200.0]), 64, 1)[0]
BIG = render_photographs(np.array([200.0]), 200, 1)[0]


def picture(format="PNG", pixels=ASSAY, **options):
    return make.written(format, pixels, **options)


def small(width, height):
    return picture("PNG", np.resize(ASSAY, (height, width, 3)))


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", picture())
    return buffer.getvalue()


def with_size(width, height):
    """A PNG whose header promises so much, with the right checksum."""
    content = picture()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:8] + make.chunk(b"IHDR", head) + content[33:]


def with_wrong_checksum():
    content = bytearray(picture())
    content[content.index(b"IDAT") + 100] ^= 1
    return bytes(content)


def animated():
    frames = [Image.fromarray(ASSAY).rotate(turn) for turn in (90, 180)]
    return picture("GIF", Image.fromarray(ASSAY).quantize(64), save_all=True, append_images=frames)


def with_alpha(level):
    return np.dstack([ASSAY, np.full((64, 64), level, np.uint8)])


WRITTEN = mutations.sound_photographs()
FAX = WRITTEN.pop("tiff fax")

BROKEN = {  # name -> content; none of them can be read
    "empty.jpg": lambda: b"",
    "one byte.png": lambda: b"\x89",
    "text.jpg": lambda: b"the photographs are on the other computer\n",
    "page.png": lambda: b"<!DOCTYPE html><title>404</title>",
    "table.jpeg": lambda: b"image,target\na.png,3\n",
    "archive.jpg": zipped,
    "report.jpg": lambda: b"%PDF-1.7\n",
    "drawing.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "layers.tif": lambda: b"8BPS\0\1" + bytes(99),
    "film.heic": lambda: b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(99),
    "raw.tif": lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(99),
    "new kind.jpg": lambda: b"\xff\x0a\0" + bytes(99),
    "old kind.jpg": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99),
    "icon.bmp": lambda: b"\0\0\1\0\1\0" + bytes(99),
    "zeros.jpg": lambda: bytes(5000),
    "random.png": lambda: np.random.default_rng(0).bytes(5000),
    "begins as JPEG.jpg": lambda: b"\xff\xd8\xff\xe0" + bytes(500),
    "begins as PNG.png": lambda: b"\x89PNG\r\n\x1a\n",
    "half.jpg": lambda: picture("JPEG", BIG)[: len(picture("JPEG", BIG)) // 2],
    "half.png": lambda: picture()[: len(picture()) // 2],
    "half.webp": lambda: picture("WEBP")[: len(picture("WEBP")) // 2],
    "half.gif": lambda: animated()[:900],
    "half.bmp": lambda: picture("BMP")[:5000],
    "half.tif": lambda: picture("TIFF", compression="tiff_lzw")[:3000],
    "half.avif": lambda: picture("AVIF")[:300],
    "half.ppm": lambda: picture("PPM")[:5000],
    "checksum.png": with_wrong_checksum,
    "no end.png": lambda: picture()[:-12],
    "huge.png": lambda: with_size(100_000, 100_000),
    "nothing.png": lambda: with_size(0, 64),
    "more than there is.png": lambda: with_size(64, 6400),
    "huge.ppm": lambda: b"P6 90000 90000 255\n" + bytes(99),
    "huge.gif": lambda: b"GIF89a\xff\xff\xff\xff\0\0\0" + animated()[13:],
    "loop.tif": lambda: b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0",
    "fax.tif": lambda: FAX,
    "far.tif": lambda: b"II*\0\xf0\xff\xff\xff" + bytes(50),
    "float.tif": lambda: make.tiff((ASSAY / 255).astype(np.float32)),
    "signed.tif": lambda: make.tiff(ASSAY.astype(np.int16) - 128),
    "twelve of sixteen bits.png": lambda: make.png(ASSAY.astype(np.uint16) << 4),
    "hardly visible.png": lambda: make.png(with_alpha(1)),
    "profile.jpg": lambda: picture("JPEG", icc_profile=make.icc()[:300]),
    "profile for gray.png": lambda: picture("PNG", icc_profile=make.icc(gray=True)),
    "1x1.png": lambda: small(1, 1),
    "8x8.jpg": lambda: picture("JPEG", ASSAY[:8, :8]),
    "3x2000.png": lambda: small(3, 2000),
    "2000x15.png": lambda: small(2000, 15),
    **{f"damaged, {name}.jpg": lambda content=content: content for name, content in make.damaged(picture("JPEG", BIG))},
}

SOUND = {  # each shows the assay, or what tests of decoding read
    "plain.png": picture,
    "spaces in the name .png": picture,
    "two\nlines.png": picture,
    "tab\there.png": picture,
    "µ 浓度 ñ 😀.png": picture,
    '"quoted", and more.png': picture,
    "a=b [0,0,9,9].png": picture,
    "-x.png": picture,
    "${oc.env:HOME}.png": picture,
    "=1+1.png": picture,
    "%s%n.png": picture,
    "LOUD.PNG": picture,
    "no suffix": picture,
    "two.suffixes.jpg.png": picture,
    "in fact PNG.jpg": picture,
    "in fact JPEG.png": lambda: picture("JPEG"),
    "in fact WebP.tif": lambda: picture("WEBP"),
    f"{'long' * 60}.png": picture,
    "progressive.jpg": lambda: picture("JPEG", progressive=True),
    "gray.jpg": lambda: picture("JPEG", ASSAY[..., 1]),
    "inks.jpg": lambda: picture("JPEG", Image.fromarray(ASSAY).convert("CMYK")),
    "video behind.jpg": lambda: picture("JPEG") + b"\0\0\0\x18ftypmp42" + bytes(5000),
    "profile of P3.jpg": lambda: picture("JPEG", icc_profile=make.icc("P3")),
    **{f"turned {k}.jpg": lambda k=k: picture("JPEG", exif=make.exif(tag274=k)) for k in (3, 6, 8)},
    "orientation of 99.jpg": lambda: picture("JPEG", exif=make.exif(tag274=99)),
    "sixteen.png": lambda: make.png(ASSAY.astype(np.uint16) * 257),
    "palette.png": lambda: picture("PNG", Image.fromarray(ASSAY).quantize(64)),
    "opaque.png": lambda: make.png(with_alpha(255)),
    "wholly transparent.png": lambda: make.png(with_alpha(0)),
    "one bit.png": lambda: picture("PNG", Image.fromarray(ASSAY).convert("1")),
    "animated.gif": animated,
    "pages.tif": lambda: picture("TIFF", save_all=True, append_images=[Image.fromarray(255 - ASSAY)]),
    "sixteen.tif": lambda: make.tiff(ASSAY.astype(np.uint16) * 257),
    "large.jpg": lambda: picture("JPEG", np.tile(ASSAY, (40, 30, 1))),
    "wide.png": lambda: small(2000, 16),
} | {f"{name}.bin": lambda content=content: content for name, content in WRITTEN.items()}

EMPTY_OF_MEANING = {  # they can be decoded; whether they may be read, the model decides
    f"{name}.png": lambda name=name: picture("PNG", foreign_photographs.make(name, 1, 64, 0)[0])
    for name in ("black", "white sheet", "flat", "uniform noise", "printed text", "color gradient")
}
COSTLY = ("jpeg progressive, 3,000 empty scans", "ppm with 200 levels, 100 megapixels", "a pipe", "a device")


def no_photograph_at_all(folder):
    """Names behind which there is no regular file; none of them can be read."""
    (folder / "folder.jpg").mkdir()
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "round.jpg").symlink_to("about.jpg")
    (folder / "about.jpg").symlink_to("round.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    for name in COSTLY:
        costly.files()[name](folder / name)
    return ["folder.jpg", "loop.jpg", "round.jpg", "about.jpg", "gone.jpg", *COSTLY, "missing.jpg", f"{'x' * 300}.jpg"]


@pytest.fixture
def odd(here):
    """The folder "odd": name -> whether it must be refused (None: the model may)."""
    folder = here / "odd"
    folder.mkdir()
    expected = {}
    for must, files in ((True, BROKEN), (False, SOUND), (None, EMPTY_OF_MEANING)):
        for name, content in files.items():
            (folder / name).write_bytes(content())
            expected[name] = must
    expected |= dict.fromkeys(no_photograph_at_all(folder), True)
    (folder / "link.png").symlink_to("plain.png")
    expected["link.png"] = False
    names = list(expected)
    np.random.default_rng(0).shuffle(names)  # so that an order is seen
    assert len(names) >= 60
    return {name: expected[name] for name in names}


@pytest.fixture
def trained(here, once):
    status, _, err = once("train", *TINY, "run=a")
    assert status == 0, err
    return Predictor.load("outputs/a", device="cpu")


def hold(expected, numbers, statuses, reasons):
    """What every row must hold: a finite number, or none and why."""
    assert len(numbers) == len(expected)
    for (name, must), number, status, reason in zip(expected.items(), numbers, statuses, reasons, strict=True):
        refused = status == "refused"
        assert refused == must or must is None, (name, status, reason)
        assert np.isfinite(number) != refused, (name, number, status)
        if refused:
            assert reason, name
            assert len(reason.splitlines()) == 1, (name, reason)
            assert len(reason) < 1000, (name, reason)


def test_each_of_them_has_its_row(odd, trained, capsys):
    paths = [Path("odd") / name for name in odd]
    found = trained.predict(paths)
    hold(odd, found.concentration, found.status, found.reason)
    refused = found.status == "refused"
    for values in (found.concentration, found.lower, found.upper, found.bin_probabilities, found.offsets):
        assert np.isnan(values[refused]).all()
    assert np.isfinite(found.bin_probabilities[~refused]).all()
    np.testing.assert_allclose(found.bin_probabilities[~refused].sum(1), 1, atol=1e-5)
    for path, reason in zip(paths, found.reason, strict=True):
        assert not reason or "odd/" not in reason or str(path).split("\n")[0] in reason, (
            reason
        )  # its own, not another's
    plain = found.concentration[list(odd).index("plain.png")]
    for name in ("link.png", "in fact PNG.jpg", "sixteen.png", "opaque.png", "two\nlines.png"):
        assert found.concentration[list(odd).index(name)] == pytest.approx(plain, rel=1e-5), name
    assert capsys.readouterr().err == ""


def test_neither_their_order_nor_their_neighbours_matter(odd, trained):
    paths = [Path("odd") / name for name in odd]
    forward, backward = trained.predict(paths), trained.predict(paths[::-1])
    np.testing.assert_allclose(backward.concentration[::-1], forward.concentration, rtol=1e-5)
    assert backward.reason[::-1].tolist() == forward.reason.tolist()


def test_their_contents_are_as_good_as_their_files(odd, trained):
    names = [name for name in odd if os.path.isfile(f"odd/{name}")]
    files = trained.predict([Path("odd") / name for name in names])
    contents = trained.predict([(Path("odd") / name).read_bytes() for name in names])
    np.testing.assert_allclose(contents.concentration, files.concentration, rtol=1e-5)
    assert contents.status.tolist() == files.status.tolist()


def test_the_command_writes_a_row_for_each(odd, trained, run):
    pd.DataFrame({"image": list(odd)}).to_csv("odd/odd.csv", index=False)
    status, _, err = run("predict", "run=a", "input=odd/odd.csv", "output=p.csv")
    assert status == 0, err
    found = pd.read_csv("p.csv", keep_default_na=False, na_values={"concentration": [""]})
    assert found["image"].tolist() == list(odd)
    hold(odd, found["concentration"], found["status"], found["reason"])
    numbers = ["concentration", "lower", "upper", "bin_index", "bin_low", "bin_high", "bin_probability"]
    assert (found.loc[found["status"] == "refused", numbers].replace("", np.nan).isna()).all(axis=None)
    assert run("predict", "run=a", "input=odd/odd.csv", "output=p.csv", "strict=true")[0] == 1


def test_the_command_reads_what_lies_in_the_folder(odd, trained, run):
    status, _, err = run("predict", "run=a", "input=odd", "output=p.csv")
    assert status == 0, err
    found = pd.read_csv("p.csv", keep_default_na=False, na_values={"concentration": [""]})
    names = [name.removeprefix("odd/") for name in found["image"]]
    assert names == sorted(names)
    assert len(set(names)) == len(names) >= 60
    hold({name: odd[name] for name in names}, found["concentration"], found["status"], found["reason"])


def test_training_refuses_what_is_too_small_or_leaves_it_out(photos, run):
    Image.fromarray(ASSAY[:8, :8]).save("p03.png")
    one_line(run("train-classifier", *TINY_TABLE, "run=a"), "p03.png: too small: 8 x 8 pixels; 16 or more are needed")
    status, _, err = run("train-classifier", *TINY_TABLE, "run=a", "data.on_error=skip")
    assert status == 0, err
    splits = pd.read_csv("outputs/a/splits.csv").set_index("image")
    assert splits.loc["p03.png", "split"] == "skipped"
    assert "too small" in splits.loc["p03.png", "reason"]


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (15, 64), (64, 3)])
def test_arrays_that_are_too_small_are_refused(trained, shape):
    pixels = np.full((2, *shape, 3), 90, np.uint8)
    for given in (pixels, list(pixels)):
        found = trained.predict(given)
        assert found.status.tolist() == ["refused"] * 2
        assert np.isnan(found.concentration).all()
        assert f"too small: {shape[1]} x {shape[0]} pixels" in found.reason[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(trained, here):
    (here / "secret.png").write_bytes(picture())
    (here / "secret.png").chmod(0)
    found = trained.predict(["secret.png"])
    assert found.status.tolist() == ["refused"]
    assert "secret.png" in found.reason[0]
