"""Keep Pillow and the libraries below it from writing on the terminal: what matters is in the errors."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from PIL import Image

__all__ = ["quiet"]

_LOCK = threading.Lock()
_INSIDE: list[warnings.catch_warnings] = []


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings inside. Their filters belong to the process: the first thread sets them, the last takes them back."""
    _silence_libraries()
    with _LOCK:
        if not _INSIDE:
            first = warnings.catch_warnings()
            first.__enter__()
            warnings.simplefilter("ignore")
            _INSIDE.append(first)
        else:
            _INSIDE.append(_INSIDE[0])
    try:
        yield
    finally:
        with _LOCK:
            last = _INSIDE.pop()
            if not _INSIDE:
                last.__exit__(None, None, None)


@cache
def _silence_libraries() -> None:
    """Tell libtiff not to print on the terminal what Pillow raises afterwards.

    The handlers are those of the libtiff that Pillow has loaded. Where it is linked in such a way that they cannot be
    reached (Windows), its lines remain.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            getattr(library, name)(None)
