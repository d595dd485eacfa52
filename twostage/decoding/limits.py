"""How large a photograph may be, and how much memory it takes to decode, before anything is decoded."""

from __future__ import annotations

from typing import Any

from PIL import TiffImagePlugin

from twostage.decoding.area import BAND
from twostage.decoding.budget import MEMORY
from twostage.decoding.integrity import largest_strip
from twostage.errors import ImageError

__all__ = [
    "MAX_FILE",
    "MAX_JPEG_PIXELS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "band",
    "check_enough",
    "check_length",
    "check_memory",
    "check_size",
    "kept",
    "memory",
]

MAX_PIXELS = 150_000_000
MAX_JPEG_PIXELS = 600_000_000
"""A JPEG is decoded at a quarter of its sides where that is enough; the limit of memory holds as well."""
MAX_SIDE = 65_535
MIN_SIDE = 16
"""Pixels of the shorter side of what is read, a photograph or a box in one: fewer tell a colour, and no assay."""
MAX_FILE = 200_000_000
"""Bytes of a file that is read as a whole (JPEG, WebP, HEIC, AVIF, and what Pillow decodes in Python)."""


def check_size(width: int, height: int, most: int | None = None) -> None:
    """Refuse what has too few pixels, or more than are decoded (`MAX_PIXELS` unless `most` says otherwise).

    Raises:
        ImageError: It has.
    """
    if min(width, height) < 1:
        raise ImageError(f"it has no pixels ({width}x{height}); take it anew, or remove it")
    check_enough(width, height)
    most = MAX_PIXELS if most is None else most
    if width * height > most:
        raise ImageError(f"{width}x{height} is more than {most // 10**6} million pixels; make it smaller")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width}x{height}: no side may have more than {MAX_SIDE} pixels; make it smaller")


def check_enough(width: float, height: float) -> None:
    """Refuse what has a side of fewer pixels than `MIN_SIDE`: enlarged, it would be read as confidently as any other.

    >>> check_enough(8, 8)
    Traceback (most recent call last):
    twostage.errors.ImageError: too small: 8 x 8 pixels; 16 or more are needed on each side

    Raises:
        ImageError: It has.
    """
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"too small: {width:.6g} x {height:.6g} pixels; {MIN_SIDE} or more are needed on each side")


def check_length(length: int) -> None:
    """Refuse a file that is too long to be read as a whole.

    Raises:
        ImageError: It is.
    """
    if length > MAX_FILE:
        raise ImageError(f"its file has {length / 1e6:.0f} MB, more than {MAX_FILE // 10**6} MB; make it smaller")


def check_memory(width: int, height: int, need: int) -> None:
    """Refuse what takes more memory than one photograph may.

    Raises:
        ImageError: It does.
    """
    if need > MEMORY:
        raise ImageError(
            f"{width}x{height} in this format takes {need / 1e6:.0f} MB to decode, more than {MEMORY // 10**6} MB; "
            f"make it smaller or save it as baseline JPEG or PNG"
        )


def memory(kind: str, size: tuple[int, int], length: int, bits: int, image: Any) -> int:
    """Bytes that decoding takes (of a JPEG, `decoder` counts what is left after reducing it).

    Args:
        size: Width and height.
        length: Bytes of the file.
        image: As Pillow has opened it; None before.
    """
    pixels, need = size[0] * size[1], band(*size)
    if kind == "WebP":
        return need + 20 * pixels + 2 * length  # two canvases, the decoder's own, a copy, and the picture
    if kind in ("HEIC", "AVIF"):
        return need + 3 * length + pixels * (26 if bits > 8 else 12)  # the decoder's planes, a copy, and the picture
    deep = bits == 16 and not image.mode.startswith("I")  # upper and lower bytes
    need += kept(image) * (2 if deep or kind == "GIF" else 1)  # a GIF is kept for its next picture
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        need += largest_strip(image) + (kept(image) if image.tag_v2.get(274, 1) != 1 else 0)  # Pillow turns it
    return need


def kept(image: Any) -> int:
    """Bytes that Pillow keeps a picture in."""
    each = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return int(image.width * image.height * each)


def band(width: int, height: int) -> int:
    """Bytes of what is averaged at a time."""
    return 40 * min(width * height, BAND)
