"""What a photograph's file is: its kind is told by its content, whatever its name."""

from __future__ import annotations

import importlib.util
import os
import stat
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

import PIL
from PIL import features

from twostage.errors import ImageError

__all__ = [
    "AVIF_BRANDS",
    "HEAD",
    "HEIF_BRANDS",
    "KINDS",
    "SUFFIXES",
    "Kind",
    "decoder_versions",
    "kind_of",
    "open_regular",
    "refuse_unreadable",
]

HEAD = 64
"""So many bytes at the beginning tell the kind."""


@dataclass(frozen=True)
class Kind:
    """How files of a kind begin and are called; `plugin` is Pillow's name of what reads them, "" where nothing does.

    `hint`: what to do where it is not read.
    """

    starts: tuple[bytes, ...]
    suffixes: str
    plugin: str = ""
    hint: str = "convert it to JPEG or PNG"


DEVELOP = "develop the raw photograph to TIFF or JPEG, all photographs with the same settings"
KINDS = {
    "JPEG": Kind((b"\xff\xd8\xff",), ".jpg .jpeg .jpe .jfif .mpo", "JPEG"),
    "PNG": Kind((b"\x89PNG\r\n\x1a\n",), ".png .apng", "PNG"),
    "TIFF": Kind((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ".tif .tiff", "TIFF"),
    "HEIC": Kind((), ".heic .heif .hif .heics .heifs", "HEIF", "install twostage[heic] or convert it to JPEG"),
    "AVIF": Kind((), ".avif .avifs", "AVIF"),
    "WebP": Kind((), ".webp", "WEBP"),
    "BMP": Kind((b"BM",), ".bmp .dib", "BMP"),
    "GIF": Kind((b"GIF8",), ".gif", "GIF"),
    "PPM": Kind(tuple(b"P%d" % digit for digit in range(1, 7)), ".ppm .pgm .pbm .pnm", "PPM"),
    "JPEG 2000": Kind((b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"), ".jp2 .j2k .jpf .jpx"),
    "JPEG XL": Kind((b"\xff\x0a", b"\0\0\0\x0cJXL"), ".jxl"),
    "raw": Kind(
        (b"II*\0\x10\0\0\0CR", b"FUJIFILM", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"II\x1a\0\0\0HEAPCCDR"),
        ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .rwl .3fr .iiq .x3f",
        hint=DEVELOP,
    ),
    "PDF": Kind((b"%PDF",), ""),
    "PSD": Kind((b"8BPS",), ".psd .psb"),
    "SVG": Kind((b"<svg",), ""),
    "ICO": Kind((b"\0\0\1\0",), ""),
    "film": Kind((), "", hint="take a picture out of the film"),
}
"""Every kind that is told from the others, whether it is read or not."""
SUFFIXES = frozenset(" ".join(kind.suffixes for kind in KINDS.values()).split())
"""Endings, in lower case, of names by which a photograph is found in a folder; some are then refused by their kind."""

HEIF_BRANDS = {"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "mif2", "msf1"}
AVIF_BRANDS = {"avif", "avis", "avio"}


def kind_of(head: bytes) -> str:
    """The kind of a file that begins with these `HEAD` bytes; "" for none that is known.

    >>> kind_of(bytes([255, 216, 255, 224])), kind_of(b"RIFF....WEBPVP8 "), kind_of(b"image,target")
    ('JPEG', 'WebP', '')
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    starts = [(start, name) for name, kind in KINDS.items() for start in kind.starts if head.startswith(start)]
    return max(starts, key=lambda pair: len(pair[0]), default=(b"", ""))[1]


def _of_brands(head: bytes) -> str:
    """HEIF and its relatives name their kind, then others that they can pass for."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[at : at + 4].decode("latin-1").strip().lower() for at in (8, *range(16, end - 3, 4))]
    if brands[0].startswith("crx"):
        return "raw"
    if AVIF_BRANDS & {brands[0]} or (
        brands[0] in HEIF_BRANDS and AVIF_BRANDS & set(brands) and not {"heic", "heix"} & set(brands)
    ):
        return "AVIF"
    return "HEIC" if brands[0] in HEIF_BRANDS else "JPEG XL" if brands[0].startswith("jxl") else "film"


def refuse_unreadable(kind: str) -> None:
    """Refuse a file by its kind.

    Raises:
        ImageError: It is none that can be read, or what reads it is not installed.
    """
    if not kind or not KINDS[kind].plugin:
        what = f"{kind}: {KINDS[kind].hint}" if kind else "damaged or another format"
        read = ", ".join(name for name, one in KINDS.items() if one.plugin)
        raise ImageError(f"not a photograph that can be read ({read}); {what}")
    if kind == "HEIC" and importlib.util.find_spec("pillow_heif") is None:
        raise ImageError(f"HEIC is read by pillow-heif, which is not installed: {KINDS[kind].hint}")
    if kind == "AVIF" and not features.check("avif"):
        raise ImageError("this Pillow is built without AVIF: install pillow>=11.3, or convert it to JPEG")


def decoder_versions() -> list[str]:
    """What decodes photographs here: with another Pillow or pillow-heif, or without one, they may be others."""
    heif = version("pillow-heif") if importlib.util.find_spec("pillow_heif") else ""
    return [PIL.__version__, heif, "avif" if features.check("avif") else ""]


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
