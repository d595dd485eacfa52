"""Decode one photograph safely: any usual file to uint8 sRGB of the working size, or an error that says why not."""

from __future__ import annotations

import io
import math
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from twostage.errors import ImageError

__all__ = ["DECODER", "MAX_PIXELS", "decode_photograph", "to_square"]

DECODER = 1
"""To be raised when a change here changes pixels: photographs that were decoded before are then decoded again."""

MAX_PIXELS = 150_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")


def decode_photograph(source: str | Path | Image.Image, size: int, fit: str = "crop") -> np.ndarray:
    """Decode a photograph to uint8 sRGB (size, size, 3).

    EXIF orientation and an embedded colour profile are applied; 16-bit, gray, palette and CMYK files are converted;
    transparent pixels are laid on white. Of an animation or a stack, the first image counts.

    Args:
        fit: What to do with one that is not square: "crop" its middle or "stretch" it.

    Raises:
        ImageError: The file is missing, too large, truncated or no photograph that can be read.
    """
    path = Path("image") if isinstance(source, Image.Image) else Path(source)
    try:
        if isinstance(source, Image.Image):
            return _convert(source, size, fit, "image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _convert(image, size, fit, str(path))
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such photograph") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: more than {MAX_PIXELS // 10**6} million pixels; make it smaller") from error
    except Image.UnidentifiedImageError as error:
        hint = (
            "convert HEIC to JPEG or PNG" if path.suffix.lower() in {".heic", ".heif"} else "damaged or another format"
        )
        raise ImageError(f"{path}: not a photograph that can be read ({', '.join(FORMATS)}); {hint}") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path}: cannot be decoded: {' '.join(str(error).split())}") from error


def _convert(image: Image.Image, size: int, fit: str, name: str) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}x{height} is more than {MAX_PIXELS // 10**6} million pixels; make it smaller")
    _decode_reduced(image, size)
    profile = image.info.get("icc_profile")
    image = _flatten(_eight_bit(ImageOps.exif_transpose(image), name))
    image = to_square(image, size, fit)
    if profile:
        image = _to_srgb(image, profile)
    return np.asarray(image.convert("RGB"))


def _decode_reduced(image: Image.Image, size: int) -> None:
    """Let a large JPEG be decoded at a half or a quarter of its size, which is several times as fast.

    With four times the wanted pixels left, and no smaller scale than a quarter, the small image differs from that of
    the full decoding by less than half of 255 levels (RMS; rounding alone makes 0.29) and its mean colour by less than
    0.2, as much as rounding in the resizing itself may shift it.
    """
    if image.format == "JPEG":
        least = max(4 * size, math.ceil(min(image.size) / 4))
        image.draft(None, (least, least))


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grayscale to 8 bits; Pillow would clip it."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name}: pixels of mode {image.mode} have no defined white; save it with 8 or 16 bits")
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    return image


def _flatten(image: Image.Image) -> Image.Image:
    """Resolve palettes and lay transparent pixels on white; gray stays gray, for its colour profile."""
    gray = image.mode in ("LA", "La")
    if image.mode in ("P", "PA", "1") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L" if gray else "RGB")
    return image


def to_square(image: Image.Image, size: int, fit: str) -> Image.Image:
    """Crop the middle square (or stretch), then resize by averaging areas, which keeps mean colours."""
    if fit == "crop" and image.width != image.height:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if image.size == (size, size):
        return image
    if size > min(image.size):
        return image.resize((size, size), Image.Resampling.BICUBIC)
    # Pillow's BOX takes whole pixels only: it shifts the mean colour unless the side is a multiple
    whole = image.width % size == image.height % size == 0
    return image.resize((size, size), Image.Resampling.BOX if whole else Image.Resampling.HAMMING)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the embedded colour profile to sRGB; a profile for other channels than the image's is ignored."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(source.profile.xcolor_space.strip())
    if mode != image.mode:
        return image
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted
