"""Decode one photograph safely: any usual file to uint8 sRGB of the working size, or an error that says why not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from twostage.data.area import to_square
from twostage.data.boxes import Box
from twostage.data.decoder import Photo, opened, refusing
from twostage.data.regions import smallest_side, square_of
from twostage.errors import ImageError

__all__ = ["DECODER", "decode_boxes", "decode_photograph"]

DECODER = 2
"""To be raised when a change here changes pixels: photographs that were decoded before are then decoded again."""

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


def decode_photograph(source: str | Path | Image.Image, size: int, fit: str = "crop") -> np.ndarray:
    """Decode a photograph to uint8 sRGB (size, size, 3).

    EXIF orientation and an embedded colour profile are applied; 16-bit, gray, palette and CMYK files are converted;
    transparent pixels are laid on white (where nothing is visible at all, transparency is ignored). Of an animation or
    a stack, the first image counts. An image that the caller has opened stays as it is.

    Args:
        fit: What to do with one that is not square: "pad", "crop" or "stretch" (`twostage.data.area.to_square`).

    Raises:
        ImageError: The file is missing, no regular file, damaged, no photograph that can be read, or would take more
            memory or time than one photograph may (`twostage.data.decoder`).
    """
    with opened(source, size) as photo:
        square = to_square(photo.read, photo.width, photo.height, size, fit, photo.scale)
        with refusing(photo.name):
            return _finished(photo, square)


def decode_boxes(
    source: str | Path | Image.Image, boxes: Sequence[Box], size: int, fit: str = "crop"
) -> list[np.ndarray | ImageError]:
    """Decode a photograph once, and bring each of its boxes to size as if it were a photograph.

    Returns:
        For each box uint8 sRGB (size,size,3), or why it cannot be read.

    Raises:
        ImageError: The photograph cannot be read, as in `decode_photograph`.
    """
    found: list[np.ndarray | ImageError] = []
    with opened(source, size, partial(smallest_side, boxes)) as photo:
        with refusing(photo.name):
            orientation = photo.image.getexif().get(0x0112, 1)
        for box in boxes:
            try:
                with refusing(f"{photo.name} {box}"):
                    found.append(_finished(photo, square_of(photo, box, orientation, size, fit)))
            except ImageError as error:
                found.append(error)
    return found


def _finished(photo: Photo, square: np.ndarray) -> np.ndarray:
    """To sRGB (size,size,3), and upright."""
    profile = photo.image.info.get("icc_profile")
    orientation = photo.image.getexif().get(0x0112, 1)
    if square.shape[2] != 3 or profile:
        size, mode = square.shape[:2][::-1], {1: "L", 3: "RGB", 4: "CMYK"}[square.shape[2]]
        image = Image.frombytes(mode, size, np.ascontiguousarray(square))
        if profile:
            image = _to_srgb(image, profile)
        square = np.asarray(image.convert("RGB"))
    return np.require(UPRIGHT.get(orientation, lambda a: a)(square), requirements=["C", "W"])


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the embedded colour profile to sRGB; a profile for other channels than the image's is ignored."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(source.profile.xcolor_space.strip())
    if mode != image.mode:
        return image
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if converted is None:
        raise ImageError("its colour profile cannot be applied")
    return converted
