"""Damage that Pillow reads without a word is refused, and what is sound is read."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from photo_files import damaged, tiff
from PIL import Image

from twostage.data.images import decode_photograph
from twostage.data.simulated import render_photographs
from twostage.errors import ImageError

JPEGS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 2},
    "gray": {"gray": True},
}
ASSAY = render_photographs(np.array([150.0]), 200, 3)[0]


def written(format="JPEG", image=None, gray=False, **options):
    image = Image.fromarray(ASSAY) if image is None else image
    buffer = io.BytesIO()
    (image.convert("L") if gray else image).save(
        buffer, format, **({"quality": 92} if format == "JPEG" else {}), **options
    )
    return buffer.getvalue()


def refused(tmp_path, content):
    (tmp_path / "photo").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        decode_photograph(tmp_path / "photo", 32)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(tmp_path, content):
    (tmp_path / "photo").write_bytes(content)
    return decode_photograph(tmp_path / "photo", 32)


@pytest.mark.parametrize("name", JPEGS)
def test_a_damaged_jpeg_is_refused(tmp_path, name):
    data = written(**JPEGS[name])
    read(tmp_path, data)
    for kind, content in damaged(data):
        assert refused(tmp_path, content), kind


def test_lost_and_exchanged_restart_intervals_are_refused(tmp_path):
    data = written(restart_marker_rows=1)
    marks = [i for i in range(len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
    assert "not in order" in refused(tmp_path, data[: marks[3]] + data[marks[6] :])
    for interval in (0, 4, len(marks) - 2):
        begin, end = marks[interval] + 2, marks[interval + 1]
        short = data[:begin] + data[begin : begin + (end - begin) // 2] + data[end:]
        assert "ends before the picture" in refused(tmp_path, short)
        assert "left over" in refused(tmp_path, data[:end] + b"\x55" * 60 + data[end:])
    eight = data[: marks[1]] + data[marks[9] :]
    assert "restart markers are missing" in refused(tmp_path, eight)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path):
    data = written(progressive=True)
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    for cut in scans[1:]:
        assert "scans are missing" in refused(tmp_path, data[:cut] + b"\xff\xd9")


@pytest.mark.parametrize(
    "trailer", [bytes(100), b"\0\0\0\x18ftypmp42" + bytes(5000), b"SEFH" * 50, b"\xff\xd8\xff"], ids=str
)
@pytest.mark.parametrize("name", ["baseline", "progressive"])
def test_what_phones_write_behind_a_jpeg_is_none_of_its_damage(tmp_path, name, trailer):
    data = written(**JPEGS[name])
    np.testing.assert_array_equal(read(tmp_path, data + trailer), read(tmp_path, data))


def test_padding_before_the_end_marker_is_not_damage(tmp_path):
    data = written()
    for padding in (b"\0", bytes(3), bytes(500), b"\xff\xff", b"\xff" * 40):
        np.testing.assert_array_equal(read(tmp_path, data[:-2] + padding + data[-2:]), read(tmp_path, data))


def test_flat_and_grey_photographs_are_sound(tmp_path):
    """Their data may be nothing but zero bits, and a lower part of grey may be meant."""
    half_grey = ASSAY.copy()
    half_grey[100:] = 128
    for array in (np.full((333, 200, 3), (128, 128, 128), np.uint8), np.zeros((64, 64, 3), np.uint8), half_grey):
        for options in JPEGS.values():
            read(tmp_path, written(image=Image.fromarray(array), **options))


@pytest.mark.slow
def test_sound_jpegs_of_every_kind_are_read(tmp_path):
    small = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    sides, restarts = (
        (ASSAY, small, small[:16, :17], ASSAY[:17, :99]),
        ({}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}),
    )
    for array, restart, quality, progressive, optimize, subsampling in itertools.product(
        sides, restarts, (5, 75, 100), (False, True), (False, True), (0, 2)
    ):
        options = {"progressive": progressive, "optimize": optimize, "subsampling": subsampling, **restart}
        for mode in ("RGB", "L", "CMYK"):
            buffer = io.BytesIO()
            image = Image.fromarray(array).convert(mode)
            image.save(
                buffer, "JPEG", quality=quality, **(options if mode == "RGB" else {**options, "subsampling": -1})
            )
            read(tmp_path, buffer.getvalue())


def png(rows, *, height, extra=b"", color=2, interlaced=0, width=50):
    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, interlaced)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + extra.join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def test_a_png_with_half_its_rows_is_refused(tmp_path):
    row = b"\0" + bytes(range(100, 250))
    read(tmp_path, png(row * 50, height=50))
    for rows in (1, 25, 49):
        assert "end before" in refused(tmp_path, png(row * rows, height=50))
    assert refused(tmp_path, png(row * 40, height=50, interlaced=1))


def test_a_png_that_ends_in_black_is_sound(tmp_path):
    row = b"\0" + bytes(range(100, 250))
    assert (read(tmp_path, png(row * 25 + bytes(151) * 25, height=50))[-1] == 0).all()
    read(tmp_path, png(bytes(151) * 50, height=50))


def test_a_png_with_a_wrong_checksum_or_no_end_is_refused(tmp_path):
    data = bytearray(written("PNG"))
    at = bytes(data).index(b"IDAT") + 400
    data[at] ^= 16
    refused(tmp_path, bytes(data))
    whole = written("PNG")
    assert "cut off" in refused(tmp_path, whole[:-12])
    assert "checksum" in refused(tmp_path, whole[:-14] + b"xx" + whole[-12:])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"])
@pytest.mark.parametrize("strip", [None, 3000])
def test_a_tiff_whose_strips_are_cut_is_refused(tmp_path, compression, strip):
    options = {"compression": None if compression == "raw" else compression}
    if strip and compression not in ("raw", "jpeg"):
        options["strip_size"] = strip
    data = written("TIFF", **options)
    read(tmp_path, data)
    with Image.open(io.BytesIO(data)) as image:
        place, count = image.tag_v2[273][-1], image.tag_v2[279][-1]
    refused(tmp_path, data[: place + count // 2] if place + count > len(data) - 9 else data[: len(data) // 2])
    if compression != "raw":
        # the length is right, the second half of the last strip is gone
        refused(tmp_path, data[: place + count // 2] + bytes(count - count // 2) + data[place + count :])


@pytest.mark.parametrize("short", [0, 1, 2])
@pytest.mark.parametrize("lost", [1, 2000])
def test_a_raw_tiff_whose_strips_are_shorter_than_their_rows_is_refused(tmp_path, short, lost):
    strips = [part.tobytes() for part in np.array_split(ASSAY, [80, 160])]
    whole = tiff(ASSAY, strips=strips, tag278=(80,))
    np.testing.assert_array_equal(read(tmp_path, whole), decode_photograph(Image.fromarray(ASSAY), 32))
    strips[short] = strips[short][:-lost]
    assert "missing or broken strips" in refused(tmp_path, tiff(ASSAY, strips=strips, tag278=(80,)) + bytes(9999))


def test_what_hides_damage_in_a_tiff_is_refused_by_name(tmp_path):
    fax = written("TIFF", Image.fromarray(ASSAY).convert("1"), compression="group4")
    assert "group4 hides damage; save it with one of raw, LZW" in refused(tmp_path, fax)


@pytest.mark.parametrize(
    "options", [{"quality": 80}, {"lossless": True}, {"quality": 80, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
def test_a_cut_webp_is_refused_also_with_its_length_put_right(tmp_path, options, share):
    data = written("WEBP", **options)
    cut = bytearray(data[: int(len(data) * share) // 2 * 2])
    refused(tmp_path, bytes(cut))
    cut[4:8] = struct.pack("<I", len(cut) - 8)
    at = bytes(cut).index(b"VP8L" if "lossless" in options else b"VP8 ") + 4
    cut[at : at + 4] = struct.pack("<I", len(cut) - at - 4)
    refused(tmp_path, bytes(cut))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_gif_is_refused_also_with_an_end(tmp_path, share):
    data = written("GIF")
    read(tmp_path, data)
    cut = data[: int(len(data) * share)]
    refused(tmp_path, cut)
    refused(tmp_path, cut + b"\0;")


def test_sixteen_bit_planes_are_refused_and_white_may_be_zero(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (40, 40), dtype=np.uint16)
    sound = written("TIFF", Image.fromarray(array))
    at = sound.index(struct.pack("<HHIH", 262, 3, 1, 1))
    inverse = sound[: at + 8] + b"\0\0" + sound[at + 10 :]
    np.testing.assert_array_equal(read(tmp_path, inverse), decode_photograph(Image.fromarray(65535 - array), 32))


def test_where_nothing_is_visible_transparency_was_not_meant(tmp_path):
    image = Image.fromarray(ASSAY)
    image.putalpha(0)
    np.testing.assert_array_equal(read(tmp_path, written("PNG", image)), decode_photograph(Image.fromarray(ASSAY), 32))
