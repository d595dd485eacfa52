"""Decode HEIC with pillow-heif (the extra `heic`); AVIF, which is stored alike, is read by Pillow."""

from __future__ import annotations

from typing import IO

import numpy as np
from PIL import Image

from twostage.decoding.area import BAND
from twostage.errors import ImageError

__all__ = ["decode_heic"]


def decode_heic(file: IO[bytes]) -> tuple[Image.Image, Image.Image | None]:
    """The primary picture, upright; of more than 8 bits the upper and the lower bytes of numbers whose white is 65535.

    Raises:
        ImageError: Its numbers are multiplied by transparency.
    """
    import pillow_heif

    file.seek(0)
    opened = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    if opened.premultiplied_alpha:
        raise ImageError("its colours are multiplied by transparency; save it without transparency")
    values, bits = np.asarray(opened), int(opened.info["bit_depth"])
    if values.dtype == np.uint8:
        return Image.fromarray(values), None
    high, low = np.empty(values.shape, np.uint8), np.empty(values.shape, np.uint8)
    step = max(1, BAND // values.shape[1])
    for rows in (slice(top, top + step) for top in range(0, len(values), step)):
        whole = np.rint(values[rows] * (65535 / ((1 << bits) - 1))).astype(np.uint16)
        high[rows], low[rows] = whole >> 8, whole & 255
    return Image.fromarray(high), Image.fromarray(low)
