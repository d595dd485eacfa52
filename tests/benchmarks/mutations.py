"""Files changed at random, and files made to be costly: what happens to a program that reads them all.

`photographs`: 20,000 random changes of small photographs in every format. `metadata`: 8,000 of their EXIF, colour
profile, tags and chunks. `tables`, `models`: see mutated_folders.py. `costly`: files of a few kilobytes that ask for
gigabytes or minutes. Each set runs in a process of its own. There must be no exception but the package's own, nothing
over 10 s or 1 GB, and sound photographs must be read as before, in between and afterwards. `other_pixels` counts
changed files that were read, and not as the sound one: formats without checksums do not tell (photographs), an
orientation or profile means so (metadata).
"""

import importlib.util
import io
import itertools
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

sys.path.append(str(Path(__file__).resolve().parents[1]))
import photo_files

SIZE = 32
COUNTS = {"photographs": 20_000, "metadata": 8_000, "tables": 10_000, "models": 200}
SECONDS, MEGABYTES = 10, 1000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def run(work):
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind, count in {**COUNTS, "costly": 0}.items():
        command = [sys.executable, __file__, kind, str(count)]
        # what is written to the terminal is counted too
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"mutations of {kind} failed: {done.stderr}")
        for row in json.loads(done.stdout.splitlines()[-1]):
            rows.append({**row, "lines_on_stderr": len(done.stderr.splitlines())})
    for row in rows:
        good = row["peak_memory_mb"] < MEGABYTES and row["worst_seconds"] < SECONDS and not row["lines_on_stderr"]
        row["differences"] = row["other_exceptions"] + row["sound_changed"] + (0 if good else 1)
    return rows


def picture(side=48):
    y, x = np.mgrid[:side, :side] / side
    noise = np.random.default_rng(0).integers(-8, 9, (side, side, 3))
    colors = np.stack([220 - 90 * x, 60 + 120 * y, 90 + 99 * (np.hypot(x - 0.5, y - 0.5) < 0.35)], -1)
    return Image.fromarray((colors + noise).clip(0, 255).astype(np.uint8))


def exif():
    tags = Image.Exif()
    tags.update({0x0112: 1, 0x010F: "camera", 0x011A: 300.0, 0x011B: 300.0, 0x0128: 2, 0x0132: "2024:01:01 00:00:00"})
    tags.get_ifd(0x8769).update({0x829A: (1, 60), 0x9000: b"0230", 0xA001: 1, 0x927C: b"maker" * 9, 0xA002: 48})
    tags.get_ifd(0x8825).update({1: "N", 2: (52, 31, 12), 29: "2024:01:01"})
    return tags


def sound_photographs():
    """name -> content, of every format and way of storing."""
    image, sets = picture(), {}
    gray16 = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
    described = {"exif": exif().tobytes(), "icc_profile": SRGB}
    for name, (mode, format, options) in {
        "jpeg": ("RGB", "JPEG", {"quality": 90}),
        "jpeg progressive": ("RGB", "JPEG", {"quality": 90, "progressive": True, "subsampling": 0}),
        "jpeg restarts": ("RGB", "JPEG", {"quality": 90, "restart_marker_rows": 1}),
        "jpeg described": ("RGB", "JPEG", {"quality": 90, **described}),
        "jpeg cmyk": ("CMYK", "JPEG", {"quality": 90}),
        "mpo": ("RGB", "MPO", {"save_all": True, "append_images": [image], "exif": exif().tobytes()}),
        "png": ("RGB", "PNG", {}),
        "png described": ("RGBA", "PNG", {**described, "dpi": (300, 300)}),
        "png palette": ("P", "PNG", {"transparency": 3}),
        "png 16": ("I;16", "PNG", {}),
        "apng": ("RGB", "PNG", {"save_all": True, "append_images": [image.rotate(90)]}),
        "tiff": ("RGB", "TIFF", {}),
        "tiff described": ("RGB", "TIFF", described),
        "tiff lzw": ("RGB", "TIFF", {"compression": "tiff_lzw", "strip_size": 1000}),
        "tiff jpeg": ("RGB", "TIFF", {"compression": "jpeg"}),
        "tiff packbits": ("CMYK", "TIFF", {"compression": "packbits"}),
        "tiff fax": ("1", "TIFF", {"compression": "group4"}),
        "tiff 16": ("I;16", "TIFF", {}),
        "webp": ("RGB", "WEBP", {"quality": 90}),
        "webp described": ("RGBA", "WEBP", {"lossless": True, **described}),
        "gif": ("P", "GIF", {}),
        "bmp": ("RGB", "BMP", {}),
        "bmp palette": ("P", "BMP", {}),
        "ppm": ("RGB", "PPM", {}),
    }.items():
        buffer = io.BytesIO()
        (gray16 if mode == "I;16" else image.convert(mode)).save(buffer, format, **options)
        sets[name] = buffer.getvalue()
    deep = np.asarray(image).astype(np.uint16) * 257
    sets["png rgb 16"] = photo_files.png(deep, (b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 45455)))
    sets["tiff rgb 16"] = photo_files.tiff(deep, order=">", compression=8)
    sets["tiff planes 16"] = photo_files.tiff(deep, planar=2, tag281=(65535,) * 3)
    sets["bmp 5"] = photo_files.bmp(b"MBED", profile=SRGB)
    sets["avif"] = photo_files.written("AVIF", image, quality=90, speed=10)
    if importlib.util.find_spec("pillow_heif"):
        sets["heic"] = photo_files.heic(np.asarray(image), quality=90)
        sets["heic 10"] = photo_files.heic(np.asarray(image), bits=10, quality=90, icc_profile=SRGB)
    sets["ppm plain"] = b"P3 48 48 255\n" + " ".join(map(str, np.asarray(image).ravel())).encode()
    return sets


def changed(content, others, rng):
    """The content with one to three random changes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        n = max(len(data), 1)
        # half of all changes hit the first bytes, where the structure is
        at = int(rng.integers(n if rng.random() < 0.5 else min(n, 200)))
        length = int(rng.integers(1, max(2, n // 4)))
        kind = rng.integers(10)
        if kind < 3:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 3:
            data[at : at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\1\0\0"][rng.integers(4)]
        elif kind == 4:
            data[at : at + length] = bytes(length)
        elif kind == 5:
            del data[at : at + length]
        elif kind == 6:
            data[at:at] = data[at : at + length]
        elif kind == 7:
            data[at : at + length] = rng.bytes(length)
        elif kind == 8:
            other = others[rng.integers(len(others))]
            data[at : at + length] = other[at : at + length]
        else:
            del data[at:]
    return with_right_checksums(bytes(data)) if data[:4] == b"\x89PNG" and rng.random() < 0.5 else bytes(data)


def with_right_checksums(data):
    """A PNG whose chunks agree with their checksums again, so that what is behind them is reached."""
    result, at = data[:8], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        result += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return result + data[at:]


def described_otherwise(sets, rng):
    """A sound photograph with other EXIF, profile, tags or chunks: (name, content)."""
    image = picture()
    notes, profile = bytearray(exif().tobytes()), bytearray(SRGB)
    for part in (notes, profile) if rng.random() < 0.5 else (notes,):
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(6, min(len(part), 400)))
            part[at : at + 1 + rng.integers(4)] = rng.bytes(1 + int(rng.integers(4)))
    format = ("JPEG", "PNG", "WEBP", "TIFF", "MPO", "JPEG tags")[rng.integers(6)]
    options = {"exif": bytes(notes), "icc_profile": bytes(profile)}
    if format == "JPEG tags":
        content = sets["jpeg described"]
        at = int(rng.integers(2, len(SRGB)))
        return "jpeg described", content[:at] + rng.bytes(2) + content[at + 2 :]
    if format == "TIFF":
        name = ("tiff described", "tiff lzw", "tiff 16")[rng.integers(3)]
        return name, with_other_entry(sets[name], 0, rng)
    if format == "MPO":
        content = sets["mpo"]
        return "mpo", with_other_entry(content, content.index(b"MPF\0") + 4, rng)
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore") if sys.version_info >= (3, 11) else nullcontext():
        image.save(buffer, format, **options, **({"lossless": True} if format == "WEBP" else {}))
    return {"JPEG": "jpeg", "PNG": "png", "WEBP": "png"}[format], buffer.getvalue()


def with_other_entry(content, start, rng):
    """Other bytes in one entry of the TIFF directory that begins at `start`: its tag, type, count or value."""
    data = bytearray(content)
    order = "<" if data[start : start + 1] == b"I" else ">"
    at = start + struct.unpack_from(order + "I", data, start + 4)[0]
    (count,) = struct.unpack_from(order + "H", data, at)
    for _ in range(rng.integers(1, 3)):
        entry = at + 2 + 12 * int(rng.integers(count))
        field, form = ((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"))[rng.integers(5)]
        value = int(rng.integers(14)) if rng.random() < 0.7 else int(rng.integers(1 << 32)) >> 16 * (form == "H")
        struct.pack_into(order + form, data, entry + field, value)
    return bytes(data)


def decode_all(contents, sound, folder):
    """Decode (name, content) one after another; the row of the table."""
    from twostage.data.images import decode_photograph
    from twostage.errors import TwoStageError

    path = Path(folder) / "photo"

    def read(content):
        path.write_bytes(content)
        return decode_photograph(path, SIZE).tobytes()

    right = {name: read(content) for name, content in sound.items() if name != "tiff fax"}
    found = {"files": 0, "read": 0, "refused": 0, "other_pixels": 0, "other_exceptions": 0, "sound_changed": 0}
    worst, check = 0.0, itertools.cycle(right)
    for number, (name, content) in enumerate(contents):
        found["files"] += 1
        begin = time.perf_counter()
        try:
            pixels = read(content)
            found["read"] += 1
            found["other_pixels"] += pixels != right.get(name)
        except TwoStageError as error:
            found["refused"] += 1
            found["other_exceptions"] += "\n" in str(error)
        except Exception as error:
            found["other_exceptions"] += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        worst = max(worst, time.perf_counter() - begin)
        if number % 20 == 0:
            name = next(check)
            found["sound_changed"] += read(sound[name]) != right[name]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**found, "worst_seconds": round(worst, 2), "peak_memory_mb": round(peak)}


def measure(kind, count, seed=0):
    if kind in ("tables", "models"):
        import mutated_folders

        with tempfile.TemporaryDirectory() as folder:
            return getattr(mutated_folders, f"measure_{kind}")(count, folder, seed)
    rng, sound = np.random.default_rng(seed), sound_photographs()
    names, contents = list(sound), list(sound.values())

    def photographs():
        for i in range(count):
            yield names[i % len(names)], changed(contents[i % len(names)], contents, rng)

    def metadata():
        for _ in range(count):
            yield described_otherwise(sound, rng)

    with tempfile.TemporaryDirectory() as folder:
        made = {"photographs": photographs, "metadata": metadata}[kind]()
        return {"set": kind, **decode_all(made, sound, folder)}


def measure_costly():
    """Each in a process of its own, four copies at a time, in as many threads."""
    import costly

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in costly.files():
            path = Path(folder) / "photo"
            path.unlink(missing_ok=True)
            subprocess.run([sys.executable, costly.__file__, name, str(path)], check=True)
            done = subprocess.run([sys.executable, __file__, "one", str(path)], stdout=subprocess.PIPE, text=True)
            rows.append({"set": name, **json.loads(done.stdout)})
    return rows


def measure_one(path):
    from twostage.data.photographs import decode_photographs

    begin = time.perf_counter()
    _, failed = decode_photographs([path], SIZE, "crop")
    alone = time.perf_counter() - begin
    decode_photographs([path] * 4, SIZE, "crop", threads=4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "files": 1,
        "read": 1 - len(failed),
        "refused": len(failed),
        "other_pixels": 0,
        "other_exceptions": 0,
        "sound_changed": 0,
        "worst_seconds": round(alone, 2),
        "peak_memory_mb": round(peak),
        "why": next(iter(failed.values()), "").replace(path, "")[:90],
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    what, argument = sys.argv[1:3]
    if what == "one":
        print(json.dumps(measure_one(argument)))
    else:
        print(json.dumps(measure_costly() if what == "costly" else [measure(what, int(argument))]))
