"""Colours and bits of files: which tag decides, what is kept until the average, and what a header tells."""

import io
import struct
import time
import zlib
from importlib.util import find_spec

import numpy as np
import photo_files as make
import pytest
from photo_files import GRAY, SCENE, exif, heic, icc, png, tiff, written
from PIL import Image

from twostage.data.images import decode_photograph
from twostage.decoding import limits
from twostage.decoding.area import to_square
from twostage.decoding.facts import describe_photograph
from twostage.decoding.kinds import KINDS, SUFFIXES, decoder_versions
from twostage.errors import ImageError
from twostage.tables.folders import find_photographs

NOISE = np.random.default_rng(0).integers(0, 65536, (60, 60, 3), dtype=np.uint16)
DARK = np.linspace(300, 3000, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint16)
DARK[0] = 65535
P3, LINEAR = (b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 100_000))


def iccp(profile):
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def fields(content):
    return decode_photograph(content, 32)[8::16, 8::16].astype(int)


def refused(content, *words):
    with pytest.raises(ImageError) as caught:
        decode_photograph(content, 32)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("size", [8, 20, 60, 90])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_plain_photographs_of_8_bits_are_the_exact_average_of_what_pillow_decodes(format, size):
    content = written(format, (NOISE >> 8).astype(np.uint8), **({"quality": 92} if format == "JPEG" else {}))
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    average = to_square(lambda top, bottom, left, right: (pixels[top:bottom, left:right], 255), 60, 60, size, "crop")
    np.testing.assert_array_equal(decode_photograph(content, size), average)


@pytest.mark.parametrize(
    "write",
    [
        png,
        lambda values: png(np.dstack([values, np.full_like(values[..., :1], 65535)])),
        *(
            lambda values, o=o, p=p, c=c: tiff(values, 2, o, planar=p, compression=c)
            for o in "<>"
            for p, c in ((1, 1), (1, 8), (2, 1))
        ),
    ],
)
@pytest.mark.parametrize("values", [NOISE, DARK], ids=["noise", "dark"])
def test_all_16_bits_of_colour_are_averaged_as_those_of_gray_are(write, values):
    """Cut to 8 bits each pixel would be up to half a level darker or lighter, the same way for all of them."""
    found = decode_photograph(write(values), 4)
    for channel in range(3):
        gray = decode_photograph(png(values[..., channel]), 4)
        np.testing.assert_array_equal(found[..., channel], gray[..., 0])
    side = len(values) // 4
    exact = values.reshape(4, side, 4, side, 3).mean((1, 3)) / 257
    assert np.abs(found - exact).max() <= 0.5 + 1e-9


LINEAR_SPACES = {"gAMA": LINEAR, "ICC": iccp(icc(gamma=1)), "cICP": (b"cICP", bytes([1, 8, 0, 1]))}


@pytest.mark.parametrize("space", LINEAR_SPACES)
@pytest.mark.parametrize("gray", [False, True])
def test_dark_colours_in_linear_light_of_16_bits_are_not_rounded_before_they_become_srgb(space, gray):
    colors = np.array([[8, 11], [14, 250]], np.uint8).repeat(32, 0).repeat(32, 1)
    light = make.levels(make.decoded(colors / 255), 16)
    content = png(light if gray else np.repeat(light[..., None], 3, 2), LINEAR_SPACES[space])
    assert fields(content)[..., 1].tolist() == [[8, 11], [14, 250]]


@pytest.mark.parametrize(
    ("chunks", "tag"),
    [
        ((P3, iccp(icc(gamma=1)), (b"sRGB", b"\0"), LINEAR), "cICP 12/13"),
        ((iccp(icc("P3")), (b"sRGB", b"\0"), LINEAR), "ICC profile"),
        (((b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),), "cHRM"),
    ],
)
def test_the_first_of_the_tags_of_a_png_decides(chunks, tag):
    content = png(make.p3(), *chunks)
    assert np.abs(fields(content) - make.COLORS).max() <= 1
    assert describe_photograph(content).color_tag == tag
    srgb = png(SCENE, (b"sRGB", b"\0"), LINEAR, chunks[-1])
    np.testing.assert_array_equal(fields(srgb), make.COLORS)


@pytest.mark.parametrize("value", [45_000, 45_455, 45_500])
def test_a_gama_near_that_of_srgb_is_srgb(value):
    np.testing.assert_array_equal(fields(png(SCENE, (b"gAMA", struct.pack(">I", value)))), make.COLORS)


def test_exif_says_it_where_nothing_else_does():
    content = written("JPEG", make.p3(), icc_profile=icc("P3"), exif=exif(0xFFFF))
    assert np.abs(fields(content) - make.COLORS).max() <= 2
    refused(written("JPEG", exif=exif(1, "R03")), "ColorSpace says sRGB", "InteropIndex R03")
    facts = describe_photograph(written("JPEG", make.adobe(), exif=exif(0xFFFF, "R03")))
    assert (facts.color, facts.color_tag) == ("Adobe RGB", "EXIF InteropIndex R03")


def test_colours_that_srgb_does_not_have_are_clipped_each_channel_by_itself():
    red = np.broadcast_to(np.uint8([255, 0, 0]), SCENE.shape).copy()
    assert fields(png(red, P3))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: png(SCENE, (b"gAMA", struct.pack(">I", 1))), ["gAMA 1"]),
        (lambda: png(SCENE, (b"cHRM", bytes(32))), ["cHRM"]),
        (lambda: png(SCENE, iccp(icc("P3", hdr=16))), ["ICC profile", "PQ"]),
        (lambda: png(SCENE, iccp(icc(gray=True))), ["ICC profile is for gray", "pixels are RGB"]),
        (lambda: png(SCENE, (b"iCCP", b"name\0\0damaged")), ["ICC profile is damaged"]),
        (lambda: tiff(SCENE, tag301=tuple(range(0, 65536, 257))), ["TransferFunction", "301"]),
        (lambda: tiff(np.repeat(SCENE, 2, 2).astype(np.uint32)[..., :3]), ["TIFF RGB, 3 x 32 bits"]),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_tags_name(content, words):
    refused(content(), *words)


def test_black_is_black_in_all_bits():
    assert not decode_photograph(png(np.zeros((40, 40, 3), np.uint16)), 8).any()


def test_a_jpeg_may_have_more_pixels_than_what_is_decoded_whole(monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 64 - 1)
    np.testing.assert_allclose(fields(written("JPEG")), make.COLORS, atol=2)
    refused(written("PNG"), "million pixels")
    monkeypatch.setattr(limits, "MAX_JPEG_PIXELS", 64 * 64 - 1)
    refused(written("JPEG"), "million pixels")


def test_a_jpeg_beyond_the_limit_of_pillow_is_read_and_a_progressive_one_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.testing.assert_allclose(fields(written("JPEG")), make.COLORS, atol=2)
    large = np.tile(SCENE, (16, 16, 1))
    monkeypatch.setattr(limits, "MEMORY", 6_000_000)
    monkeypatch.setattr(limits, "BAND", 1000)
    decode_photograph(written("JPEG", large), 32)
    refused(written("JPEG", large, progressive=True), "MB to decode, more than 6 MB", "baseline JPEG")


needs_heif = pytest.mark.skipif(find_spec("pillow_heif") is None, reason="the extra heic is not installed")


@needs_heif
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["HEIF", "AVIF", "TIFF", "PNG", "WEBP", "JPEG", "MPO"])
def test_every_kind_is_turned_once(orientation, format, monkeypatch):
    pixels = SCENE[:50, :38].copy()
    options = {"HEIF": {"quality": -1, "chroma": 444}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(format, {})
    if format == "HEIF":
        from pillow_heif.as_plugin import HeifImageFile, _save_heif

        monkeypatch.setitem(Image.SAVE, "HEIF", _save_heif)
        assert HeifImageFile
    tags = exif(tag274=orientation)
    content = written(format, pixels, exif=tags, **options)
    upright = decode_photograph(png(pixels, (b"eXIf", tags.removeprefix(b"Exif\0\0"))), 32, "stretch")
    assert np.abs(decode_photograph(content, 32, "stretch").astype(int) - upright).max() <= (
        30 if format == "WEBP" else 3
    )
    facts = describe_photograph(content)
    assert (facts.width, facts.height) == ((50, 38) if orientation >= 5 else (38, 50))


@needs_heif
@pytest.mark.parametrize("write", [heic, lambda: written("AVIF")], ids=["HEIC", "AVIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_heic_or_avif_is_refused(write, share):
    content = write()
    refused(content[: int(len(content) * share)], "")


@needs_heif
def test_a_picture_that_pillow_heif_has_opened_is_read_as_its_file():
    import pillow_heif

    content = make.nclx(heic(make.p3()), 12, 13)
    image = pillow_heif.open_heif(io.BytesIO(content)).to_pillow()
    np.testing.assert_array_equal(decode_photograph(image, 32), decode_photograph(content, 32))
    assert np.abs(fields(content) - make.COLORS).max() <= 2.5


def test_an_opened_picture_says_its_colours_too():
    content = png(make.levels(make.LIGHT), LINEAR)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        np.testing.assert_array_equal(decode_photograph(image, 32), decode_photograph(content, 32))


def test_photographs_are_found_by_every_name_that_cameras_give_them_and_refused_by_kind(tmp_path):
    names = [f"{i}{suffix.upper() if i % 2 else suffix}" for i, suffix in enumerate(sorted(SUFFIXES))]
    for name in names:
        (tmp_path / name).write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    assert {".heic", ".hif", ".avif", ".jxl", ".dng", ".cr3", ".nef", ".arw", ".jp2"} <= SUFFIXES
    table = find_photographs(str(tmp_path))
    assert sorted(path.name for path in table.paths) == sorted(names)
    refused(table.paths[0], KINDS["raw"].hint)


@needs_heif
def test_what_was_refused_for_want_of_a_decoder_is_tried_again_when_it_is_there(monkeypatch):
    there = decoder_versions()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert decoder_versions() != there
    refused(heic(), "install twostage[heic]")


def test_facts_are_those_of_the_header_and_cost_next_to_nothing(tmp_path):
    for name, content, expected in (
        ("a.jpg", written("JPEG", SCENE[:, :40].copy(), exif=exif(tag274=6)), ("JPEG", 64, 40, 8, 3, "sRGB", "", 6)),
        ("b.tif", tiff(NOISE, tag274=(5,)), ("TIFF", 60, 60, 16, 3, "sRGB", "", 5)),
        ("c.png", png(NOISE[..., 0], LINEAR), ("PNG", 60, 60, 16, 1, "sRGB linear", "gAMA", 1)),
        ("d.png", written("PNG", Image.fromarray(GRAY).convert("LA")), ("PNG", 64, 64, 8, 2, "sRGB", "", 1)),
        ("e.png", written("PNG", icc_profile=icc("P3")), ("PNG", 64, 64, 8, 3, "test P3", "ICC profile", 1)),
    ):
        (tmp_path / name).write_bytes(content)
        facts = describe_photograph(tmp_path / name)
        assert tuple(vars(facts).values()) == expected
        assert describe_photograph(content) == facts
    begin = time.perf_counter()
    for _ in range(100):
        describe_photograph(tmp_path / "a.jpg")
    assert time.perf_counter() - begin < 1  # it takes 0.02
    with pytest.raises(ImageError, match="no such photograph"):
        describe_photograph(tmp_path / "no.jpg")
    with pytest.raises(ImageError, match="floating point"):
        describe_photograph(tiff((SCENE / 255).astype(np.float32)))
