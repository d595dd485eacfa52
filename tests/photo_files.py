"""One scene in the files that cameras, phones, scanners and ImageJ write: bytes, made with numpy, Pillow and zlib."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 64
COLORS = np.array([[[200, 60, 90], [36, 44, 30]], [[60, 66, 180], [228, 224, 214]]], np.uint8)
"""Four flat fields, a dark and a light one among them; turned or mirrored, the scene is another."""
SCENE = COLORS.repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)
GRAY = SCENE[..., 1]
XYZ = {  # columns: the primaries, adapted to D50, as ICC profiles have them
    "sRGB": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "P3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
    "Adobe": [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
    "BT.2020": [[0.67348, 0.16568, 0.12506], [0.27904, 0.67534, 0.04562], [-0.00193, 0.02997, 0.79683]],
}


def decoded(v):
    """From numbers of the sRGB curve in [0, 1] to linear light."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(v):
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


LIGHT = decoded(SCENE / 255)


def light_in(space):
    """The scene's linear light, in the primaries of another space."""
    return (LIGHT @ (np.linalg.inv(XYZ[space]) @ XYZ["sRGB"]).T).clip(0, 1)


def levels(v, bits=8):
    return np.rint(((1 << bits) - 1) * np.clip(v, 0, 1)).astype(np.uint16 if bits > 8 else np.uint8)


def adobe():
    return levels(light_in("Adobe") ** (256 / 563))


def p3():
    return levels(encoded(light_in("P3")))


def written(format, pixels=SCENE, mode=None, **options):
    """What Pillow writes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    if format in ("JPEG", "MPO"):
        options = {"quality": 100, "subsampling": 0} | options
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def icc(space="sRGB", gamma=None, gray=False, hdr=None):
    """A matrix profile (or one of gray); without gamma it has the curve of sRGB, `hdr` is a transfer in a tag cicp."""

    def numbers(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">I", 1024)
    curve += struct.pack(">1024H", *np.rint(65535 * decoded(np.linspace(0, 1, 1024))).astype(int))
    if gamma is not None:
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    name = f"test {space}".encode()
    description = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 4 + 4 + 2 + 1 + 67)
    white = (0.9642, 1.0, 0.8249)
    tags = {b"desc": description + bytes(-len(description) % 4), b"wtpt": b"XYZ " + bytes(4) + numbers(*white)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        for channel, column in zip(b"rgb", np.array(XYZ[space]).T, strict=True):
            tags[bytes([channel]) + b"XYZ"] = b"XYZ " + bytes(4) + numbers(*column)
            tags[bytes([channel]) + b"TRC"] = curve
    if hdr is not None:
        tags[b"cicp"] = b"cicp" + bytes(4) + bytes([9, hdr, 0, 1])
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data
    kind = b"GRAY" if gray else b"RGB "
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), bytes(4), 0x02400000, b"mntr", kind, b"XYZ ", b"", b"acsp"
    )
    return (head.ljust(68, b"\0") + numbers(*white)).ljust(128, b"\0") + table + body


def exif(color_space=None, interoperability=None, **tags):
    found = Image.Exif()
    if color_space is not None:
        found.get_ifd(0x8769)[0xA001] = color_space
    if interoperability is not None:
        found.get_ifd(0x8769)[0xA005] = {1: interoperability}
    for tag, value in tags.items():
        found[int(tag.removeprefix("tag"))] = value
    return found.tobytes()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(pixels=SCENE, *chunks, behind=()):
    """8 or 16 bits, (H,W,C) with C = 1 to 4; `chunks` (name, body) stand before the pixels, `behind` after them."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    color = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    head = struct.pack(">IIBBBBB", *pixels.shape[1::-1], 8 * big.itemsize, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


LONGS = {256, 257, 273, 278, 279, 330}


def page(pixels, photometric, start, order="<", planar=1, compression=1, following=0, strips=None, **tags):
    """One page of a TIFF that begins at `start`; tags as tag274=(6,), texts as bytes."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order))
    strips = strips or ([data.tobytes()] if planar == 1 else [data[..., k].tobytes() for k in range(channels)])
    if compression == 8:
        strips = [zlib.compress(strip) for strip in strips]
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = {256: (width,), 257: (height,), 258: (8 * pixels.itemsize,) * channels, 259: (compression,)}
    entries |= {262: (photometric,), 277: (channels,), 278: (height,), 284: (planar,), 339: (form,) * channels}
    entries |= {273: (0,) * len(strips), 279: tuple(map(len, strips))}
    entries |= {int(name[3:]): value for name, value in tags.items()}
    packed = {
        tag: value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{'HI'[tag in LONGS]}", *value)
        for tag, value in entries.items()
    }
    at = start + 2 + 12 * len(entries) + 4
    place = at + sum(len(value) + len(value) % 2 for value in packed.values() if len(value) > 4)
    places = [place + sum(map(len, strips[:i])) for i in range(len(strips))]
    packed[273] = struct.pack(f"{order}{len(strips)}I", *places)
    table, extra = struct.pack(order + "H", len(entries)), b""
    for tag in sorted(entries):
        value, kind = packed[tag], 4 if tag in LONGS else 3
        if isinstance(entries[tag], bytes):
            kind = 7 if tag == 34675 else 2
        count = len(value) // {2: 1, 3: 2, 4: 4, 7: 1}[kind]
        if len(value) > 4:
            value, extra = struct.pack(order + "I", at + len(extra)), extra + value + bytes(len(value) % 2)
        table += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return table + struct.pack(order + "I", following) + extra + b"".join(strips)


def tiff(pixels=SCENE, photometric=2, order="<", **options):
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return head + page(pixels, photometric, 8, order, **options)


def bmp(space=b"\0\0\0\0", ends=(), powers=(), profile=b"", pixels=SCENE):
    """A BMP of version 5."""
    head = struct.pack("<IiiHHIIiiII", 124, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0) + space[::-1]
    head += struct.pack("<9i", *(round(v * (1 << 30)) for v in ends)) if len(ends) else bytes(36)
    head += struct.pack("<3I", *(round(v * (1 << 16)) for v in powers)) if len(powers) else bytes(12)
    data = pixels[::-1, :, ::-1].tobytes()
    head += struct.pack("<4I", 4, 124 + len(data), len(profile), 0)
    size = 14 + 124 + len(data) + len(profile)
    return struct.pack("<2sIHHI", b"BM", size, 0, 0, 14 + 124) + head + data + profile


def nclx(content, primaries, transfer):
    """A HEIC or AVIF whose colours are others."""
    at = content.index(b"nclx") + 4
    return content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]


def damaged(data):
    """What bad cards, cut copies and mixed-up blocks leave of a JPEG whose end marker is there."""
    n = len(data)
    yield "first half, then an end marker", data[: n // 2] + b"\xff\xd9"
    yield "first half, zeros, an end marker", data[: n // 2] + bytes(n // 2) + b"\xff\xd9"
    yield "first half, then a later part of itself", data[: n // 2] + data[n * 3 // 4 :]
    yield "a part twice", data[: n // 2] + data[n // 3 :]
    yield "a hole of zeros", data[: n * 4 // 10] + bytes(n // 5) + data[n * 6 // 10 :]
    yield "a sector of another file", data[: n // 2] + bytes(range(1, 200)) * 2 + data[n // 2 + 398 :]
    yield "the end is missing", data[: n * 9 // 10]


def heic(pixels=SCENE, bits=8, **options):
    """HEIC without loss, 4:4:4."""
    import pillow_heif

    buffer = io.BytesIO()
    if bits == 8:
        image = pillow_heif.from_pillow(Image.fromarray(pixels))
    else:
        values = np.ascontiguousarray(pixels.astype(np.uint16) * 257)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[1 if pixels.ndim == 2 else pixels.shape[2]]
        image = pillow_heif.from_bytes(f"{mode};16", pixels.shape[1::-1], values.tobytes())
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        image.save(buffer, **{"quality": -1, "chroma": 444} | options)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    return buffer.getvalue()
