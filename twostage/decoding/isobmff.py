"""What the boxes of a HEIC or AVIF say of its primary picture (ISO/IEC 14496-12 and 23008-12), without decoding it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from twostage.errors import ImageError

__all__ = ["Boxed", "read_boxes"]

MAX_META = 1 << 24
"""Bytes of the box that describes the pictures."""
MAX_BOXES = 10_000


@dataclass
class Boxed:
    """The primary picture: `nclx` has the numbers of its primaries, transfer and matrix, and whether its range is full.

    `coded` is the size of what is decoded, `width` and `height` what is left of it (clap) before it is turned.
    `quarter_turns` is counterclockwise, `mirrored` says whether it is mirrored as well.
    """

    width: int = 0
    height: int = 0
    bits: int = 8
    channels: int = 3
    nclx: bytes = b""
    profile: bytes = b""
    quarter_turns: int = 0
    mirrored: bool = False
    clipped: bool = False
    coded: tuple[int, int] = (0, 0)

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as the picture is shown."""
        return (self.height, self.width) if self.quarter_turns % 2 else (self.width, self.height)


def read_boxes(file: IO[bytes]) -> Boxed:
    """Describe the primary picture, and see that all parts of it lie inside of the file.

    Raises:
        ImageError: A box is missing or broken, or the file is cut off.
    """
    length = file.seek(0, io.SEEK_END)
    meta = _meta(file, length)
    parts = dict(_boxes(meta[4:]))  # of each kind there is one
    try:
        primary = _number(parts[b"pitm"], 4, 2 if parts[b"pitm"][0] == 0 else 4)
        _check_extents(parts[b"iloc"], length)
        inside = dict(_boxes(parts[b"iprp"]))
        properties = list(_boxes(inside[b"ipco"]))
        boxed = Boxed()
        for number in _properties_of(parts[b"iprp"], primary):
            if 0 < number <= len(properties):
                _apply(boxed, *properties[number - 1])
        if not (boxed.nclx or boxed.profile):  # some writers give colours to the tiles of a picture alone
            colors = {body for kind, body in properties if kind == b"colr"}
            for body in colors if len(colors) == 1 else ():
                _apply(boxed, b"colr", body)
    except (KeyError, IndexError) as error:
        raise ImageError("it is damaged: its primary picture is not described") from error
    if not boxed.width or not boxed.height:
        raise ImageError("it is damaged: the size of its primary picture is missing")
    return boxed


def _meta(file: IO[bytes], length: int) -> bytes:
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), 16
        size = size or length - at
        if len(head) < 8 or size < begin:
            break
        if at + size > length:
            raise ImageError("it is cut off")
        if kind == b"meta":
            if size > MAX_META:
                raise ImageError(f"the description of its pictures has more than {MAX_META >> 20} MB; save it again")
            file.seek(at + begin)
            return file.read(size - begin)
        at += size
    raise ImageError("it is damaged: it describes no picture")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each box in `data`."""
    at = 0
    while at + 8 <= len(data):
        size = _number(data, at, 4)
        if size == 0:
            size = len(data) - at
        if size < 8 or at + size > len(data):
            raise ImageError("it is damaged: a box is longer than what it lies in")
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ImageError("it is damaged: a box ends too early")
    return int.from_bytes(data[at : at + size], "big")


def _properties_of(iprp: bytes, item: int) -> list[int]:
    """Numbers, from 1 on, of the properties that the item has."""
    for kind, ipma in _boxes(iprp):
        if kind != b"ipma":
            continue
        wide, long = (4 if ipma[0] else 2), (2 if ipma[3] & 1 else 1)
        at = 8
        for _ in range(_number(ipma, 4, 4)):
            name, count = _number(ipma, at, wide), _number(ipma, at + wide, 1)
            at += wide + 1
            if name == item:
                return [_number(ipma, at + i * long, long) & (0x7FFF if long == 2 else 0x7F) for i in range(count)]
            at += count * long
    return []


def _apply(boxed: Boxed, kind: bytes, body: bytes) -> None:
    if kind == b"ispe":
        boxed.coded = boxed.width, boxed.height = _number(body, 4, 4), _number(body, 8, 4)
    elif kind == b"pixi":
        boxed.channels, boxed.bits = _number(body, 4, 1), max(body[5:], default=8)
    elif kind == b"colr" and body[:4] == b"nclx":
        two = [_number(body, at, 2) for at in (4, 6, 8)]
        boxed.nclx = bytes([*(min(value, 255) for value in two), _number(body, 10, 1) >> 7])
    elif kind == b"colr" and body[:4] in (b"prof", b"rICC"):
        boxed.profile = body[4:]
    elif kind == b"irot":
        boxed.quarter_turns = body[0] & 3
    elif kind == b"imir":
        boxed.mirrored = True
    elif kind == b"clap":
        boxed.clipped = True
        sides = [_number(body, at, 4) // max(1, _number(body, at + 4, 4)) for at in (0, 8)]
        boxed.width, boxed.height = min(sides[0], boxed.coded[0]), min(sides[1], boxed.coded[1])


def _check_extents(iloc: bytes, length: int) -> None:
    """No part of a picture may lie behind the end of the file."""
    version, at = iloc[0], 8 if iloc[0] < 2 else 10
    offsets, lengths, bases, indices = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, (iloc[5] & 15 if version else 0)
    for _ in range(_number(iloc, 6, 2 if version < 2 else 4)):
        at += 2 if version < 2 else 4
        inside = 0
        if version:
            inside, at = _number(iloc, at, 2) & 15, at + 2
        base, count = _number(iloc, at + 2, bases), _number(iloc, at + 2 + bases, 2)
        at += 4 + bases
        for _ in range(count):
            begin, size = _number(iloc, at + indices, offsets), _number(iloc, at + indices + offsets, lengths)
            at += indices + offsets + lengths
            if inside == 0 and base + begin + size > length:
                raise ImageError("it is cut off: parts of its pictures lie beyond the end of the file")
