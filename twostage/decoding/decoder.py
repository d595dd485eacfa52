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
from os import PathLike
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageFile, TiffImagePlugin

from twostage.decoding import kinds
from twostage.decoding.budget import DECODING, give_back
from twostage.decoding.heif import decode_heic
from twostage.decoding.integrity import check_png, check_png_rows, check_ppm, check_tiff
from twostage.decoding.jpeg import decode_jpeg, read_layout
from twostage.decoding.limits import MAX_FILE, band, check_length, check_memory, kept, memory
from twostage.decoding.photo import Photo, check_bits, check_palette, check_transparency, load_deep, refusing
from twostage.decoding.photo_header import Header, of_image, read_header
from twostage.decoding.quiet import quiet
from twostage.decoding.tiff import explain_tags
from twostage.errors import ImageError

__all__ = ["Photo", "Source", "name_of", "open_source", "opened", "refusing"]

SMALL_FILE = 1 << 22
"""Bytes of a file that is read at once, because it is read here and there."""
MAX_SLOW = 2_000_000
"""Pixels where Pillow's decoder is written in Python: it takes 1 µs for each channel of each."""

Source = str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image
_CALLERS = threading.Lock()
"""Images and files that callers have opened are not ours, and two threads may be given the same one."""


@contextmanager
def opened(source: Source, size: int, smallest: Callable[[int], float] = float) -> Iterator[Photo]:
    """Decode a photograph for results of `size` pixels; its memory is counted until the end.

    Args:
        smallest: The shortest side of what is to become such a result, for a photograph with such a shorter side.

    Raises:
        ImageError: It is missing, too large, damaged or no photograph that can be read.
    """
    name = name_of(source)
    with ExitStack() as stack, quiet():
        with refusing(name):
            photo = _open(source, name, size, smallest, stack)
        yield photo


def name_of(source: Source) -> str:
    """What messages call a photograph."""
    return str(source) if isinstance(source, str | PathLike) else str(getattr(source, "name", "image"))


def open_source(source: Any, stack: ExitStack) -> IO[bytes]:
    """The file behind a path, the bytes of a photograph, or an open file; what a caller has opened stays as it is.

    Raises:
        ImageError: It is no regular file, or the open file gives more than one photograph may have.
    """
    if isinstance(source, str | PathLike):
        return stack.enter_context(kinds.open_regular(Path(source)))
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    with _CALLERS:
        seekable = source.seekable()
        at = source.tell() if seekable else 0
        if seekable:
            source.seek(0)
        content = source.read(MAX_FILE + 1)
        if seekable:
            source.seek(at)
    if not isinstance(content, bytes):
        raise ImageError("it is open as text; open it with mode 'rb'")
    check_length(len(content))
    return io.BytesIO(content)


def _open(source: Any, name: str, size: int, smallest: Callable[[int], float], stack: ExitStack) -> Photo:
    if isinstance(source, Image.Image):
        unread = _unread_file(source)
        if unread is None:
            return _loaded(source, name, stack)
        file: IO[bytes] = unread
    else:
        file = open_source(source, stack)
    kind = kinds.kind_of(file.read(kinds.HEAD))
    kinds.refuse_unreadable(kind)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    if kind == "JPEG":
        return _open_jpeg(file, length, name, size, smallest, stack)
    if length < SMALL_FILE and not isinstance(file, io.BytesIO):
        file = io.BytesIO(file.read())
    return _open_other(file, kind, length, name, stack)


PLUGINS = {kind.plugin for kind in kinds.KINDS.values() if kind.plugin}


def _unread_file(image: Image.Image) -> IO[bytes] | None:
    """The file of an image that its caller has opened but not read; decoding that leaves the image as it is."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in ("MPO", *PLUGINS):
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
    header = of_image(image)
    stack.enter_context(DECODING.hold(band(image.width, image.height)))
    with _CALLERS:
        image.load()
        if header.bits == 16:
            check_bits(image, None, header.white)
        return _photo(name, header, image)


def _photo(name: str, header: Header, image: Image.Image, low: Image.Image | None = None, scale: int = 1) -> Photo:
    """What a header and the decoded pixels say together; `header` has the sides of a JPEG that is reduced."""
    check_palette(image)
    tags = getattr(header.image, "tag_v2", {}) if image.mode.startswith("I") else {}
    width, height = (header.width, header.height) if scale > 1 else image.size
    return Photo(
        name,
        image,
        width,
        height,
        scale,
        opaque=check_transparency(image),
        inverted=tags.get(262) == 0,
        low=low,
        white=header.white if header.white > 255 else 65535,
        space=header.space,
        orientation=header.orientation,
    )


def _open_jpeg(
    file: IO[bytes], length: int, name: str, size: int, smallest: Callable[[int], float], stack: ExitStack
) -> Photo:
    check_length(length)
    data = file.read()
    layout = read_layout(data)
    header = read_header(io.BytesIO(data), "JPEG")
    image = stack.enter_context(header.image)
    width, height = image.size
    # With four times the wanted pixels left, and no smaller scale than a quarter, the mean colour is that of full
    # decoding to within 0.02 levels; it is several times as fast.
    shorter = min(width, height)
    least = max(math.ceil(4 * size * shorter / smallest(shorter)), -(-shorter // 4))
    image.draft(None, (least, least))
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    need = kept(image) + 2 * layout.coefficients + length + band(*image.size)
    check_memory(width, height, need)
    _hold(need, stack)
    stack.callback(image.close)
    decode_jpeg(image, data, layout)
    return _photo(name, header, image, scale=scale)


def _open_other(file: IO[bytes], kind: str, length: int, name: str, stack: ExitStack) -> Photo:
    header = read_header(file, kind)
    if kind == "PNG":
        check_png(file)
    need = memory(kind, header.coded, length, header.bits, header.image)
    check_memory(*header.coded, need)  # before a decoder reserves it, or any strip is looked into
    if kind == "HEIC":
        _hold(need, stack)
        header.image, low = decode_heic(file)
        _free(stack, header.image, low)
        header.white = 65535
        return _photo(name, header, header.image, low)
    if header.image is None:
        header.image = _again(file, kind)
    image = stack.enter_context(header.image)
    if image.tile and image.tile[0][0] in Image.DECODERS:
        _check_slow(image, file, length)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        check_tiff(image, file)
    elif kind == "PPM":
        check_ppm(image, file)
    _hold(need, stack)
    if not header.text_behind:
        _ = header.space, header.orientation  # decoding changes what the file says
    stack.callback(image.close)
    pixels, low = _decoded(image, file, kind)
    _free(stack, pixels, low)
    if kind == "PNG":
        check_png_rows(image, file)
    if low is not None or pixels.mode[0] in "IF":
        check_bits(pixels, low, header.white)
    return _photo(name, header, pixels, low)


def _decoded(image: Any, file: IO[bytes], kind: str) -> tuple[Image.Image, Image.Image | None]:
    try:
        return load_deep(image, lambda: _again(file, kind))
    except ValueError as error:
        if kind == "TIFF" and "raw mode" in str(error) and (why := explain_tags(file)):
            raise ImageError(why) from error
        raise


def _again(file: IO[bytes], kind: str) -> Any:
    file.seek(0)
    return Image.open(file, formats=(kinds.KINDS[kind].plugin,))


def _free(stack: ExitStack, *images: Image.Image | None) -> None:
    """Have the pixels gone before their memory is lent again."""
    for image in images:
        if image is not None:
            stack.callback(image.close)


def _hold(need: int, stack: ExitStack) -> None:
    """Count the memory until the pixels are gone."""
    stack.enter_context(DECODING.hold(need))
    stack.callback(give_back, need)


def _check_slow(image: Image.Image, file: IO[bytes], length: int) -> None:
    """Pillow's decoder for this way of storing is written in Python."""
    check_length(8 * length)
    at = file.tell()
    if image.width * image.height > MAX_SLOW or (image.format == "PPM" and file.read().count(b"#") > 100):
        raise ImageError("it is stored in a way that takes minutes to decode; save it as PNG")
    file.seek(at)
