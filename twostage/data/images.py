"""Decode one photograph safely: any usual file to uint8 sRGB of the working size, or an error that says why not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from twostage.data.area import to_square
from twostage.data.decoder import Photo, opened, refusing
from twostage.errors import ImageError

__all__ = ["DECODER", "decode_photograph"]

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
