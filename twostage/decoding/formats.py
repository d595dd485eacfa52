"""What is read, converted and refused, file by file: ``twostage formats``. A test makes each of these files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from twostage.decoding.kinds import KINDS
from twostage.options.commands import FormatsConfig

__all__ = ["FORMATS", "HEAD", "Format", "print_formats"]

READ, CONVERTED, REFUSED = "read", "converted", "refused"


@dataclass(frozen=True)
class Format:
    """Files of a kind with some bits, channels or tags; what becomes of them, and how or why."""

    kind: str
    file: str
    result: str
    how: str = ""


FORMATS = (
    Format("JPEG", "gray, RGB; baseline or progressive", READ),
    Format("JPEG", "MPO; gain map (Ultra HDR)", READ, "the first picture, without the map"),
    Format("JPEG", "ICC profile of RGB, gray or CMYK", CONVERTED, "to sRGB"),
    Format("JPEG", "RGB profile on gray", CONVERTED, "as RGB with equal channels"),
    Format("JPEG", "profile for other channels, or damaged", REFUSED, "ICC profile"),
    Format("JPEG", "EXIF InteropIndex R03, or ColorSpace 2", CONVERTED, "from Adobe RGB"),
    Format("JPEG", "EXIF ColorSpace 65535, without profile", REFUSED, "EXIF ColorSpace"),
    Format("JPEG", "CMYK, YCCK (Adobe)", CONVERTED, "by its profile, else R = (255 - C)(255 - K) / 255"),
    Format("JPEG", "CMYK without Adobe's marker", REFUSED, "APP14"),
    Format("PNG", "1 to 8 bits: gray, RGB, palette", READ),
    Format("PNG", "palette (of any kind) without a colour for a pixel", REFUSED, "its palette has"),
    Format("PNG", "16 bits: gray, RGB", READ, "averaged with 16 bits"),
    Format("PNG", "16 bits, no number above 16383", REFUSED, "white is not known"),
    Format("PNG", "transparency", CONVERTED, "laid on white; ignored where all is transparent"),
    Format("PNG", "transparency everywhere, nothing opaque", REFUSED, "alpha"),
    Format("PNG", "cICP: P3, BT.2020, BT.709, linear", CONVERTED, "before iCCP, sRGB, gAMA and cHRM"),
    Format("PNG", "cICP: PQ, HLG", REFUSED, "cICP"),
    Format("PNG", "gAMA, cHRM", CONVERTED, "also linear light"),
    Format("TIFF", "gray, RGB, palette, 8 bits; strips, tiles, planes", READ, "raw, LZW, deflate, JPEG, ..."),
    Format("TIFF", "gray, RGB, 16 bits; raw planes", READ, "averaged with 16 bits"),
    Format("TIFF", "16 bits in planes that are compressed, or CMYK", REFUSED, "PlanarConfiguration"),
    Format("TIFF", "12 bits, packed", READ, "white is 4095"),
    Format("TIFF", "16 bits with MaxSampleValue 1023 to 16383", CONVERTED, "that is white"),
    Format("TIFF", "16 bits, no number above 16383", REFUSED, "MaxSampleValue"),
    Format("TIFF", "16 bits, numbers above MaxSampleValue", REFUSED, "MaxSampleValue"),
    Format("TIFF", "WhiteIsZero", READ),
    Format("TIFF", "Lab, CMYK, 8 bits", CONVERTED, "to sRGB"),
    Format("TIFF", "floating point", REFUSED, "no defined white"),
    Format("TIFF", "8 or 16 bits, signed", REFUSED, "SampleFormat 2"),
    Format("TIFF", "RGB and a channel that no tag explains", REFUSED, "ExtraSamples"),
    Format("TIFF", "inks other than CMYK", REFUSED, "InkSet"),
    Format("TIFF", "palette of 8-bit numbers", REFUSED, "ColorMap"),
    Format("TIFF", "pages of one size", READ, "the first page"),
    Format("TIFF", "a first page that is smaller than another", REFUSED, "first page"),
    Format("TIFF", "NewSubfileType 1 (previews of NEF, ARW)", REFUSED, "NewSubfileType"),
    Format("TIFF", "ImageJ with several channels", REFUSED, "ImageDescription"),
    Format("TIFF", "fax, old JPEG, WebP inside", REFUSED, "hides damage"),
    Format("TIFF", "PrimaryChromaticities, not of sRGB, Adobe RGB, P3", REFUSED, "PrimaryChromaticities"),
    Format("HEIC", "8, 10, 12 bits", READ, "with twostage[heic]; the primary picture, turned as it says"),
    Format("HEIC", "ICC profile or nclx: P3, BT.2020", CONVERTED, "to sRGB"),
    Format("HEIC", "nclx: PQ, HLG", REFUSED, "nclx"),
    Format("AVIF", "8 bits; 10 and 12 as 8", READ, "the primary picture, turned as it says"),
    Format("AVIF", "ICC profile or nclx: P3, BT.2020", CONVERTED, "to sRGB"),
    Format("AVIF", "nclx: PQ, HLG", REFUSED, "nclx"),
    Format("WebP", "lossy, lossless", READ, "the first picture"),
    Format("WebP", "ICC profile", CONVERTED, "to sRGB"),
    Format("BMP", "1 to 32 bits", READ),
    Format("BMP", "version 5 with a profile, version 4 calibrated", CONVERTED, "to sRGB"),
    Format("BMP", "black and white in 4 or 8 bits", REFUSED, "a palette of black and white"),
    Format("BMP", "profile in another file", REFUSED, "LINK"),
    Format("GIF", "palette", READ, "the first picture"),
    Format("PPM", "PBM, PGM, PPM; 8 and 16 bits", READ, "16 bits in colour are rounded to 8"),
    Format("PPM", "numbers above the white of the header", REFUSED, "its header says that white is"),
    *(Format(kind, "any", REFUSED, one.hint) for kind, one in KINDS.items() if not one.plugin),
)
"""Orientation (EXIF, and what HEIC and AVIF say) is applied in all of them; colours beyond sRGB are clipped."""


HEAD = Format("kind", "file", "result", "how, or why not")


def print_formats(config: FormatsConfig) -> str:
    """The table as text, or as JSON where that is wished for."""
    if config.json:
        return json.dumps([asdict(row) for row in FORMATS], indent=2)
    rows = [(row.kind, row.file, row.result, row.how) for row in (HEAD, *FORMATS)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
