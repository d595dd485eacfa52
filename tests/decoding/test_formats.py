"""Each row of `twostage formats` is made as files, and what it claims is seen."""

import json
import struct
import zlib

import numpy as np
import photo_files as make
import pytest
from photo_files import GRAY, SCENE, bmp, exif, heic, icc, nclx, page, png, tiff, written
from PIL import Image

from twostage.data.images import decode_photograph
from twostage.decoding.facts import describe_photograph
from twostage.decoding.formats import FORMATS
from twostage.decoding.kinds import KINDS
from twostage.errors import ImageError

GRAY_SCENE = np.repeat(GRAY[..., None], 3, 2)
SIXTEEN = SCENE.astype(np.uint16) * 257


def avif(pixels=SCENE, **options):
    return written("AVIF", pixels, **{"quality": 100, "subsampling": "4:4:4", **options})


def stack(*pages, photometric=2, **tags):
    """Pages one after another."""
    parts, start = [], 8
    for number, pixels in enumerate(pages, 1):
        length = len(page(pixels, photometric, start, following=1, **tags))
        parts.append(page(pixels, photometric, start, following=(start + length) * (number < len(pages)), **tags))
        start += length
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(parts)


def packed12(values):
    """Gray of 12 bits, two numbers in three bytes."""
    a, b = values[..., 0::2].astype(int), values[..., 1::2].astype(int)
    rows = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8)
    return tiff(values.astype(np.uint16), 1, strips=[rows.tobytes()], tag258=(12,))


def cmyk(pixels=SCENE):
    return Image.fromarray(pixels).convert("CMYK")


def without_adobe(content):
    at = content.index(b"\xff\xee")
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


def paletted(colors, most):
    """A PNG whose pixels go up to `most`."""
    head = struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), *([(b"PLTE", colors)] if colors else [])]
    rows = b"".join(b"\0" + bytes([most]) * 64 for _ in range(64))
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make.chunk(*part) for part in parts)


def bmp_of_few_colors(count, colors=b"", pixel=None):
    """A BMP of 8 bits, whose pixels are all `pixel`, else the number after the last colour."""
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 0, 0, 0, 0, count, 0)
    start = 14 + len(head) + 4 * count
    body = (colors or b"\x20\x40\x60\0" * count) + bytes([count if pixel is None else pixel]) * 4096
    return struct.pack("<2sIHHI", b"BM", start + 4096, 0, 0, start) + head + body


def with_alpha(alpha, dtype=np.uint8):
    return np.dstack([SCENE.astype(dtype) * (257 if dtype == np.uint16 else 1), np.full(SCENE.shape[:2], alpha, dtype)])


def visible_half():
    pixels = with_alpha(255)
    pixels[:, :32, 3] = 0
    return pixels


HALF_WHITE = np.where(visible_half()[..., 3:] == 0, 255, SCENE)
TWELVE = make.levels(GRAY / 255, 12)
GAMA = (b"gAMA", struct.pack(">I", 100_000))
P3_CHRM = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
BT2020 = make.levels(make.encoded(make.light_in("BT.2020")))

# (kind, file) -> files: each is content, or (content, expected pixels), or (content, expected, levels of tolerance)
FILES = {
    ("JPEG", "gray, RGB; baseline or progressive"): lambda: [
        written("JPEG"),
        written("JPEG", progressive=True),
        written("JPEG", keep_rgb=True),
        (written("JPEG", GRAY), GRAY_SCENE),
        written("JPEG", exif=exif(color_space=1)),
    ],
    ("JPEG", "MPO; gain map (Ultra HDR)"): lambda: [
        written("MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))]),
        written("JPEG") + written("JPEG", GRAY),
    ],
    ("JPEG", "ICC profile of RGB, gray or CMYK"): lambda: [
        written("JPEG", make.p3(), icc_profile=icc("P3")),
        (written("JPEG", make.adobe(), icc_profile=icc("Adobe", 563 / 256)), SCENE, 2),
        (written("JPEG", make.adobe(), icc_profile=icc("Adobe", 563 / 256), exif=exif(0xFFFF, "R03")), SCENE, 2),
        (written("JPEG", make.levels(make.LIGHT[..., 1] ** 0.5), icc_profile=icc(gamma=2, gray=True)), GRAY_SCENE),
    ],
    ("JPEG", "RGB profile on gray"): lambda: [(written("JPEG", GRAY, icc_profile=icc("P3")), GRAY_SCENE)],
    ("JPEG", "profile for other channels, or damaged"): lambda: [
        written("JPEG", icc_profile=icc(gray=True)),
        written("JPEG", cmyk(), icc_profile=icc()),
        written("JPEG", icc_profile=icc()[:-400]),
        written("JPEG", icc_profile=icc()).replace(b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\1\2"),
        png(SCENE, (b"iCCP", b"name\0\0damaged")),
    ],
    ("JPEG", "EXIF InteropIndex R03, or ColorSpace 2"): lambda: [
        *((written("JPEG", make.adobe(), exif=tags), SCENE, 2) for tags in (exif(0xFFFF, "R03"), exif(None, "R03"))),
        (written("JPEG", make.adobe(), exif=exif(2)), SCENE, 2),
        written("PNG", make.adobe(), exif=exif(2)),
        written("WEBP", make.adobe(), lossless=True, exif=exif(0xFFFF, "R03")),
    ],
    ("JPEG", "EXIF ColorSpace 65535, without profile"): lambda: [
        written("JPEG", exif=exif(0xFFFF)),
        written("JPEG", exif=exif(0xFFFF, "R98")),
        written("JPEG", exif=exif(1, "R03")),
    ],
    ("JPEG", "CMYK, YCCK (Adobe)"): lambda: [(written("JPEG", cmyk()), SCENE, 4)],
    ("JPEG", "CMYK without Adobe's marker"): lambda: [without_adobe(written("JPEG", cmyk()))],
    ("PNG", "1 to 8 bits: gray, RGB, palette"): lambda: [
        png(),
        (png(GRAY), GRAY_SCENE),
        written("PNG", Image.fromarray(SCENE).quantize(4)),
        (written("PNG", Image.fromarray(GRAY > 99)), np.where(GRAY_SCENE > 99, 255, 0)),
        png(SCENE, (b"sRGB", b"\0"), GAMA),
        png(SCENE, (b"gAMA", struct.pack(">I", 45455))),
    ],
    ("PNG", "palette (of any kind) without a colour for a pixel"): lambda: [
        paletted(b"\x09\x09\x09" * 3, 3),
        paletted(b"", 0),
        bmp_of_few_colors(3),
        tiff(GRAY, 3, tag320=(65535,) * 9),
        Image.frombytes("P", (9, 9), bytes(81)),
    ],
    ("PNG", "16 bits: gray, RGB"): lambda: [png(SIXTEEN), (png(SIXTEEN[..., 1]), GRAY_SCENE)],
    ("PNG", "16 bits, no number above 16383"): lambda: [
        png(SIXTEEN >> 4),
        png(SIXTEEN[..., 1] >> 4),
        png(SIXTEEN >> 8),
        png(SIXTEEN >> 2),
        png(np.dstack([SIXTEEN >> 4, np.full(GRAY.shape, 65535, np.uint16)])),
    ],
    ("PNG", "transparency"): lambda: [
        png(with_alpha(255)),
        png(with_alpha(0)),
        png(with_alpha(65535, np.uint16)),
        (png(visible_half()), HALF_WHITE),
        (png(visible_half()[..., [1, 3]]), np.where(visible_half()[..., 3:] == 0, 255, GRAY_SCENE)),
        (png(visible_half().astype(np.uint16) * 257), HALF_WHITE),
        (png(visible_half()[..., [1, 3]].astype(np.uint16) * 257), np.where(HALF_WHITE == 255, 255, GRAY_SCENE)),
        (png(SIXTEEN, (b"tRNS", SIXTEEN[0, 0].astype(">u2").tobytes())), np.where(SCENE == SCENE[0, 0], 255, SCENE)),
        (
            png(SIXTEEN[..., 1], (b"tRNS", SIXTEEN[0, 0, 1].astype(">u2").tobytes())),
            np.where(GRAY_SCENE == 60, 255, GRAY_SCENE),
        ),
    ],
    ("PNG", "transparency everywhere, nothing opaque"): lambda: [png(with_alpha(128)), png(with_alpha(1))],
    ("PNG", "cICP: P3, BT.2020, BT.709, linear"): lambda: [
        png(make.p3(), (b"cICP", bytes([12, 13, 0, 1]))),
        png(make.p3(), (b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\0"), GAMA),
        png(BT2020, (b"cICP", bytes([9, 13, 0, 1]))),
        png(make.levels(make.LIGHT, 16), (b"cICP", bytes([1, 8, 0, 1]))),
        png(make.levels(make.light_in("P3") ** (1 / 2.2)), (b"cICP", bytes([12, 4, 0, 1]))),
    ],
    ("PNG", "cICP: PQ, HLG"): lambda: [
        png(SCENE, (b"cICP", bytes([9, 16, 0, 1]))),
        png(SCENE, (b"cICP", bytes([9, 18, 0, 1]))),
        png(SCENE, (b"cICP", bytes([1, 13, 0, 0]))),
        png(SCENE, (b"cICP", bytes([22, 13, 0, 1]))),
    ],
    ("PNG", "gAMA, cHRM"): lambda: [
        png(make.levels(make.LIGHT, 16), GAMA),
        (png(make.levels(make.decoded(GRAY / 255), 16), GAMA), GRAY_SCENE),
        png(make.levels(make.LIGHT ** (1 / 1.8)), (b"gAMA", struct.pack(">I", 55556))),
        png(make.p3(), P3_CHRM),
        png(make.levels(make.light_in("P3"), 16), GAMA, P3_CHRM),
    ],
    ("TIFF", "gray, RGB, palette, 8 bits; strips, tiles, planes"): lambda: [
        tiff(),
        tiff(order=">"),
        tiff(planar=2),
        tiff(planar=2, compression=8),
        (tiff(GRAY, 1), GRAY_SCENE),
        written("TIFF", Image.fromarray(SCENE).quantize(4)),
        *(written("TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")),
        written("TIFF", compression="jpeg", quality=98),
    ],
    ("TIFF", "16 bits in planes that are compressed, or CMYK"): lambda: [
        tiff(SIXTEEN, planar=2, compression=8),
        tiff(np.dstack([SIXTEEN, SIXTEEN[..., 0]]), 5, planar=2),
    ],
    ("TIFF", "gray, RGB, 16 bits; raw planes"): lambda: [
        *(tiff(SIXTEEN, 2, order, planar=p, compression=c) for order in "<>" for p, c in ((1, 1), (1, 8), (2, 1))),
        (tiff(SIXTEEN[..., 1], 1, order=">"), GRAY_SCENE),
        tiff(with_alpha(65535, np.uint16), tag338=(2,)),
        tiff(with_alpha(65535, np.uint16), tag338=(2,), planar=2),
        tiff(with_alpha(7, np.uint16), tag338=(0,)),
    ],
    ("TIFF", "12 bits, packed"): lambda: [(packed12(TWELVE), GRAY_SCENE)],
    ("TIFF", "16 bits with MaxSampleValue 1023 to 16383"): lambda: [
        *(tiff(make.levels(SCENE / 255, bits), tag281=((1 << bits) - 1,) * 3) for bits in (10, 12, 14)),
        (tiff(TWELVE, 1, tag281=(4095,)), GRAY_SCENE),
        (tiff(4095 - TWELVE, 0, tag281=(4095,)), GRAY_SCENE),
    ],
    ("TIFF", "16 bits, no number above 16383"): lambda: [
        *(tiff(SIXTEEN >> shift) for shift in (2, 4, 6, 8)),
        tiff(SIXTEEN >> 4, planar=2),
        tiff(SIXTEEN[..., 1] >> 4, 1),
        tiff(SIXTEEN[..., 1] >> 4, 0),
        tiff(SIXTEEN >> 4, tag281=(3700,) * 3),
    ],
    ("TIFF", "16 bits, numbers above MaxSampleValue"): lambda: [
        tiff(SIXTEEN[..., 1], 1, tag281=(4095,)),
        tiff(SIXTEEN[..., 1], 0, tag281=(16383,)),
        tiff(SIXTEEN, tag281=(4095,) * 3),
    ],
    ("TIFF", "WhiteIsZero"): lambda: [
        (tiff(255 - GRAY, 0), GRAY_SCENE),
        (tiff(65535 - SIXTEEN[..., 1], 0), GRAY_SCENE),
    ],
    ("TIFF", "Lab, CMYK, 8 bits"): lambda: [
        (written("TIFF", Image.fromarray(SCENE).convert("LAB")), SCENE, 4),
        (written("TIFF", cmyk()), SCENE, 2),
    ],
    ("TIFF", "floating point"): lambda: [
        tiff((SCENE / 255).astype(np.float32)),
        tiff((GRAY / 255).astype(np.float32), 1),
        tiff((GRAY / 255).astype(np.float64), 1),
    ],
    ("TIFF", "8 or 16 bits, signed"): lambda: [
        tiff((GRAY.astype(int) - 128).astype(np.int8), 1),
        *(
            tiff((SIXTEEN[..., 1].astype(int) - less).astype(np.int16), 1, order)
            for less in (0, 32768)
            for order in "<>"
        ),
        tiff((SIXTEEN >> 1).astype(np.int16)),
    ],
    ("TIFF", "RGB and a channel that no tag explains"): lambda: [
        tiff(with_alpha(255)),
        tiff(with_alpha(65535, np.uint16)),
        tiff(with_alpha(255), planar=2),
    ],
    ("TIFF", "inks other than CMYK"): lambda: [tiff(np.asarray(cmyk()), 5, tag332=(2,))],
    ("TIFF", "palette of 8-bit numbers"): lambda: [tiff(GRAY, 3, tag320=tuple(range(256)) * 3)],
    ("TIFF", "pages of one size"): lambda: [stack(SCENE, 255 - SCENE)],
    ("TIFF", "a first page that is smaller than another"): lambda: [
        stack(SCENE[::4, ::4], SCENE),
        stack(SCENE[::2], 255 - SCENE, SCENE),
    ],
    ("TIFF", "NewSubfileType 1 (previews of NEF, ARW)"): lambda: [tiff(tag254=(1,)), tiff(tag254=(1,), tag330=(8,))],
    ("TIFF", "ImageJ with several channels"): lambda: [
        stack(*np.moveaxis(SCENE, 2, 0), photometric=1, tag270=b"ImageJ=1.54f\nimages=3\nchannels=3\nmode=color\n\0"),
        stack(GRAY, GRAY, photometric=1, tag270=b"ImageJ=1.53t\nimages=2\nchannels=2\nmode=grayscale\n\0"),
    ],
    ("TIFF", "fax, old JPEG, WebP inside"): lambda: [
        written("TIFF", Image.fromarray(GRAY > 99), compression="group4"),
        tiff(tag259=(50001,)),
        tiff(tag259=(6,)),
    ],
    ("TIFF", "PrimaryChromaticities, not of sRGB, Adobe RGB, P3"): lambda: [
        written("TIFF", tiffinfo={319: (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)}),
    ],
    ("HEIC", "8, 10, 12 bits"): lambda: [
        *((heic(bits=bits), SCENE, 1.5) for bits in (8, 10, 12)),
        *((heic(GRAY, bits), GRAY_SCENE, 1.5) for bits in (8, 10, 12)),
        *(
            (heic(visible_half()[..., [1, 3]], bits), np.where(HALF_WHITE == 255, 255, GRAY_SCENE), 1.5)
            for bits in (8, 10)
        ),
    ],
    ("HEIC", "ICC profile or nclx: P3, BT.2020"): lambda: [
        (nclx(heic(make.p3()), 12, 13), SCENE, 2.5),
        (nclx(heic(BT2020), 9, 13), SCENE, 3),
        (heic(make.p3(), icc_profile=icc("P3")), SCENE, 2.5),
    ],
    ("HEIC", "nclx: PQ, HLG"): lambda: [nclx(heic(), 9, 16), nclx(heic(bits=10), 9, 18)],
    ("AVIF", "8 bits; 10 and 12 as 8"): lambda: [(avif(), SCENE, 1.5)],
    ("AVIF", "ICC profile or nclx: P3, BT.2020"): lambda: [
        (nclx(avif(make.p3()), 12, 13), SCENE, 2.5),
        (avif(make.p3(), icc_profile=icc("P3")), SCENE, 2.5),
    ],
    ("AVIF", "nclx: PQ, HLG"): lambda: [nclx(avif(), 9, 16), nclx(avif(), 9, 18)],
    ("WebP", "lossy, lossless"): lambda: [written("WEBP", lossless=True), (written("WEBP", quality=100), SCENE, 3)],
    ("WebP", "ICC profile"): lambda: [written("WEBP", make.p3(), lossless=True, icc_profile=icc("P3"))],
    ("BMP", "1 to 32 bits"): lambda: [
        written("BMP"),
        written("BMP", Image.fromarray(SCENE).quantize(4)),
        bmp(b"sRGB"),
        bmp(b"Win "),
        bmp(),
    ],
    ("BMP", "version 5 with a profile, version 4 calibrated"): lambda: [
        bmp(b"MBED", profile=icc("P3"), pixels=make.p3()),
        bmp(ends=D65_ENDS["Display P3"], powers=(2.2,) * 3, pixels=make.levels(make.light_in("P3") ** (1 / 2.2))),
        bmp(ends=D65_ENDS["sRGB"], powers=(2.2,) * 3),
    ],
    ("BMP", "black and white in 4 or 8 bits"): lambda: [bmp_of_few_colors(2, b"\0\0\0\0\xff\xff\xff\0", 1)],
    ("BMP", "profile in another file"): lambda: [bmp(b"LINK")],
    ("GIF", "palette"): lambda: [written("GIF", Image.fromarray(SCENE).quantize(4))],
    ("PPM", "PBM, PGM, PPM; 8 and 16 bits"): lambda: [
        written("PPM"),
        (written("PPM", GRAY), GRAY_SCENE),
        b"P6 64 64 65535\n" + SIXTEEN.astype(">u2").tobytes(),
        (b"P5 64 64 65535\n" + SIXTEEN[..., 1].astype(">u2").tobytes(), GRAY_SCENE),
    ],
    ("PPM", "numbers above the white of the header"): lambda: [
        b"P5 64 64 200\n" + GRAY.tobytes(),
        b"P6 64 64 200\n" + SCENE.tobytes(),
        b"P5 64 64 1023\n" + SIXTEEN[..., 1].astype(">u2").tobytes(),
        b"P2 2 1 100\n99 101",
    ],
    ("JPEG 2000", "any"): lambda: [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0"],
    ("JPEG XL", "any"): lambda: [b"\xff\x0a\0", b"\0\0\0\x0cJXL \r\n\x87\n"],
    ("raw", "any"): lambda: [
        b"II*\0\x10\0\0\0CR\2\0",
        b"FUJIFILMCCD-RAW",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        tiff(tag50706=(1, 4)),
        tiff(GRAY, 32803),
    ],
    ("PDF", "any"): lambda: [b"%PDF-1.7"],
    ("PSD", "any"): lambda: [b"8BPS\0\1"],
    ("SVG", "any"): lambda: [b"<svg xmlns="],
    ("ICO", "any"): lambda: [b"\0\0\1\0\1\0"],
    ("film", "any"): lambda: [b"\0\0\0\x18ftypmp42\0\0\0\0isommp42"],
}


def xyz_of(primaries):
    """End points as a BMP has them: XYZ of the primaries under D65."""
    x, y = np.array(primaries).T
    each = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return (each[:, :3] * np.linalg.solve(each[:, :3], each[:, 3])).T.ravel()


D65_ENDS = {
    "sRGB": xyz_of([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290)]),
    "Display P3": xyz_of([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.3290)]),
}


def fields(pixels):
    """The colours of the four fields, away from their edges: (2,2,3)."""
    step = len(pixels) // 4
    return np.asarray(pixels, float)[step :: 2 * step, step :: 2 * step]


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: f"{row.kind}: {row.file}")
def test_what_the_table_of_formats_claims_is_so(row):
    if row.kind == "HEIC":
        pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    files = FILES[row.kind, row.file]()
    assert files
    for number, file in enumerate(files):
        content, expected, most = (*file, 1)[:3] if isinstance(file, tuple) else (file, SCENE, 1)
        if row.result == "refused":
            with pytest.raises(ImageError) as caught:
                decode_photograph(content, 32)
            if number == 0:
                assert row.how in str(caught.value)
            continue
        found = fields(decode_photograph(content, 32))
        assert np.abs(found - fields(expected)).max() <= most, f"file {number}: {found} not {fields(expected)}"
        facts = describe_photograph(content)
        assert (facts.width, facts.height) == (64, 64)
        assert row.result == "read" or facts.color_tag or facts.channels in (1, 2, 3, 4)


def test_every_row_of_the_table_is_tried_and_every_kind_has_one():
    assert set(FILES) == {(row.kind, row.file) for row in FORMATS}
    assert {row.kind for row in FORMATS} == set(KINDS)


def test_the_command_prints_the_table_also_as_json(run):
    status, out, _ = run("formats")
    assert status == 0
    assert len(out.splitlines()) == len(FORMATS) + 1
    status, out, _ = run("formats", "--json")
    assert status == 0
    assert [row["kind"] for row in json.loads(out)] == [row.kind for row in FORMATS]
