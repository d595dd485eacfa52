"""What a user gives to be read: photographs of any kind in a collection of any kind."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Set
from os import PathLike
from typing import IO, Any

import numpy as np
from PIL import Image

from twostage.decoding.decoder import Source
from twostage.errors import ConfigError

__all__ = ["Photograph", "Photographs", "chunks_of", "count_of", "is_photograph", "one_of"]

Photograph = Source | np.ndarray
"""A path, the bytes of a file, an open binary file, a PIL image, or an array uint8 (H,W) or (H,W,C)."""
Photographs = Iterable[Photograph] | np.ndarray
"""What `chunks_of` takes."""
ALLOWED = (
    "give a list (or Series, array, generator) of photographs: paths, bytes, open files, PIL images, arrays "
    "uint8 (H,W,C); or one array uint8 (N,H,W,C)"
)


def count_of(images: Any) -> int | None:
    """How many there are, where that is known before they are taken."""
    try:
        return len(images)
    except TypeError:  # a generator, or an array without axes
        return None


def is_photograph(one: Any) -> bool:
    """Is it a photograph of a kind that can be read, whatever is in it?"""
    return _is_source(one) or _is_pixels(one)


def chunks_of(images: Any, most: int) -> Iterator[list[Source]] | Iterator[np.ndarray]:
    """The photographs, at most so many at a time, in their order; of a generator no more are taken. At least one chunk.

    Raises:
        ConfigError: It is a single photograph, a collection without an order, or one of them is no photograph; of a
            list that is told before any is read.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OUST":
        return _of_array(images, most)
    if _is_source(images) or isinstance(images, np.str_):
        raise ConfigError("give a list of photographs, not one: write [photograph]")
    if isinstance(images, Set | Mapping) or hasattr(images, "columns"):
        what = "a table: give its column of photographs" if hasattr(images, "columns") else "without an order"
        raise ConfigError(f"{type(images).__name__} is {what}; {ALLOWED}")
    if not isinstance(images, Iterable) or getattr(images, "ndim", 1) != 1:
        shape = f" {images.shape}" if isinstance(images, np.ndarray) else ""
        raise ConfigError(f"{ALLOWED}; not {type(images).__name__}{shape}")
    if isinstance(images, list | tuple | np.ndarray) or hasattr(images, "iloc"):  # no others: they may load as they go
        for _ in map(_checked, images, itertools.count()):
            pass
    return _of_iterable(images, most)


def one_of(image: Any) -> list[Source] | np.ndarray:
    """A single photograph as a chunk of one, as `chunks_of` gives them.

    Raises:
        ConfigError: It is no photograph, or several.
    """
    if _is_pixels(image):
        return image[None, ..., None] if image.ndim == 2 else image[None]
    if not _is_source(image):
        is_array = isinstance(image, np.ndarray)
        what = f"{image.dtype} {image.shape}" if is_array else type(image).__name__
        raise ConfigError(
            f"explain takes one photograph (path, bytes, open file, PIL image, array uint8 (H,W,C)), not {what}: of "
            f"several give one after another"
        )
    return [_as_source(image)]


def _of_array(images: np.ndarray, most: int) -> Iterator[np.ndarray]:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape[1:]:
        raise ConfigError(f"an array of photographs must be uint8 (N,H,W,C), not {images.dtype} {images.shape}")
    return (images[start : start + most] for start in range(0, max(1, len(images)), most))


def _of_iterable(images: Iterable[Any], most: int) -> Iterator[list[Source]]:
    numbered, given, source = zip(images, itertools.count(), strict=False), None, None
    for turn in itertools.count():
        chunk = []
        for one, number in itertools.islice(numbered, most):
            if source is None or one is not given:  # an array that comes again, with another box, stays one picture
                given, source = one, _as_source(_checked(one, number))
            chunk.append(source)
        if chunk or turn == 0:
            yield chunk
        if len(chunk) < most:
            return


def _checked(one: Any, number: int) -> Any:
    if not is_photograph(one):
        what = f"{one.dtype} {one.shape}" if isinstance(one, np.ndarray) else repr(one)[:40]
        raise ConfigError(f"{ALLOWED}; photograph {number} (counted from 0) is {type(one).__name__} {what}")
    return one


def _is_source(one: Any) -> bool:
    is_file = hasattr(one, "read") and not isinstance(one, type)
    return is_file or isinstance(one, str | PathLike | bytes | bytearray | memoryview | Image.Image)


def _is_pixels(one: Any) -> bool:
    if not isinstance(one, np.ndarray) or one.dtype != np.uint8 or 0 in one.shape:
        return False
    return one.ndim == 2 or (one.ndim == 3 and one.shape[2] in (1, 3, 4))


def _as_source(one: Any) -> Source:
    if isinstance(one, np.ndarray):
        return Image.fromarray(one[..., 0] if one.ndim == 3 and one.shape[2] == 1 else one)
    source: str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image = one
    return source
