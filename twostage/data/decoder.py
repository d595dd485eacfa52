"""The one place where Pillow is called: it opens a photograph, sees whether it is sound, and hands out its pixels.

Whatever Pillow raises on a file is that photograph's refusal. One photograph takes less than 1 GB and 10 s: the limits
below, `budget.MEMORY` and those of `jpeg` and `integrity` see to it before anything is decoded.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from twostage.data import kinds
from twostage.data.area import BAND
from twostage.data.budget import DECODING, MEMORY, give_back
from twostage.data.integrity import check_gif, check_png, check_png_rows, check_tiff, check_webp, largest_strip
from twostage.data.jpeg import decode_jpeg, read_layout
from twostage.data.quiet import quiet
from twostage.errors import ImageError

__all__ = ["MAX_PIXELS", "Photo", "opened", "refusing"]

MAX_PIXELS = 150_000_000
MAX_SIDE = 65_535
MAX_FILE = 200_000_000
"""Bytes of a file that is read as a whole (JPEG, WebP, and what Pillow decodes in Python)."""
SMALL_FILE = 1 << 22
"""Bytes of a file that is read at once, because it is read here and there."""
MAX_SLOW = 2_000_000
"""Pixels where Pillow's decoder is written in Python: it takes 1 µs for each channel of each."""

Source = str | Path | Image.Image
_CALLERS = threading.Lock()
"""Images that callers have opened are no files of ours, and two threads may be given the same one."""


@dataclass(frozen=True)
class Photo:
    """A decoded photograph of `width` and `height`, of which `image` has every `scale`-th pixel (of averages)."""

    name: str
    image: Image.Image
    width: int
    height: int
    scale: int = 1
    opaque: bool = False
    inverted: bool = False

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[np.ndarray, int]:
        """Some pixels, (rows,columns,C) with C = 1 (gray), 3 (RGB) or 4 (CMYK), and the value of white (of no ink)."""
        box = (left, top, right, bottom)
        with refusing(self.name):
            return self._numbers(self.image if box == (0, 0, *self.image.size) else self.image.crop(box))

    def _numbers(self, band: Image.Image) -> tuple[np.ndarray, int]:
        if band.mode in ("I", "F") or band.mode.startswith("I;"):
            return self._sixteen_bit(band), 65535
        mode = _readable_mode(band)
        if self.opaque:
            mode = {"LA": "L", "RGBA": "RGB"}.get(mode, mode)
        values = np.asarray(band if band.mode == mode else band.convert(mode))
        if mode not in ("LA", "RGBA"):
            return values if values.ndim == 3 else values[..., None], 255
        alpha = values[..., -1:]
        return values[..., :-1].astype(np.uint16) * alpha + np.uint16(255) * (255 - alpha), 255 * 255  # on white

    def _sixteen_bit(self, band: Image.Image) -> np.ndarray:
        """Pillow would clip them to 8 bits."""
        values = np.asarray(band)
        if band.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ImageError(f"pixels of mode {band.mode} have no defined white; save it with 8 or 16 bits")
        return (65535 - values if self.inverted else values)[..., None]


def _readable_mode(image: Image.Image) -> str:
    """The mode in which the pixels are numbers: palettes are resolved, gray stays gray, for its colour profile."""
    gray = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return "LA" if gray and image.mode != "1" else "RGBA"
    return image.mode if image.mode == "CMYK" else "L" if gray else "RGB"


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Around calls of Pillow: all that it raises becomes an ImageError of one line."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such photograph") from error
    except MemoryError as error:
        raise ImageError(f"{name}: needs more memory than is free; make it smaller") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS // 10**6} million pixels; make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a photograph that can be read: its header is damaged") from error
    except Exception as error:  # on hostile files Pillow raises nearly every kind
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{name}: cannot be decoded: {text}") from error


@contextmanager
def opened(source: Source, size: int, smallest: Callable[[int], float] = float) -> Iterator[Photo]:
    """Decode a photograph for results of `size` pixels; its memory is counted until the end.

    Args:
        smallest: The shortest side of what is to become such a result, for a photograph with such a shorter side.

    Raises:
        ImageError: It is missing, too large, damaged or no photograph that can be read.
    """
    name = "image" if isinstance(source, Image.Image) else str(source)
    with ExitStack() as stack, quiet():
        with refusing(name):
            photo = _open(source, name, size, smallest, stack)
        yield photo


def _open(source: Source, name: str, size: int, smallest: Callable[[int], float], stack: ExitStack) -> Photo:
    file: IO[bytes] | None
    if isinstance(source, Image.Image):
        file = _unread_file(source)
        if file is None:
            return _loaded(source, name, stack)
    else:
        file = stack.enter_context(kinds.open_regular(source))
    kind = kinds.kind_of(file.read(32))
    kinds.refuse_unreadable(kind)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    if length < SMALL_FILE and kind != "JPEG":
        file = io.BytesIO(file.read())
    if kind == "JPEG":
        return _open_jpeg(file, length, name, size, smallest, stack)
    return _open_other(file, kind, length, name, stack)


def _unread_file(image: Image.Image) -> IO[bytes] | None:
    """The file of an image that its caller has opened but not read; decoding that leaves the image as it is."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in (*kinds.FORMATS, "MPO"):
        return None
    with _CALLERS:  # another thread may be loading it
        if not image.tile or image.decoderconfig or image.fp is None or image.tell():
            return None
        try:
            at = image.fp.tell()
            image.fp.seek(0)
            content = image.fp.read()
            image.fp.seek(at)
        except (OSError, ValueError):  # it cannot be read twice
            return None
    return io.BytesIO(content)


def _loaded(image: Image.Image, name: str, stack: ExitStack) -> Photo:
    _check_size(image.width, image.height)
    stack.enter_context(DECODING.hold(_band(image)))
    with _CALLERS:
        image.load()
    return Photo(name, image, image.width, image.height, opaque=_is_empty_alpha(image))


def _open_jpeg(
    file: IO[bytes], length: int, name: str, size: int, smallest: Callable[[int], float], stack: ExitStack
) -> Photo:
    _check_length(length)
    data = file.read()
    layout = read_layout(data)
    image: Any = stack.enter_context(Image.open(io.BytesIO(data), formats=("JPEG",)))
    width, height = image.size
    _check_size(width, height)
    # With four times the wanted pixels left, and no smaller scale than a quarter, the mean colour is that of full
    # decoding to within 0.02 levels; it is several times as fast.
    shorter = min(width, height)
    least = max(math.ceil(4 * size * shorter / smallest(shorter)), -(-shorter // 4))
    image.draft(None, (least, least))
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    need = _pixels(image) + 2 * layout.coefficients + length + _band(image)
    _check_memory(width, height, need)
    _hold(need, image, stack)
    decode_jpeg(image, data, layout)
    return Photo(name, image, width, height, scale)


def _open_other(file: IO[bytes], kind: str, length: int, name: str, stack: ExitStack) -> Photo:
    need = _look_before_opening(file, kind, length)
    file.seek(0)
    image: Any = stack.enter_context(Image.open(file, formats=(kind.upper(),)))
    _check_size(image.width, image.height)
    if image.tile and image.tile[0][0] in Image.DECODERS:
        _check_slow(image, file, length)
    inverted = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        need = largest_strip(image) + (_pixels(image) if image.tag_v2.get(274, 1) != 1 else 0)  # Pillow turns it
        _check_memory(image.width, image.height, need + _pixels(image))  # before any strip is looked into
        check_tiff(image, file)
        inverted = image.mode.startswith("I") and image.tag_v2.get(262) == 0
    need += _pixels(image) * (2 if kind == "GIF" else 1) + _band(image)  # a GIF is kept for its next picture
    _check_memory(image.width, image.height, need)
    _hold(need, image, stack)
    image.load()
    if kind == "PNG":
        check_png_rows(image, file)
    return Photo(name, image, image.width, image.height, opaque=_is_empty_alpha(image), inverted=inverted)


def _look_before_opening(file: IO[bytes], kind: str, length: int) -> int:
    """Refuse what would take too much even to open; returns the bytes that opening takes."""
    file.seek(0)
    if kind == "PNG":
        head = file.read(24)
        _check_size(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
        check_png(file)
    elif kind == "GIF":
        check_gif(file)
    elif kind == "WebP":
        _check_length(length)
        width, height = check_webp(file)
        _check_size(width, height)
        need = 16 * width * height + 2 * length  # two canvases, the decoder's own, and a copy
        _check_memory(width, height, need + 4 * width * height)
        return need
    return 0


def _hold(need: int, image: Image.Image, stack: ExitStack) -> None:
    """Count the memory until the pixels are gone."""
    stack.enter_context(DECODING.hold(need))
    stack.callback(give_back, need)
    stack.callback(image.close)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} is more than {MAX_PIXELS // 10**6} million pixels; make it smaller")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width}x{height}: no side may have more than {MAX_SIDE} pixels; make it smaller")


def _check_length(length: int) -> None:
    if length > MAX_FILE:
        raise ImageError(f"its file has {length / 1e6:.0f} MB, more than {MAX_FILE // 10**6} MB; make it smaller")


def _check_slow(image: Image.Image, file: IO[bytes], length: int) -> None:
    """Pillow's decoder for this way of storing is written in Python."""
    _check_length(8 * length)
    at = file.tell()
    if image.width * image.height > MAX_SLOW or (image.format == "PPM" and file.read().count(b"#") > 100):
        raise ImageError("it is stored in a way that takes minutes to decode; save it as PNG")
    file.seek(at)


def _check_memory(width: int, height: int, need: int) -> None:
    if need > MEMORY:
        raise ImageError(
            f"{width}x{height} in this format takes {need / 1e6:.0f} MB to decode, more than {MEMORY // 10**6} MB; "
            f"make it smaller or save it as baseline JPEG or PNG"
        )


def _pixels(image: Image.Image) -> int:
    """Bytes that Pillow keeps a picture in."""
    each = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return image.width * image.height * each


def _band(image: Image.Image) -> int:
    """Bytes of what is averaged at a time."""
    return 40 * min(image.width * image.height, BAND)


def _is_empty_alpha(image: Image.Image) -> bool:
    """Whether nothing at all is visible: then the transparency was never meant, and the colours count."""
    if image.mode not in ("LA", "La", "RGBA", "RGBa"):
        return False
    step = max(1, BAND // image.width)
    bands = (image.crop((0, top, image.width, min(top + step, image.height))) for top in range(0, image.height, step))
    return all(band.getchannel(len(band.getbands()) - 1).getextrema() == (0, 0) for band in bands)
