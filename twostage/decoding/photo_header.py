"""Open a photograph's file and read what stands before its pixels: size, bits, colour space, orientation."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any

from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from twostage.decoding import kinds, limits
from twostage.decoding.integrity import check_gif, check_webp
from twostage.decoding.isobmff import Boxed, read_boxes
from twostage.decoding.spaces import Space
from twostage.decoding.tags import EXIF_IFD, INTEROPERABILITY_IFD, Said, space_of
from twostage.decoding.tiff import check_tags, explain_tags, white_of
from twostage.errors import ImageError

__all__ = ["Header", "of_image", "read_header"]

MAX_CHUNKS = 100_000
COLOR_CHUNKS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
MAX_CHUNK = 1 << 20
CHANNELS = {"1": 1, "L": 1, "P": 3, "LA": 2, "PA": 4, "La": 2, "RGB": 3, "RGBX": 3, "RGBA": 4, "RGBa": 4, "CMYK": 4}


@dataclass
class Header:
    """A photograph before its pixels are decoded; `image` is None for what Pillow does not open (HEIC).

    `width` and `height` are those of the stored pixels, which `orientation` (1 to 8, as in EXIF) turns upright.
    """

    kind: str
    image: Any
    width: int
    height: int
    bits: int = 8
    white: int = 255
    chunks: dict[str, bytes] = field(default_factory=dict)
    boxed: Boxed | None = None
    text_behind: bool = False

    @property
    def coded(self) -> tuple[int, int]:
        """Width and height of what is decoded."""
        return self.boxed.coded if self.boxed else (self.width, self.height)

    @property
    def channels(self) -> int:
        """1 or 2 (gray, with transparency), 3 or 4 (RGB, with transparency; CMYK)."""
        if self.image is None:
            return self.boxed.channels if self.boxed else 3
        return CHANNELS.get(self.image.mode, 3 if self.image.mode in ("LAB", "YCbCr", "HSV") else 1)

    @cached_property
    def exif(self) -> Any:
        """EXIF tags, of a PNG with text behind its pixels after decoding them."""
        if self.image is None:
            return Image.Exif()
        if "eXIf" in self.chunks:
            self.image.info.setdefault("exif", b"Exif\0\0" + self.chunks["eXIf"])
        return self.image.getexif() if self.text_behind else Image.Image.getexif(self.image)

    @cached_property
    def orientation(self) -> int:
        """The EXIF orientation that is still to be applied: Pillow turns TIFF itself, as libheif does."""
        if isinstance(self.image, TiffImagePlugin.TiffImageFile):
            return 1
        value = self.exif.get(ExifTags.Base.Orientation, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @cached_property
    def space(self) -> Space:
        """The colour space that its tags say."""
        if self.boxed is not None:
            return space_of(_said_by_boxes(self.boxed))
        info, exif = self.image.info, self.exif
        tags = {**exif, **exif.get_ifd(EXIF_IFD)} if exif else {}
        if tags:
            tags[1] = exif.get_ifd(INTEROPERABILITY_IFD).get(1, "")
        if self.image.mode == "LAB":  # Pillow makes sRGB of them, and their profile only says that they are Lab
            return Space("CIE Lab", "PhotometricInterpretation 8")
        profile = info.get("icc_profile", b"")
        damaged = ("icc_profile" in info or "iCCP" in self.chunks) and not (profile and isinstance(profile, bytes))
        return space_of(Said(self.chunks, None if damaged else profile, tags, self.channels < 3))


def _said_by_boxes(boxed: Boxed) -> Said:
    """The decoder applies matrix and range; primaries and curve are left. A profile says more than these."""
    numbers = bytes([*boxed.nclx[:2], 0, 1]) if boxed.nclx else b""
    if boxed.profile and (not numbers or numbers[1] not in (16, 18)):
        numbers = b""
    return Said({"nclx": numbers} if numbers else {}, boxed.profile)


def read_header(file: IO[bytes], kind: str) -> Header:
    """Open a file of this kind, and see that it is none that would be read wrongly.

    Raises:
        ImageError: It is too large, or holds what is no photograph.
    """
    length = file.seek(0, io.SEEK_END)
    if kind in ("JPEG", "WebP", "HEIC", "AVIF"):
        limits.check_length(length)
    file.seek(0)
    if kind in ("HEIC", "AVIF"):
        return _boxed(file, kind)
    if kind == "PNG":
        head = file.read(26)
        limits.check_size(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    elif kind == "GIF":
        check_gif(file)
    elif kind == "WebP":
        size = check_webp(file)
        limits.check_size(*size)
        limits.check_memory(*size, limits.memory(kind, size, length, 8, None))  # Pillow reserves it when it opens
    file.seek(0)
    if kind == "JPEG":
        image: Any = JpegImagePlugin.JpegImageFile(file)  # Image.open has a limit of its own, for what is decoded whole
    else:
        image = _open(file, kind)
    limits.check_size(image.width, image.height, limits.MAX_JPEG_PIXELS if kind == "JPEG" else None)
    header = Header(kind, image, image.width, image.height)
    if kind == "PNG":
        header.bits = head[24]
        header.chunks, header.text_behind = _chunks(file)
    elif kind == "BMP":
        header.chunks = _bitmap(image, file)
    elif kind == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        raise ImageError("CMYK without Adobe's marker (APP14) does not say whether 0 is ink; save it as RGB")
    elif kind == "PPM" and image.mode.startswith("I"):
        header.bits = 16
    if image.mode == "F":
        raise ImageError("floating point has no defined white; save it with 8 or 16 bits")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        check_tags(image, file)
        header.bits = max(image.tag_v2.get(258, (1,)))
        header.white = white_of(image.tag_v2, header.bits)
    else:
        header.white = 65535 if header.bits == 16 else 255
    return header


def _open(file: IO[bytes], kind: str) -> Any:
    try:
        return Image.open(file, formats=(kinds.KINDS[kind].plugin,))
    except Image.UnidentifiedImageError as error:
        if kind == "TIFF" and (why := explain_tags(file)):
            raise ImageError(why) from error
        raise


def of_image(image: Image.Image) -> Header:
    """An image that a caller has decoded: what it says of itself is in its `info`."""
    limits.check_size(image.width, image.height)
    info, chunks = image.info, {}
    if isinstance(gamma := info.get("gamma"), int | float) and gamma > 0:
        chunks["gAMA"] = round(gamma * 100_000).to_bytes(4, "big")
    if isinstance(points := info.get("chromaticity"), tuple) and len(points) == 8:
        chunks["cHRM"] = struct.pack(">8I", *(round(value * 100_000) for value in points))
    if "srgb" in info:
        chunks["sRGB"] = bytes([int(info["srgb"]) & 255])
    if isinstance(nclx := info.get("nclx_profile"), dict) and not info.get("icc_profile"):
        numbers = [int(nclx.get(name, 2)) & 255 for name in ("color_primaries", "transfer_characteristics")]
        chunks["nclx"] = bytes([*numbers, 0, 1])
    sixteen = image.mode[0] in "IF"
    return Header("", image, image.width, image.height, 16 if sixteen else 8, 65535 if sixteen else 255, chunks)


def _boxed(file: IO[bytes], kind: str) -> Header:
    try:
        boxed = read_boxes(file)
    except ImageError as error:
        raise ImageError(f"{kind}: {error}") from error
    width, height = boxed.upright
    for size in (boxed.coded, boxed.upright):  # of which tags may cut a small part out
        limits.check_size(*size)
    if kind == "AVIF" and boxed.clipped:
        raise ImageError("it is cropped by a tag (clap) that is not applied; save it again")
    return Header(kind, None, width, height, boxed.bits, (1 << boxed.bits) - 1, boxed=boxed)


def _chunks(file: IO[bytes]) -> tuple[dict[str, bytes], bool]:
    """The chunks of a PNG that speak of colours and orientation, and whether texts follow the pixels."""
    found: dict[str, bytes] = {}
    behind = texts = False
    at = 8
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or name == b"IEND":
            break
        behind = behind or name == b"IDAT"
        texts = texts or (behind and name in (b"iTXt", b"zTXt", b"tEXt"))
        if name in COLOR_CHUNKS and length <= MAX_CHUNK and (not behind or name == b"eXIf"):
            found.setdefault(name.decode(), file.read(length))
        at += 12 + length
    return found, texts


def _bitmap(image: Any, file: IO[bytes]) -> dict[str, bytes]:
    """The header of a BMP of version 4 or 5; a profile in it becomes that of the image."""
    file.seek(14)
    head = file.read(4)
    head += file.read(min(int.from_bytes(head, "little"), 124) - 4) if len(head) == 4 else b""
    bits = int.from_bytes(head[14:16] if len(head) > 12 else head[10:12], "little")
    if image.mode == "1" and bits != 1:  # whose bytes Pillow would take for eight pixels each
        raise ImageError(f"a palette of black and white for pixels of {bits} bits is not read; save it as PNG")
    if len(head) >= 124 and head[56:60][::-1] == b"MBED":
        begin, length = struct.unpack("<II", head[112:120])
        file.seek(14 + begin)
        image.info["icc_profile"] = file.read(min(length, 1 << 24))
    return {"BMP": head}
