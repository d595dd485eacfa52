"""What reaches a person's terminal: names of files may hold anything, and a terminal obeys some of it."""

from __future__ import annotations

import codecs
import logging
import re
import sys

__all__ = ["LineFormatter", "let_names_through", "log_lines", "printable"]

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters: colours, titles, lines overwritten; not tab and line feed
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # those that turn the direction of writing, and further line ends
    "\ud800-\udfff]"  # bytes of a name that is no Unicode
)


def printable(text: str) -> str:
    r"""A text whose control characters are shown instead of obeyed.

    >>> printable("a\x1b[31m.png")
    'a\\x1b[31m.png'
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class LineFormatter(logging.Formatter):
    """One log record is one line, and nothing in it is obeyed."""

    def format(self, record: logging.LogRecord) -> str:
        """The message alone."""
        return printable(super().format(record)).replace("\n", "\\n")


def log_lines(level: int) -> None:
    """Send what this package logs to standard error, line by line."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("twostage")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def let_names_through() -> None:
    """Let standard output and error take every name: as the bytes that it has, or escaped where they cannot."""
    codecs.register_error("twostage", _as_it_is)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="twostage")


def _as_it_is(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    found = [
        bytes([ord(one) - 0xDC00]) if "\udc80" <= one <= "\udcff" else one.encode("unicode_escape") for one in letters
    ]
    return b"".join(found), error.end
