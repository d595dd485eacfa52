"""Photographs and processes for the benches."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from twostage.data.simulated import render_photographs, sample_targets

TWOSTAGE = [sys.executable, "-m", "twostage"]
MEASURED = (
    "import resource, subprocess, sys\n"
    "status = subprocess.call(sys.argv[2:])\n"
    "with open(sys.argv[1], 'w') as file:\n"
    "    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=file)\n"
    "sys.exit(status)"
)
"""Runs a command and writes its peak memory. That of a child begins with the memory of who starts it: here, nothing."""


def photographs(folder, count, side=250):
    """A table of `count` simulated photographs of the founding problem's size, as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "photos.csv"
    if table.is_file() and len(table.read_text().splitlines()) == count + 1:
        return table
    targets = sample_targets(count, 80, 350, "uniform", 0)
    lines = ["image,target"]
    for i, pixels in enumerate(render_photographs(targets, side, 0)):
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg", quality=95)
        lines.append(f"{i:05d}.jpg,{targets[i]:.4f}")
    table.write_text("\n".join(lines) + "\n")
    return table


def large_photographs(folder, count):
    """So many photographs of 4000x3000 pixels with the grain of a camera, as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    files, rng = [folder / f"{i}.jpg" for i in range(count)], np.random.default_rng(0)
    if not all(file.is_file() for file in files):
        for file, pixels in zip(
            files, render_photographs(sample_targets(count, 80, 350, "uniform", 0), 500, 0), strict=True
        ):
            image = np.asarray(Image.fromarray(pixels).resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
            grain = rng.integers(-6, 7, (3000, 4000, 1))
            Image.fromarray((image + grain).clip(0, 255).astype(np.uint8)).save(file, quality=90)
    return files


def twostage(folder, *arguments):
    """Run the command line in a folder of its own; returns its standard error and the peak memory in MB."""
    folder.mkdir(parents=True, exist_ok=True)
    peak = folder / "bench.peak"
    with (folder / "bench.log").open("w+") as log:
        command = [sys.executable, "-c", MEASURED, str(peak), *TWOSTAGE, *arguments]
        status = subprocess.run(command, cwd=folder, stdout=log, stderr=log).returncode
        log.seek(0)
        text = log.read()
    if status:
        raise SystemExit(f"twostage {' '.join(arguments)} failed: {text}")
    return text, int(peak.read_text()) / 1024


def median(values):
    return float(np.median(values))


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def files_of(table):
    return [Path(table).parent / line.split(",")[0] for line in Path(table).read_text().splitlines()[1:]]
