"""What a photograph's header says of it, in less than a millisecond and without decoding."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass

from twostage.decoding import kinds, limits
from twostage.decoding.decoder import Source, name_of, open_source, refusing
from twostage.decoding.photo_header import read_header
from twostage.decoding.quiet import quiet

__all__ = ["PhotographFacts", "describe_photograph"]


@dataclass(frozen=True)
class PhotographFacts:
    """A photograph as its file describes it.

    `width` and `height` are those of the upright picture; `channels` 1 (gray), 3 (RGB) or 4 (CMYK), and one more with
    transparency; `color` is the colour space, `color_tag` what says so ("" where sRGB is assumed); `orientation` is
    that of EXIF (1 for HEIC and AVIF, which say it otherwise).
    """

    kind: str
    width: int
    height: int
    bits: int
    channels: int
    color: str
    color_tag: str
    orientation: int


def describe_photograph(source: Source) -> PhotographFacts:
    """Read the header of a photograph: a path, the bytes of a file, or an open file.

    Damage behind the header, and what only the pixels show (16 bits of which few are used, transparency everywhere), is
    seen in decoding.

    Raises:
        ImageError: It is missing, too large, of a kind or colour space that is not read, or its header is damaged.
    """
    name = name_of(source)
    with ExitStack() as stack, quiet(), refusing(name):
        file = open_source(source, stack)
        kind = kinds.kind_of(file.read(kinds.HEAD))
        kinds.refuse_unreadable(kind)
        header = read_header(file, kind)
        if kind != "JPEG":  # which is reduced while it is decoded
            size = header.coded
            limits.check_memory(*size, limits.memory(kind, size, file.seek(0, io.SEEK_END), header.bits, header.image))
        space, orientation = header.space, header.orientation
        width, height = header.width, header.height
        if orientation >= 5:
            width, height = height, width
        if kind == "TIFF":  # Pillow has exchanged the sides already
            orientation = int(header.image.tag_v2.get(274, 1))
        return PhotographFacts(kind, width, height, header.bits, header.channels, space.name, space.tag, orientation)
