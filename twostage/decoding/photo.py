"""A decoded photograph hands out its pixels as numbers: gray, RGB or CMYK, on white, with all the bits of its file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from twostage.decoding.area import BAND
from twostage.decoding.spaces import SRGB, Space
from twostage.errors import ImageError

__all__ = ["Photo", "check_bits", "check_palette", "check_transparency", "load_deep", "refusing"]

DARKEST_WHITE = 1 << 14
"""Where no number of 16 bits reaches this, they are those of a camera of 14 bits or fewer, or of a black picture."""
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Around all that is done with a photograph: whatever is raised becomes an ImageError of one line."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such photograph") from error
    except MemoryError as error:
        raise ImageError(f"{name}: needs more memory than is free; make it smaller") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more pixels than are decoded; make it smaller") from error
    except (Image.UnidentifiedImageError, SyntaxError) as error:
        raise ImageError(f"{name}: not a photograph that can be read: its header is damaged") from error
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise ImageError(_undecoded(name, error)) from error
        raise ImageError(f"{name}: its text chunks or its profile are too large; save it without them") from error
    except Exception as error:  # on hostile files Pillow raises nearly every kind
        raise ImageError(_undecoded(name, error)) from error


def _undecoded(name: str, error: Exception) -> str:
    return f"{name}: cannot be decoded: {' '.join(str(error).split())[:200] or type(error).__name__}"


@dataclass(frozen=True)
class Photo:
    """A decoded photograph of `width` and `height`, of which `image` has every `scale`-th pixel (of averages).

    Of 16 bits in colour, `image` has the upper eight and `low` the lower ones; `white` is then the number of white.
    `space` and `orientation` say what is to be done with the averages.
    """

    name: str
    image: Image.Image
    width: int
    height: int
    scale: int = 1
    opaque: bool = False
    inverted: bool = False
    low: Image.Image | None = None
    white: int = 65535
    space: Space = SRGB
    orientation: int = 1

    @property
    def converts(self) -> bool:
        """Whether the averages become sRGB by more than rounding; they should not be rounded before."""
        return not self.space.is_srgb or self.image.mode == "CMYK"

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[np.ndarray, int]:
        """Some pixels, (rows,columns,C) with C = 1 (gray), 3 (RGB) or 4 (CMYK), and the value of white (of no ink)."""
        box = (left, top, right, bottom)
        band = _cut(self.image, box)
        if band.mode in ("I", "F") or band.mode.startswith("I;"):
            return self._on_white(self._sixteen_bit(band), None)
        if self.low is not None:
            high = _values(band)
            values = high.astype(np.uint16) << 8 | _values(_cut(self.low, box))
            alpha = high[..., -1:] if band.mode in ("LA", "RGBA") else None
            return self._on_white(values if alpha is None else values[..., :-1], None if self.opaque else alpha)
        mode = _readable_mode(band)
        if self.opaque:
            mode = {"LA": "L", "RGBA": "RGB"}.get(mode, mode)
        values = _values(band if band.mode == mode else band.convert(mode))
        if mode not in ("LA", "RGBA"):
            return values, 255
        alpha = values[..., -1:]
        return values[..., :-1].astype(np.uint16) * alpha + np.uint16(255) * (255 - alpha), 255 * 255

    def _sixteen_bit(self, band: Image.Image) -> np.ndarray:
        """Pillow would clip them to 8 bits."""
        values = _values(band)
        return self.white - np.minimum(values, self.white) if self.inverted else values

    def _on_white(self, values: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, int]:
        """Numbers of 16 bits whose white is 65535, laid on it where they are transparent (8 bits)."""
        if (key := self.image.info.get("transparency")) is not None and alpha is None and not self.opaque:
            alpha = np.where((values == np.array(key)).all(2, keepdims=True), 0, 255).astype(np.uint8)
        if self.white != 65535:
            values = np.rint(np.minimum(values, self.white) * (65535 / self.white))
        if alpha is None:
            return values, 65535
        return values.astype(np.uint32) * alpha + np.uint32(65535) * (255 - alpha), 65535 * 255


def _cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    return image if box == (0, 0, *image.size) else image.crop(box)


def _values(image: Image.Image) -> np.ndarray:
    """Its numbers (H,W,C), also of one channel."""
    values = np.asarray(image)
    return values if values.ndim == 3 else values[..., None]


def _readable_mode(image: Image.Image) -> str:
    """The mode in which the pixels are numbers: palettes are resolved, gray stays gray, for its colour profile."""
    gray = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return "LA" if gray and image.mode != "1" else "RGBA"
    return image.mode if image.mode == "CMYK" else "L" if gray else "RGB"


def load_deep(image: Any, again: Callable[[], Any]) -> tuple[Image.Image, Image.Image | None]:
    """Decode a file; of 16 bits in colour, which Pillow cuts to 8, the upper and the lower bytes as two images.

    Pillow's decoders take from each pair of bytes the first or the second, by the byte order that they are told.

    Args:
        again: Opens the same file once more.
    """
    planes = isinstance(image, TiffImagePlugin.TiffImageFile) and _are_planes(image)
    raws = {_raw(tile) for tile in image.tile}
    if raws == {"LA;16B"}:  # four bytes a pixel, as RGBA has
        _tell(image, lambda raw: "RGBA")
        image.load()
        gray, low, alpha, low_alpha = image.split()
        result = Image.merge("LA", (gray, alpha))
        result.info = image.info
        return result, Image.merge("LA", (low, low_alpha))
    if not planes and not all(raw[-4:-1] == ";16" and image.mode in ("RGB", "RGBA", "CMYK") for raw in raws or [""]):
        image.load()
        return image, None
    if any(raw.startswith("RGBa") for raw in raws):
        raise ImageError("its 16 bits are multiplied by transparency (ExtraSamples 1); save it without transparency")
    order = ";16L" if planes and image.tag_v2.prefix == b"II" else ";16B"  # of a raw plane Pillow knows the band alone
    if planes:
        _tell(image, lambda raw: raw + order)
    image.load()
    low = again()
    _tell(low, lambda raw: raw + ";16" + OTHER_ORDER[order[-1]] if planes else raw[:-1] + OTHER_ORDER[raw[-1]])
    low.load()
    return image, low


def _are_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    tags = image.tag_v2
    return tags.get(284) == 2 and tags.get(259, 1) == 1 and max(tags.get(258, (1,))) == 16 and image.mode != "CMYK"


def _raw(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else "")


def _tell(image: Any, change: Callable[[str], str]) -> None:
    """Have the decoder read the bytes in another way."""

    def arguments(old: Any) -> Any:
        return change(old) if isinstance(old, str) else (change(old[0]), *old[1:])

    image.tile = [tile._replace(args=arguments(tile.args)) for tile in image.tile]


def check_bits(image: Image.Image, low: Image.Image | None, white: int) -> None:
    """Refuse numbers whose white is not known: below zero, above it, of more than 16 bits, or only the lower of 16.

    A camera's 10, 12 or 14 bits, of which no tag tells, would be nearly black.

    Args:
        low: The lower bytes, where `image` has the upper ones.

    Raises:
        ImageError: They are such.
    """
    least, most = _extremes(image)
    if image.mode == "F" or least < 0 or most > 65535:
        raise ImageError(f"pixels of mode {image.mode} have no defined white; save it with 8 or 16 bits")
    if low is not None:
        most = 256 * most + 255 if most else _extremes(low)[1]
    if most > white:
        raise ImageError(
            f"its MaxSampleValue (tag 281) says that white is {white}, and its numbers go up to about {most}; "
            f"save it with the right one, or scaled to 16 bits"
        )
    if 0 < most < DARKEST_WHITE and white == 65535 and image.mode != "CMYK":  # black is black in all of them
        bits = max(int(most).bit_length(), 8)
        raise ImageError(
            f"it holds no number above {(1 << bits) - 1}: they are of {bits} bits, and its white is not known; "
            f"save it with MaxSampleValue (tag 281), or scaled to 16 bits"
        )


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The least and the largest number, transparency left aside."""
    if image.mode == "I;16B":  # which Pillow does not count
        ends = [(int(values.min()), int(values.max())) for values in map(np.asarray, _bands(image))]
        return min(low for low, _ in ends), max(high for _, high in ends)
    found: Any = image.getextrema()
    bands = found if isinstance(found[0], tuple) else (found,)
    if image.mode in ("LA", "RGBA"):
        bands = bands[:-1]
    return min(low for low, _ in bands), max(high for _, high in bands)


def check_palette(image: Image.Image) -> None:
    """See that a picture with a palette has a colour for each of its numbers; Pillow makes the others black.

    Raises:
        ImageError: It has not.
    """
    if image.mode not in ("P", "PA") or (colors := len(image.getpalette() or ()) // 3) == 256:
        return
    found: Any = image.getextrema()
    most = found[0][1] if image.mode == "PA" else found[1]
    if most >= colors:
        raise ImageError(f"its palette has {colors} colours, and its pixels name number {most}; save it as RGB")


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    """One part of the rows after another, so that copies stay small."""
    step = max(1, BAND // image.width)
    return (image.crop((0, top, image.width, min(top + step, image.height))) for top in range(0, image.height, step))


def check_transparency(image: Image.Image) -> bool:
    """Whether nothing at all is visible: then the transparency was never meant, and the colours count.

    Raises:
        ImageError: Something is visible, and nothing of it entirely: every colour would be mixed with white.
    """
    if image.mode not in ("LA", "La", "RGBA", "RGBa"):
        return False
    extremes: list[Any] = [band.getchannel(len(band.getbands()) - 1).getextrema() for band in _bands(image)]
    most = max(high for _, high in extremes)
    if 0 < most < 255:
        raise ImageError("it is transparent everywhere (alpha), which no photograph is; save it without transparency")
    return most == 0
