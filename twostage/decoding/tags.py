"""What a file says of its colours: one table of tags, the first that speaks decides.

The order for PNG is that of the third edition of its specification: cICP, iCCP, sRGB, then gAMA with cHRM. A HEIC or
AVIF has an ICC profile or, as nclx, the numbers of ITU-T H.273 that a cICP has. EXIF comes last. Where nothing speaks,
it is sRGB.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twostage.decoding.spaces import CURVES, DAMAGED, PRIMARIES, SRGB, Space, nearest_primaries, power, profile_name
from twostage.errors import ImageError

__all__ = ["Said", "space_of"]

H273_PRIMARIES = {
    1: "sRGB",
    2: "sRGB",
    4: "BT.470 M",
    5: "BT.601 625",
    6: "BT.601 525",
    7: "BT.601 525",
    9: "BT.2020",
    11: "DCI-P3",
    12: "Display P3",
}
H273_CURVES = {
    1: "BT.709",
    2: "sRGB",
    4: "gamma 2.2",
    5: "gamma 2.8",
    6: "BT.709",
    7: "SMPTE 240M",
    8: "linear",
    13: "sRGB",
    14: "BT.709",
    15: "BT.709",
    17: "gamma 2.6",
}
H273_HDR = {16: "PQ", 18: "HLG"}
SAVE = "save it as 8-bit sRGB"
EXIF_IFD, INTEROPERABILITY_IFD = 0x8769, 0xA005
COLOR_SPACE, GAMMA, WHITE_POINT, CHROMATICITIES, TRANSFER = 0xA001, 0xA500, 0x013E, 0x013F, 0x012D


D65 = PRIMARIES["sRGB"][3]


@dataclass
class Said:
    """What was found in a file: PNG chunks (also what other kinds say in their way) by name, the profile, EXIF tags.

    `profile` is None where one is there that cannot be read as a whole. `exif` maps tags to values, of all directories.
    """

    chunks: Mapping[str, bytes] = field(default_factory=dict)
    profile: bytes | None = b""
    exif: Mapping[int, Any] = field(default_factory=dict)
    gray: bool = False


def space_of(said: Said) -> Space:
    """The colour space of a file.

    Raises:
        ImageError: It says one that is not read, or contradicts itself; the message names the tag.
    """
    for rule in RULES:
        if (space := rule(said)) is not None:
            return space
    return SRGB


def _by_cicp(said: Said) -> Space | None:
    name = next((name for name in ("cICP", "nclx") if name in said.chunks), "")
    if not name:
        return None
    primaries, transfer, matrix, whole = struct.unpack(">BBBB", said.chunks[name][:4].ljust(4, b"\0"))
    tag = f"{name} {primaries}/{transfer}"
    if transfer in H273_HDR:
        raise ImageError(f"{tag}: the high dynamic range {H273_HDR[transfer]} has no defined white; {SAVE}")
    if primaries not in H273_PRIMARIES or transfer not in H273_CURVES or matrix or not whole:
        raise ImageError(f"{tag}/{matrix}/{whole}: these colours are not read; {SAVE}")
    name, curve = H273_PRIMARIES[primaries], H273_CURVES[transfer]
    return Space(name if curve == "sRGB" else f"{name} {curve}", tag, PRIMARIES[name], CURVES[curve])


def _by_profile(said: Said) -> Space | None:
    if said.profile is None:
        raise ImageError(DAMAGED)
    if not said.profile:
        return None
    if (transfer := _cicp_of_profile(said.profile)) in H273_HDR:
        raise ImageError(
            f"ICC profile for the high dynamic range {H273_HDR[transfer]}, which has no defined white; {SAVE}"
        )
    return Space(profile_name(said.profile) or "ICC", "ICC profile", profile=said.profile)


def _cicp_of_profile(profile: bytes) -> int:
    """The transfer number of the tag cicp (ICC 4.4); 0 without it."""
    for at in range(
        132, min(132 + 12 * int.from_bytes(profile[128:132], "big"), len(profile) - 11, 132 + 12 * 100), 12
    ):
        if profile[at : at + 4] == b"cicp":
            begin = int.from_bytes(profile[at + 4 : at + 8], "big")
            return int.from_bytes(profile[begin + 9 : begin + 10], "big")
    return 0


def _by_srgb(said: Said) -> Space | None:
    return Space("sRGB", "sRGB chunk") if "sRGB" in said.chunks else None


def _by_gamma(said: Said) -> Space | None:
    gamma, points = said.chunks.get("gAMA", b""), said.chunks.get("cHRM", b"")
    if len(gamma) < 4 and len(points) < 32:
        return None
    primaries: tuple[Any, ...] = PRIMARIES["sRGB"]
    if len(points) >= 32:
        x = [value / 100_000 for value in struct.unpack(">8I", points[:32])]
        primaries = tuple((x[i], x[i + 1]) for i in (2, 4, 6, 0))
        primaries = PRIMARIES.get(nearest_primaries(primaries), primaries)
    value = int.from_bytes(gamma[:4], "big") or 45455
    if not 20_000 <= value <= 500_000:
        raise ImageError(f"gAMA {value} is no curve of a photograph; {SAVE}")
    # so the specification writes sRGB for programs that know no other chunk
    curve = CURVES["sRGB"] if 44_900 <= value <= 46_000 else power(100_000 / value)
    tag = " and ".join(name for name, there in (("gAMA", gamma), ("cHRM", points)) if there)
    exponent = "" if curve is CURVES["sRGB"] else "linear" if value == 100_000 else f"gamma {100_000 / value:.2f}"
    return Space(f"{nearest_primaries(primaries) or 'RGB'} {exponent}".strip(), tag, primaries, curve)


def _by_exif(said: Said) -> Space | None:
    color, interoperability = said.exif.get(COLOR_SPACE), str(said.exif.get(1, "")).strip("\0 ")
    adobe = color == 2 or interoperability == "R03"
    if color == 1 and adobe:
        raise ImageError(f"EXIF ColorSpace says sRGB and InteropIndex R03 says Adobe RGB; {SAVE}")
    if said.gray:  # one channel has no primaries, and all curves of cameras are near that of sRGB
        return None
    if adobe:
        tag = "EXIF ColorSpace 2" if color == 2 else "EXIF InteropIndex R03"
        return Space("Adobe RGB", tag, PRIMARIES["Adobe RGB"], CURVES["Adobe RGB"])
    if color == 1:
        return Space("sRGB", "EXIF ColorSpace 1")
    return None


def _by_chromaticities(said: Said) -> Space | None:
    """TIFF and EXIF may give primaries; writers give those of sRGB with every file."""
    transfer = said.exif.get(TRANSFER)
    if transfer is not None and not _is_like_srgb(transfer):
        raise ImageError(f"its TransferFunction (tag 301) is not that of sRGB; embed an ICC profile, or {SAVE}")
    points = _floats(said.exif.get(CHROMATICITIES), 6)
    if points is None or said.gray:
        return None
    white = _floats(said.exif.get(WHITE_POINT), 2) or D65
    name = nearest_primaries((points[:2], points[2:4], points[4:], white))
    if name not in ("sRGB", "Adobe RGB", "Display P3"):
        raise ImageError(f"its PrimaryChromaticities (tag 319) are not those of sRGB; embed an ICC profile, or {SAVE}")
    curve = "Adobe RGB" if name == "Adobe RGB" else "sRGB"
    return Space(name, "PrimaryChromaticities", PRIMARIES[name], CURVES[curve])


def _is_like_srgb(table: Any) -> bool:
    """Whether a TransferFunction of 16-bit numbers is the curve of sRGB, or a power near it."""
    values = np.atleast_1d(np.asarray(table, float))
    values = values[: len(values) // 3] if len(values) % 3 == 0 else values
    if len(values) < 2:
        return False
    right = CURVES["sRGB"](np.linspace(0, 1, len(values)))
    return bool(np.abs(values / 65535 - right).max() < 0.02)


def _floats(values: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(values, tuple) or len(values) != count:
        return None
    return tuple(float(value) for value in values)


def _uncalibrated(said: Said) -> Space | None:
    color, gamma = said.exif.get(COLOR_SPACE), said.exif.get(GAMMA)
    if color == 0xFFFF and not said.gray:
        raise ImageError(
            f"EXIF ColorSpace says that its colours are not sRGB, and no profile says what they are; "
            f"embed one, or {SAVE}"
        )
    if gamma is not None and not 2 <= float(gamma) <= 2.5:
        raise ImageError(f"EXIF Gamma says {float(gamma):.2f}; embed an ICC profile, or {SAVE}")
    return None


def _by_bitmap(said: Said) -> Space | None:
    """The header of a BMP of version 4 or 5: calibrated colours have end points and powers."""
    head = said.chunks.get("BMP", b"")
    if len(head) < 108:
        return None
    kind = head[56:60][::-1]
    if kind == b"LINK":
        raise ImageError(f"its colour profile is in another file (bV5CSType LINK); {SAVE}")
    if kind == b"\0\0\0\0" and any(head[60:108]):
        ends = np.array(struct.unpack("<9i", head[60:96]), float).reshape(3, 3) / (1 << 30)
        powers = np.array(struct.unpack("<3I", head[96:108])) / (1 << 16)
        if not ends.any() or not powers.all():
            return None
        white = ends.sum(0)
        points = tuple((float(e[0] / e.sum()), float(e[1] / e.sum())) for e in (*ends, white))
        name = nearest_primaries(points)
        if not name or np.ptp(powers) > 0.01:
            raise ImageError(f"its bV4Endpoints are not those of sRGB, Adobe RGB or P3; {SAVE}")
        value = float(powers[0] if powers[0] >= 1 else 1 / powers[0])
        curve = CURVES["sRGB"] if 2.17 <= value <= 2.23 and name == "sRGB" else power(value)
        return Space(name, "bV4Endpoints", PRIMARIES[name], curve)
    return None


RULES = (
    _by_cicp,
    _by_profile,
    _by_srgb,
    _by_gamma,
    _by_bitmap,
    _by_exif,
    _by_chromaticities,
    _uncalibrated,
)
"""Tag after tag; each gives a space, None where the file has no such tag, or refuses."""
