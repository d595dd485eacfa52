"""Decode one photograph safely: any usual file to uint8 sRGB of the working size, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from twostage.decoding.area import to_square
from twostage.decoding.boxes import Box
from twostage.decoding.decoder import Photo, Source, opened, refusing
from twostage.decoding.regions import smallest_side, square_of
from twostage.decoding.spaces import to_srgb
from twostage.errors import ImageError

__all__ = ["DECODER", "decode_boxes", "decode_photograph"]

DECODER = 4
"""To be raised when a change here changes pixels or refusals: photographs are then decoded again."""

UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""What EXIF orientations ask for. Averaging commutes with them, so the small result is turned."""


def decode_photograph(source: Source, size: int, fit: str = "crop") -> np.ndarray:
    """Decode a photograph to uint8 sRGB (size, size, 3).

    Orientation and colour space are applied, as the file's tags and profile say; 16 bits are kept until they are
    averaged; transparent pixels are laid on white (where nothing is visible at all, transparency is ignored). Of an
    animation or a stack of pages of one size, the first counts. What the caller has opened stays as it is.
    `twostage formats` lists what is read, converted and refused.

    Args:
        fit: What to do with one that is not square: "pad", "crop" or "stretch" (`twostage.decoding.area.to_square`).

    Raises:
        ImageError: The file is missing, no regular file, damaged, no photograph that can be read, or would take more
            memory or time than one photograph may (`twostage.decoding.decoder`).
    """
    with opened(source, size) as photo, refusing(photo.name):
        rounded = not photo.converts
        square = to_square(photo.read, photo.width, photo.height, size, fit, photo.scale, rounded=rounded)
        return _finished(photo, square)


def decode_boxes(source: Source, boxes: Sequence[Box], size: int, fit: str = "crop") -> list[np.ndarray | ImageError]:
    """Decode a photograph once, and bring each of its boxes to size as if it were a photograph.

    Returns:
        For each box uint8 sRGB (size,size,3), or why it cannot be read.

    Raises:
        ImageError: The photograph cannot be read, as in `decode_photograph`.
    """
    found: list[np.ndarray | ImageError] = []
    with opened(source, size, partial(smallest_side, boxes)) as photo:
        for box in boxes:
            try:
                with refusing(f"{photo.name} {box}"):
                    found.append(_finished(photo, square_of(photo, box, size, fit)))
            except ImageError as error:
                found.append(error)
    return found


def _finished(photo: Photo, square: np.ndarray) -> np.ndarray:
    """To sRGB (size,size,3), and upright."""
    if photo.converts:
        square = to_srgb(photo.space, square)
    square = np.broadcast_to(square, (*square.shape[:2], 3))
    return np.require(UPRIGHT.get(photo.orientation, lambda a: a)(square), requirements=["C", "W"])
