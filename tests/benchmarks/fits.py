"""Which `image.fit` reads photographs that are not square best? Each is trained on three such sets, over three seeds.

`strip`: 288x96, the coloured pad at the left end; `count`: 160x120, up to 30 dark dots anywhere, the target is their
number; `assay`: the simulated assay at 128x96. A training shows `IMAGES` photographs at 64 pixels, on one thread.
"""

import json
from dataclasses import replace

import numpy as np
from common import twostage
from PIL import Image, ImageDraw

from twostage.data.simulated import Assay, render_photographs

FITS, SEEDS = ("stretch", "pad", "crop"), (0, 1, 2)
COUNTS = {"strip": 160, "count": 160, "assay": 1200}
IMAGES = {"strip": 12_000, "count": 12_000, "assay": 24_000}


def run(work):
    rows = []
    for name, count in COUNTS.items():
        table = photographs(work / "fits" / name, name, count)
        found = {fit: [trained(work, name, table, fit, seed) for seed in SEEDS] for fit in FITS}
        rows += [
            {"set": name, "fit": fit, "rmse": round(float(np.mean(errors)), 4)}
            | {f"seed_{seed}": round(error, 4) for seed, error in zip(SEEDS, errors, strict=True)}
            for fit, errors in found.items()
        ]
    return rows


def trained(work, name, table, fit, seed):
    """RMSE on the test photographs of a seed."""
    run = f"fits/{name}_{fit}_{seed}"
    options = ["data=csv", f"data.table={table}", f"image.fit={fit}", f"seed={seed}", f"train.images={IMAGES[name]}"]
    options += ["split.duplicates=ignore", "runtime.threads=1", "runtime.progress=false"]
    twostage(work, "train", f"run={run}", *options)
    return json.loads((work / "outputs" / run / "metrics.json").read_text())["rmse"]


def photographs(folder, name, count):
    """A table of one of the sets."""
    table, rng = folder / "photos.csv", np.random.default_rng(0)
    if table.is_file():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,target"]
    for i, (target, image) in enumerate(SETS[name](count, rng)):
        image.save(folder / f"{i:04d}.png")
        lines.append(f"{i:04d}.png,{target:.6g}")
    table.write_text("\n".join(lines) + "\n")
    return table


def strips(count, rng):
    targets = rng.uniform(0, 350, count)
    pads = render_photographs(targets, 40, 1, assay=replace(Assay(), radius=2.0))  # nothing but the colour
    for target, pad in zip(targets, pads, strict=True):
        paper = np.clip(rng.normal(232, 2, (96, 288, 3)), 0, 255).astype(np.uint8)
        paper[28:68, 12:52] = pad
        yield target, Image.fromarray(paper)


def dots(count, rng):
    for _ in range(count):
        number, image = int(rng.integers(0, 31)), Image.new("RGB", (160, 120), (240, 236, 220))
        draw = ImageDraw.Draw(image)
        for x, y in zip(rng.uniform(4, 156, number), rng.uniform(4, 116, number), strict=True):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(70, 60, 50))
        yield number, image


def assays(count, rng):
    """The middle rows of squares in which everything is three quarters as large: the well lies whole in them."""
    whole = Assay()
    lengths = {name: 0.75 * getattr(whole, name) for name in ("radius", "radius_sd", "center_sd")}
    targets = rng.uniform(80, 350, count)
    for target, pixels in zip(
        targets, render_photographs(targets, 128, 2, assay=replace(whole, **lengths)), strict=True
    ):
        yield target, Image.fromarray(pixels[16:112])


SETS = {"strip": strips, "count": dots, "assay": assays}
