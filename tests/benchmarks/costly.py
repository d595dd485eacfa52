"""Small files that ask for much: each a function that writes it to a path."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def files():
    """name -> function that writes the file."""
    return {
        "tiff int32, 145 megapixels": lambda path: tiff(path, 12000, 12100, bits=32),
        "tiff int32, one strip": lambda path: tiff(path, 12000, 12100, bits=32, rows=12100),
        "tiff gray 16, 145 megapixels": lambda path: tiff(path, 12000, 12100, bits=16),
        "tiff rgb, turned, 145 megapixels": lambda path: tiff(path, 12000, 12100, bits=8, samples=3, orientation=6),
        "tiff rgb, 145 megapixels": lambda path: tiff(path, 12000, 12100, bits=8, samples=3),
        "png rgb, 145 megapixels": lambda path: png(path, 12000, 12100, color=2),
        "png rgba, 145 megapixels": lambda path: png(path, 12000, 12100, color=6),
        "png gray 16, 145 megapixels": lambda path: png(path, 12000, 12100, color=0, depth=16),
        "png rgb 16, 75 megapixels": lambda path: png(path, 8600, 8700, color=2, depth=16),
        "png, one row of 60,000": lambda path: png(path, 60000, 1, color=2),
        "webp, 144 megapixels": lambda path: saved(path, Image.new("RGB", (12000, 12000)), "WEBP", method=0, quality=1),
        "avif, 48 megapixels": lambda path: saved(path, Image.new("RGB", (8000, 6000)), "AVIF", speed=10),
        "webp, 25 megapixels": lambda path: saved(path, Image.new("RGB", (5000, 5000)), "WEBP", method=0, quality=1),
        "jpeg, 144 megapixels": lambda path: saved(path, Image.new("RGB", (12000, 12000)), "JPEG"),
        "jpeg, 590 megapixels": lambda path: saved(path, Image.new("L", (24000, 24600)), "JPEG"),
        "jpeg progressive, 100 megapixels": lambda path: saved(
            path, Image.new("RGB", (10000, 10000)), "JPEG", progressive=True, subsampling=0
        ),
        "jpeg progressive, 3,000 empty scans": lambda path: scans(path, 3000),
        "jpeg progressive, 90 empty scans": lambda path: scans(path, 90),
        "jpeg, a million segments": lambda path: jpeg_segments(path, 1_000_000),
        "gif, a comment of 20 MB": gif_comment,
        "gif, 144 megapixels": lambda path: saved(path, Image.new("L", (12000, 12000)), "GIF"),
        "ppm with 200 levels, 100 megapixels": lambda path: path.write_bytes(b"P6 10000 10000 199\n" + bytes(9)),
        "ppm plain, a million comments": lambda path: path.write_bytes(b"P3 99 99 255\n" + b"#\n1 " * 1_000_000),
        "bmp rle, 100 megapixels": bmp_rle,
        "a pipe": os.mkfifo,
        "a device": lambda path: path.symlink_to("/dev/zero"),
    }


def saved(path, image, format, **options):
    image.save(path, format, **options)


def tiff(path, width, height, bits, samples=1, rows=8, orientation=1):
    """Deflate; every strip is the same few bytes of the file."""
    strip = zlib.compress(bytes(width * rows * samples * bits // 8), 9)
    count = -(-height // rows)
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [8]),
        262: (3, [2 if samples > 1 else 1]),
        273: (4, [8] * count),
        274: (3, [orientation]),
        277: (3, [samples]),
        278: (4, [rows]),
        279: (4, [len(strip)] * count),
        339: (3, [2 if bits == 32 else 1] * samples),
    }
    after = 8 + len(strip) + len(strip) % 2
    table, extra, at = struct.pack("<H", len(tags)), b"", after + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"<{len(values)}{'HI'[kind - 3]}", *values)
        if len(value) > 4:
            value, extra = struct.pack("<I", at + len(extra)), extra + value
        table += struct.pack("<HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    path.write_bytes(struct.pack("<2sHI", b"II", 42, after) + strip.ljust(after - 8, b"\0") + table + bytes(4) + extra)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, height, color, depth=8):
    row = 1 + width * {0: 1, 2: 3, 6: 4}[color] * depth // 8
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(bytes(row)) for _ in range(height)) + deflate.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def scans(path, count):
    """A progressive JPEG whose last scan, of one component, comes so many times."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000), np.uint8)
    Image.fromarray(noise).resize((4000, 4000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x00" + b"\0" * 40
    path.write_bytes(data[:-2] + scan * count + data[-2:])


def jpeg_segments(path, count):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    data = buffer.getvalue()
    path.write_bytes(data[:2] + b"\xff\xe5\0\2" * count + data[2:])


def gif_comment(path):
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "GIF")
    data = buffer.getvalue()
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * 80_000 + b"\0"
    path.write_bytes(data[:start] + comment + data[start:])


def bmp_rle(path):
    head = struct.pack("<IiiHHIIiiII", 40, 10000, 10000, 1, 8, 1, 4, 0, 0, 256, 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 40 + 1024) + head + bytes(1024) + b"\xff\1\0\1")


if __name__ == "__main__":  # a process of its own, whose memory is not counted
    files()[sys.argv[1]](Path(sys.argv[2]))
