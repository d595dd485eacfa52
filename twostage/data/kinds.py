"""What a photograph's file is: its kind is told by its content, whatever its name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from twostage.errors import ImageError

__all__ = ["FORMATS", "SUFFIXES", "kind_of", "open_regular", "refuse_unreadable"]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""What is read, by Pillow's names."""
SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .mpo .tif .tiff .bmp .dib .webp .gif .ppm .pgm .pbm .pnm".split()
)
"""Endings, in lower case, of names by which a photograph is found in a folder."""

_READ = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
    **{f"P{digit}".encode(): "PPM" for digit in "123456"},
}
_NOT_READ = {
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"<svg": "SVG",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"FUJIFILM": "raw",
    b"\0\0\1\0": "ICO",
}
_BRANDS = {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"}


def kind_of(head: bytes) -> str:
    """The kind of a file that begins with these 32 bytes; "" for none that is known.

    >>> kind_of(bytes([255, 216, 255, 224])), kind_of(b"RIFF....WEBPVP8 "), kind_of(b"image,target")
    ('JPEG', 'WebP', '')
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brand = head[8:12].decode("latin-1").strip().lower()
        return "HEIC" if brand in _BRANDS else "AVIF" if brand.startswith("avi") else "a film or raw photograph"
    return next((kind for start, kind in (_READ | _NOT_READ).items() if head.startswith(start)), "")


def refuse_unreadable(kind: str) -> None:
    """Refuse a file by its kind.

    Raises:
        ImageError: It is none that can be read.
    """
    if kind not in {*_READ.values(), "WebP"}:
        hint = f"convert {kind} to JPEG or PNG" if kind else "damaged or another format"
        raise ImageError(f"not a photograph that can be read ({', '.join(FORMATS)}); {hint}")


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file for reading; a pipe or a device, which may never end, is refused.

    Raises:
        ImageError: It is no regular file.
        OSError: It is missing or cannot be read.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ImageError(f"{'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not a file")
    return open(path, "rb")
