"""What the tags of a TIFF say of its pages and numbers, where Pillow would read something else without a word."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

from PIL import TiffImagePlugin

from twostage.decoding.kinds import DEVELOP
from twostage.errors import ImageError

__all__ = ["check_tags", "explain_tags", "white_of"]

MAX_PAGES = 1000
COMPRESSIONS = {
    1: "raw",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
CFA, LINEAR_RAW = 32803, 34892
SIGNED, FLOAT = 2, 3
PHOTOMETRIC = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "ICCLab"}
DNG_VERSION, SUB_IFDS, NEW_SUBFILE, DESCRIPTION, MAX_SAMPLE = 50706, 330, 254, 270, 281
COLOR_MAP, INK_SET, EXTRA_SAMPLES = 320, 332, 338


def check_tags(image: TiffImagePlugin.TiffImageFile, file: IO[bytes]) -> None:
    """See that the first page is the photograph, and that its numbers are read rightly.

    Raises:
        ImageError: It is a small copy of another page, one of several channels, or the preview of a raw photograph; or
            it is stored in a way in which damage cannot be told, or that Pillow reads as something else.
    """
    tags = image.tag_v2
    if (compression := tags.get(259, 1)) not in COMPRESSIONS:
        name = TiffImagePlugin.COMPRESSION_INFO.get(compression, compression)
        allowed = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise ImageError(f"TIFF compression {name} hides damage; save it with one of {allowed}, or as PNG")
    if tags.get(284, 1) == 2 and max(tags.get(258, (1,))) > 8 and (compression != 1 or image.mode == "CMYK"):
        raise ImageError(
            "16 bits in separate planes (PlanarConfiguration 2) are read where these are raw RGB alone; "
            "save it with interleaved channels"
        )
    if DNG_VERSION in tags or tags.get(262) in (CFA, LINEAR_RAW):
        raise ImageError(f"a raw photograph: {DEVELOP}")
    if int(tags.get(NEW_SUBFILE, 0)) & 1:
        what = f"raw photographs (NEF, ARW) are stored so too: {DEVELOP}" if SUB_IFDS in tags else "save the large one"
        raise ImageError(f"its first page is only a small copy (NewSubfileType 1) of another; {what}")
    _check_samples(tags)
    described = str(tags.get(DESCRIPTION, ""))
    if described.startswith("ImageJ="):
        said = dict(line.split("=", 1) for line in described.splitlines() if "=" in line)
        if said.get("channels", "1") != "1":
            raise ImageError(
                f"ImageDescription (ImageJ) says channels={said['channels'][:9]}: its pages are channels, of which the "
                f"first is no photograph; in ImageJ, Image > Type > RGB Color makes one of them"
            )
    first = image.width * image.height
    for number, (width, height) in enumerate(_later_pages(file), 2):
        if width * height > first:
            raise ImageError(
                f"its first page has {image.width}x{image.height} pixels, and page {number} {width}x{height}: "
                f"save the one that is the photograph alone"
            )


def _check_samples(tags: Any) -> None:
    """See that the tags say what each number of a pixel is, and that it is what Pillow takes it for."""
    photometric, channels = tags.get(262), tags.get(277, 1)
    if SIGNED in tags.get(339, ()) and max(tags.get(258, (1,))) <= 16:  # 32 bits are how Pillow writes 16
        raise ImageError("its numbers are signed (SampleFormat 2), of no defined white; save it with 8 or 16 bits")
    if photometric == 2 and channels > 3 and EXTRA_SAMPLES not in tags:
        raise ImageError(
            f"it has {channels} channels, and no ExtraSamples (tag 338) says whether one is transparency; "
            f"save it as RGB with 8 or 16 bits"
        )
    if photometric == 5 and tags.get(INK_SET, 1) != 1:
        raise ImageError(f"its inks are not CMYK (InkSet {tags[INK_SET]}); save it as RGB with 8 or 16 bits")
    if photometric == 3 and max(tags.get(COLOR_MAP, (256,))) < 256:
        raise ImageError("its palette (ColorMap, tag 320) is of 8 bits, where 16 are due: black; save it as RGB")


def _later_pages(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Width and height of the pages after the first, as far as they are sound."""
    file.seek(0)
    head = file.read(16)
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    place, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    at, seen = struct.unpack_from(order + place, head, 8 if big else 4)[0], set[int]()
    while at and at not in seen and len(seen) < MAX_PAGES:
        file.seek(at)
        size = struct.calcsize(count)
        number = int(struct.unpack(order + count, file.read(size).ljust(size, b"\0"))[0])
        body = file.read(min(number, 1000) * entry)
        if seen and len(body) == number * entry:
            sides = dict(_side(body[i : i + entry], order, big) for i in range(0, len(body), entry))
            yield sides.get(256, 0), sides.get(257, 0)
        seen.add(at)
        following = file.read(struct.calcsize(place))
        at = struct.unpack(order + place, following)[0] if len(following) == struct.calcsize(place) else 0


def _side(entry: bytes, order: str, big: bool) -> tuple[int, int]:
    """(tag, value) of an entry that holds one integer."""
    tag, form = struct.unpack_from(order + "HH", entry)
    value = {4: "I", 16: "Q" if big else "I"}.get(form, "H")
    return tag, int(struct.unpack_from(order + value, entry, 12 if big else 8)[0])


def white_of(tags: Any, bits: int) -> int:
    """The number of white: MaxSampleValue where it is that of a camera's bits, else the largest of so many bits.

    Other values of that tag are those of one picture.
    """
    most = tags.get(MAX_SAMPLE)
    most = min(most) if isinstance(most, tuple) and most else most
    if bits == 16 and isinstance(most, int) and 255 < most < 65535 and (most & (most + 1)) == 0:
        return most
    return (1 << min(bits, 16)) - 1


def explain_tags(file: IO[bytes]) -> str:
    """Why Pillow cannot read a TIFF, by the tags that say what its numbers are; "" where these cannot be read."""
    try:
        file.seek(0)
        head = file.read(16)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head[: 16 if head[2:4] in (b"+\0", b"\0+") else 8])
        file.seek(tags.next)
        tags.load(file)
        bits, form = tags.get(258, (1,)), max(tags.get(339, (1,)))
        photometric = int(tags.get(262, -1))
        kind = PHOTOMETRIC.get(photometric, f"PhotometricInterpretation {photometric}")
        if tags.get(262) in (CFA, LINEAR_RAW) or DNG_VERSION in tags:
            return f"a raw photograph: {DEVELOP}"
    except Exception:  # as many kinds as there are ways of damage
        return ""
    how = {SIGNED: ", signed (SampleFormat 2)", FLOAT: ", floating point (SampleFormat 3), which has no defined white"}
    planes = " in separate planes" if tags.get(284) == 2 else ""
    channels = f"{tags.get(277, 1)} x {max(bits)} bits{planes}{how.get(form, '')}"
    return f"TIFF {kind}, {channels}: not read; save it as RGB with 8 or 16 bits"
