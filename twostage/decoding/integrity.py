"""Whether a PNG, TIFF, WebP or GIF is whole, as far as the file can tell; Pillow reads many that are not.

What no check can find: changed bytes in a format without checksums (BMP, PPM, GIF, and TIFF without deflate) that leave
its structure sound are other pixels, and nothing says so.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin

from twostage.decoding.jpeg import decode_jpeg, read_layout
from twostage.errors import ImageError

__all__ = ["check_gif", "check_png", "check_png_rows", "check_ppm", "check_tiff", "check_webp", "largest_strip"]

BLOCK = 1 << 20
MAX_CHUNKS = 100_000
PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""Adam7: first row, step of rows, first column, step of columns."""
CUT = "it is cut off"


def check_png(file: IO[bytes]) -> None:
    """Compare each chunk with its checksum (Pillow passes over those of the pixels), up to the end chunk.

    Raises:
        ImageError: A chunk is damaged or missing.
    """
    file.seek(8)
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise ImageError(f"{CUT}: a PNG ends with an end chunk")
        left, checksum = int.from_bytes(head[:4], "big"), zlib.crc32(head[4:])
        while left:
            block = file.read(min(left, BLOCK))
            if not block:
                raise ImageError(f"{CUT} in the middle of a chunk")
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if file.read(4) != checksum.to_bytes(4, "big"):
            raise ImageError("it is damaged: the checksum of a chunk is wrong")
        if head[4:] == b"IEND":
            return
    raise ImageError(f"it has more than {MAX_CHUNKS} chunks; save it again")


def check_png_rows(image: Image.Image, file: IO[bytes]) -> None:
    """See that a PNG holds all its rows; Pillow leaves those that are missing at zero.

    Raises:
        ImageError: Rows are missing.
    """
    file.seek(16)
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    if not interlaced:
        if np.any(image.getpixel((width - 1, height - 1))):  # the quickest sign of it
            return
        if np.asarray(image.crop((0, height - 1, width, height))).any():
            return
    bits = depth * {2: 3, 4: 2, 6: 4}.get(color, 1)
    sizes = [(height, width)]
    if interlaced:
        sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for y, dy, x, dx in PASSES]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0)
    if _inflated(file) < expected:
        raise ImageError("it is damaged: its data end before the picture does")


def _inflated(file: IO[bytes]) -> int:
    """Bytes in the first run of pixel chunks."""
    inflate, total, begun = zlib.decompressobj(), 0, False
    file.seek(8)
    while len(head := file.read(8)) == 8:
        left = int.from_bytes(head[:4], "big")
        if head[4:] != b"IDAT":
            if begun:
                break
            file.seek(left + 4, io.SEEK_CUR)
            continue
        begun = True
        while left:
            block = file.read(min(left, BLOCK))
            left -= len(block)
            total += _length(inflate, block)
        file.seek(4, io.SEEK_CUR)
    return total + len(inflate.flush())


def check_ppm(image: Any, file: IO[bytes]) -> None:
    """See that no number lies above the white that the header says; Pillow would cut them.

    Raises:
        ImageError: Some do.
    """
    if image.tile[0].codec_name != "ppm":
        return
    white, at = image.tile[0].args[-1], file.tell()
    kind = np.dtype(">u2" if white > 255 else np.uint8)
    file.seek(image.tile[0].offset)
    content = file.read(image.width * image.height * len(image.getbands()) * kind.itemsize)
    file.seek(at)
    most = np.frombuffer(content, kind, len(content) // kind.itemsize).max(initial=0)
    if most > white:
        raise ImageError(f"its header says that white is {white}, and its numbers go up to {most}; save it as PNG")


def check_webp(file: IO[bytes]) -> tuple[int, int]:
    """The width and height, before any decoder reserves memory for them.

    Raises:
        ImageError: The file is shorter than it says, or its size is not where it should be.
    """
    head = file.read(30)
    whole = 8 + int.from_bytes(head[4:8], "little")
    if file.seek(0, io.SEEK_END) < whole:
        raise ImageError(CUT)
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    raise ImageError("it is damaged: a WebP begins with its size")


def check_gif(file: IO[bytes]) -> None:
    """Follow the blocks to the end of the first picture.

    Raises:
        ImageError: They end before, or hold more than a photograph's.
    """
    head = file.read(13)
    _skip_colors(file, head[10:11])
    for _ in range(MAX_CHUNKS):
        kind = file.read(1)
        if kind == b"!":
            file.read(1)
            _skip_blocks(file, 4096)
        elif kind == b",":
            _skip_colors(file, file.read(9)[8:9])
            file.read(1)
            return _skip_blocks(file, 1 << 22)
        elif kind in (b"", b";"):
            break
    raise ImageError("it holds no picture")


def _skip_colors(file: IO[bytes], flags: bytes) -> None:
    if flags and flags[0] & 128:
        file.seek(3 << (flags[0] & 7) + 1, io.SEEK_CUR)


def _skip_blocks(file: IO[bytes], most: int) -> None:
    for _ in range(most):
        size = file.read(1)
        if not size or len(file.read(size[0])) < size[0]:
            raise ImageError(CUT)
        if size == b"\0":
            return
    raise ImageError(f"a part of it has more than {most} blocks; save it again")


def check_tiff(image: TiffImagePlugin.TiffImageFile, file: IO[bytes]) -> None:
    """See that every strip or tile is there, and that a decoder which tells damage reads it.

    Raises:
        ImageError: Something is missing, or damaged JPEG inside, or a way of storing pixels that is not read rightly.
    """
    tags = image.tag_v2
    compression = tags.get(259, 1)
    strips = _strips(image)
    counts = strips.counts
    if compression == 1 and not counts:  # what is not said is what they need
        counts = tuple(map(strips.bytes_in, range(len(strips.places))))
    if len(strips.places) < strips.expected or len(counts) != len(strips.places):
        raise ImageError(f"{CUT}: parts of the picture are missing")
    size = file.seek(0, io.SEEK_END)
    if any(place == 0 or place + count > size for place, count in zip(strips.places, counts, strict=True)):
        raise ImageError(f"{CUT}: parts of the picture lie beyond the end of the file")
    if compression != 1 and 0 in counts:
        raise ImageError(f"{CUT}: parts of the picture are empty")
    if compression == 1 and any(count < strips.bytes_in(number) for number, count in enumerate(counts)):
        raise ImageError("missing or broken strips: some are shorter (StripByteCounts) than their rows; save it again")
    check = {7: _check_jpeg_strip, 8: _check_deflate_strip, 32946: _check_deflate_strip}.get(compression)
    if check:
        for number, (place, count) in enumerate(zip(strips.places, counts, strict=True)):
            file.seek(place)
            check(image, file.read(count), strips.bytes_in(number))


@dataclass(frozen=True)
class _Strips:
    """Positions and lengths of the strips or tiles, how many there should be, and what one holds."""

    places: tuple[int, ...]
    counts: tuple[int, ...]
    expected: int
    rows: int
    row_bytes: int
    height: int
    tiled: bool

    def bytes_in(self, number: int) -> int:
        """Bytes that this one holds before compression; the last of a plane is shorter."""
        if self.tiled:
            return self.rows * self.row_bytes
        begin = number % math.ceil(self.height / self.rows) * self.rows
        return min(self.rows, self.height - begin) * self.row_bytes


def _strips(image: TiffImagePlugin.TiffImageFile) -> _Strips:
    tags = image.tag_v2
    width, height, samples, bits = tags[256], tags[257], tags.get(277, 1), max(tags.get(258, (1,)))
    planes = samples if tags.get(284, 1) == 2 else 1
    bits_a_pixel = bits * samples // planes
    if 324 in tags:
        across, down = tags[322], tags[323]
        count = math.ceil(width / across) * math.ceil(height / down)
        row = math.ceil(across * bits_a_pixel / 8)
        return _Strips(tags[324], tags.get(325, ()), planes * count, down, row, height, True)
    rows = max(1, min(tags.get(278, height), height))
    row = math.ceil(width * bits_a_pixel / 8)
    return _Strips(tags.get(273, ()), tags.get(279, ()), planes * math.ceil(height / rows), rows, row, height, False)


def largest_strip(image: TiffImagePlugin.TiffImageFile) -> int:
    """Bytes that libtiff needs for one strip or tile; none where Pillow reads the file itself."""
    strips = _strips(image)
    return 0 if image.tag_v2.get(259, 1) == 1 else strips.rows * strips.row_bytes


def _check_jpeg_strip(image: TiffImagePlugin.TiffImageFile, strip: bytes, expected: int) -> None:
    """A strip is a JPEG without its tables; decoding it at an eighth of its size shows whether it is whole."""
    tables = image.tag_v2.get(347, b"")
    data = tables[:-2] + strip[2:] if tables else strip
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as part:
        part.draft(None, (part.width // 8 or 1, part.height // 8 or 1))
        decode_jpeg(part, data, read_layout(data))


def _check_deflate_strip(image: TiffImagePlugin.TiffImageFile, strip: bytes, expected: int) -> None:
    """Libtiff leaves rows at zero where the data are broken, and looks at no checksum; zlib does."""
    inflate = zlib.decompressobj()
    if _length(inflate, strip) < expected or not inflate.eof:
        raise ImageError("it is damaged: its data end before the picture does")


def _length(inflate: Any, block: bytes) -> int:
    """How many bytes a block inflates to, a piece at a time."""
    total = 0
    while block and not inflate.eof:
        total += len(inflate.decompress(block, BLOCK))
        block = inflate.unconsumed_tail
    return total
