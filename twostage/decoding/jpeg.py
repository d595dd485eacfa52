"""Decode a JPEG and see whether its data say exactly as many blocks as it has, which libjpeg repairs in silence.

A JPEG has no checksum, but its coded data are a chain: after damage they code another number of blocks. libjpeg then
leaves the lower part grey, or skips the bytes left over. Pillow does not pass its warnings on, but its decoder takes
the file in pieces and says how much it has used, so each piece is given in turn: all but the last byte of a coded part
must not be enough, and all of it must be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from PIL import Image, ImageFile

from twostage.errors import ImageError

__all__ = ["Layout", "decode_jpeg", "read_layout"]

MAX_SCANS = 100
MAX_SEGMENTS = 10_000
MARKER = re.compile(rb"\xff[\x01-\xfe]")
# Ones are no Huffman code, so they do not stand in for blocks that are missing; libjpeg reads 8 bytes ahead.
AHEAD = b"\xff\x00" * 8
END = b"\xff\xd9"
START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xCA}
HUFFMAN = {0xC0, 0xC1, 0xC2}


@dataclass
class Layout:
    """Where the coded parts of a JPEG lie: `parts` [start,end), each followed by a marker; `end` is after the last.

    `frame` is the kind of coding (SOF marker), `missing` maps each component and coefficient to the bits that no scan
    has given yet, and `coefficients` is how many libjpeg must keep until the last scan has come (0: none). `size` is
    width and height, `shares` are the components' sampling factors, `interval` is the number of blocks between restart
    markers, and `restarts` how many of these the present scan needs.
    """

    parts: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    frame: int = 0
    scans: int = 0
    coefficients: int = 0
    missing: dict[int, list[int]] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    shares: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    restarts: int = 0


def read_layout(data: bytes) -> Layout:
    """Find the coded parts.

    Raises:
        ImageError: Restart markers are not in order, or scans are missing or too many.
    """
    layout, at = Layout(), 2
    for _ in range(MAX_SEGMENTS):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 2 > len(data):
            layout.end = len(data)
            return _checked(layout)
        kind, begin = data[at + 1], at + 2
        if kind == 0xD9:
            layout.end = begin
            return _checked(layout)
        if kind in (0x00, 0x01, 0xD8) or 0xD0 <= kind <= 0xD7:
            at = begin
            continue
        at = begin + int.from_bytes(data[begin : begin + 2], "big")
        body = data[begin + 2 : min(at, begin + 1026)]
        if kind in START_OF_FRAME and not layout.frame:
            _read_frame(layout, kind, body)
        elif kind == 0xDD:
            layout.interval = int.from_bytes(body[:2], "big")
        elif kind == 0xDA:
            _read_scan(layout, body)
            at = _read_parts(layout, data, at)
    raise ImageError(f"it has more than {MAX_SEGMENTS} segments; save it again")


def _read_frame(layout: Layout, kind: int, body: bytes) -> None:
    layout.frame = kind
    layout.size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
    layout.shares = {body[i]: (body[i + 1] >> 4 or 1, body[i + 1] & 15 or 1) for i in range(6, len(body) - 2, 3)}
    layout.missing = {name: [16] * 64 for name in layout.shares}
    layout.coefficients = 64 * _blocks(layout, b"") * sum(x * y for x, y in layout.shares.values())


def _blocks(layout: Layout, names: bytes) -> int:
    """The units in which a scan of these components is coded: blocks of a single one, else groups of blocks of all."""
    most = [max((share[k] for share in layout.shares.values()), default=1) for k in (0, 1)]
    if len(names) != 1:
        return math.prod(-(-side // (8 * many)) for side, many in zip(layout.size, most, strict=True))
    own = layout.shares.get(names[0], (1, 1))
    sides = [-(-side * one // many) for side, one, many in zip(layout.size, own, most, strict=True)]
    return math.prod(-(-side // 8) for side in sides)


def _read_scan(layout: Layout, body: bytes) -> None:
    layout.scans += 1
    if layout.scans > MAX_SCANS:
        raise ImageError(f"it has more than {MAX_SCANS} scans, and would take minutes to decode; save it again")
    count = body[0] if body else 0
    names, rest = body[1 : 1 + 2 * count : 2], body[1 + 2 * count : 4 + 2 * count]
    if len(rest) < 3:
        raise ImageError("a scan's header is damaged")
    first, last, low = (rest[0], rest[1], rest[2] & 15) if layout.frame in PROGRESSIVE else (0, 63, 0)
    layout.restarts = -(-_blocks(layout, names) // layout.interval) - 1 if layout.interval else 0
    for name in names:
        layout.missing.setdefault(name, [16] * 64)[first : last + 1] = [low] * max(0, min(last, 63) + 1 - first)


def _read_parts(layout: Layout, data: bytes, at: int) -> int:
    """The parts of one scan, which restart markers divide; returns where the next marker is."""
    restarts = 0
    while True:
        found = MARKER.search(data, at)
        if found is None:  # without an end marker; whether the data are whole is seen in decoding
            layout.parts.append((at, len(data)))
            return len(data)
        end = found.start()
        while end > at and data[end - 1] == 0xFF:  # markers may be preceded by any number of these
            end -= 1
        layout.parts.append((at, end))
        kind = data[found.start() + 1]
        if not 0xD0 <= kind <= 0xD7:
            if restarts < layout.restarts:
                raise ImageError("it is damaged: restart markers are missing")
            return found.start()
        if kind != 0xD0 + restarts % 8:
            raise ImageError("it is damaged: its restart markers are not in order")
        restarts += 1
        at = found.end()


def _checked(layout: Layout) -> Layout:
    if not layout.parts:
        raise ImageError("it is damaged: it holds no picture")
    if any(any(bits) for bits in layout.missing.values()):
        raise ImageError("it is cut off: scans are missing")
    if layout.scans == 1 and layout.frame not in PROGRESSIVE:
        layout.coefficients = 0
    return layout


def decode_jpeg(image: ImageFile.ImageFile, data: bytes, layout: Layout) -> None:
    """Decode `data` into `image`, which Pillow has opened from it, perhaps at a reduced size (`draft`).

    Raises:
        ImageError: The data code fewer or more blocks than the picture has. Damage that leaves their number right
            to within about ten bytes, and files in arithmetic coding, are not told apart from sound ones.
        OSError: libjpeg cannot decode it.
    """
    image.load_prepare()
    name, extents, _, arguments = image.tile[0]
    # what ImageFile.load does too, but it keeps to itself what the decoder has used
    decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
    try:
        decoder.setimage(image.im, extents)
        feed = _Feed(decoder)
        view, at = memoryview(data), 0
        for start, end in layout.parts if layout.frame in HUFFMAN else []:
            _feed_part(feed, view, at, start, end)
            at = end
        if not feed.give(bytes(view[at : layout.end]) + END):
            raise ImageError("it is damaged: it ends before the picture does")
    finally:
        decoder.cleanup()
    image.tile = []


class _Feed:
    """Gives the decoder piece after piece, and what it has left of one again with the next."""

    def __init__(self, decoder: object) -> None:
        self.decode = decoder.decode  # type: ignore[attr-defined]
        self.rest: bytes | memoryview = b""
        self.ended = False

    def give(self, piece: memoryview | bytes) -> bool:
        """Whether the decoder has all it needs for the picture."""
        if self.ended:
            return True
        buffer = b"".join((self.rest, piece)) if len(self.rest) else piece
        used, error = self.decode(buffer)
        if used < 0 and error < 0:
            raise OSError("libjpeg finds its data broken")
        self.ended = used < 0
        self.rest = buffer[len(buffer) if self.ended else used :]
        return self.ended

    def is_enough(self, piece: memoryview | bytes) -> bool:
        """Whether, with this piece, all blocks of the part are decoded.

        After the last block of a single scan the decoder ends. Elsewhere it takes whole blocks only while some are
        missing; then it looks for the marker and takes every byte, also where there are but two more (blocks are
        decoded from at least six, while there is no marker).
        """
        self.give(piece[:-2])
        nothing_left = not len(self.rest)
        return self.give(piece[-2:]) or (nothing_left and not len(self.rest))


def _feed_part(feed: _Feed, view: memoryview, at: int, start: int, end: int) -> None:
    """Give everything up to `end`, where a marker follows."""
    over = ImageError("it is damaged: bytes are left over after the last block")
    padding = _zeros(view, start, end)
    if padding:  # zeros between the data and the marker, as some cameras leave them, or data that are zero
        core = end - padding
        if core - 4 > start and feed.is_enough(view[at : core - 1]):
            raise over
        at = max(at, core - 1) if core - 4 > start else at
        close = min(end, core + len(AHEAD) // 2)
        if close - at > 2:
            if feed.is_enough(view[at:close]):
                feed.give(view[close:end])
                return
            at = close
    if end - 1 - max(at, start) > 3:
        if feed.is_enough(view[at : end - 1]):
            raise over
        at = end - 1
    feed.give(view[at:end])
    feed.give(AHEAD)
    if not feed.is_enough(AHEAD[:4]):
        raise ImageError("it is damaged: it ends before the picture does")


def _zeros(view: memoryview, start: int, end: int) -> int:
    """How many zero bytes the part ends with; that of a stuffed 255 is none."""
    if end == start or view[end - 1]:
        return 0
    part = bytes(view[start:end])
    core = part.rstrip(b"\0")
    return len(part) - len(core) - (1 if core.endswith(b"\xff") else 0)
