"""Photographs decoded per second, in one thread, beside what Pillow alone does with the same files in the same run.

`pillow` is what the package did before it averaged exactly and looked for damage: reduced JPEG decoding, turning
upright, and a resize in two passes. Medians of rounds that alternate.
"""

import time

import numpy as np
from common import median
from PIL import Image, ImageOps

from twostage.data.simulated import render_photographs

SIZE, ROUNDS = 64, 9
# the large ones first: until then the C library gives small blocks back to the system and asks for them again
CASES = (("4000x3000", "png", 1), ("4000x3000", "jpg", 2), ("250x250", "png", 50), ("250x250", "jpg", 100))


def run(work):
    from twostage.data.images import decode_photograph

    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for shape, suffix, count in CASES:
        path = work / f"{shape}.{suffix}"
        photograph(tuple(map(int, shape.split("x")))).save(path, quality=92)
        rounds = [(speed(decode_photograph, path, count), speed(pillow_alone, path, count)) for _ in range(ROUNDS)]
        ours, alone = zip(*rounds, strict=True)
        ratio = median([one / other for one, other in rounds])
        rows.append(
            {
                "photograph": f"{shape} {suffix}",
                "images_per_second": round(median(ours), 1),
                "pillow_images_per_second": round(median(alone), 1),
                "ratio": round(ratio, 3),
            }
        )
    return rows


def photograph(size):
    assay = Image.fromarray(render_photographs(np.array([200.0]), 250, 1)[0]).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).integers(-4, 5, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(assay) + noise).clip(0, 255).astype(np.uint8))


def pillow_alone(path, size):
    with Image.open(path) as image:
        if image.format == "JPEG":
            least = max(4 * size, -(-min(image.size) // 4))
            image.draft(None, (least, least))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = ImageOps.exif_transpose(image).crop((left, top, left + side, top + side))
        whole = side % size == 0
        square = square.resize((size, size), Image.Resampling.BOX if whole else Image.Resampling.HAMMING)
        return np.asarray(square.convert("RGB"))


def speed(decode, path, count):
    begin = time.perf_counter()
    for _ in range(count):
        decode(path, SIZE)
    return count / (time.perf_counter() - begin)
