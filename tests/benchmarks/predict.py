"""Many photographs in one command, beside bare decoding and networks; and how memory grows with the rows.

Bare is decode and forward, without trust and rows, on as many threads: half of it before the command and half after it,
for other work on the machine comes and goes. CPU seconds tell the work itself apart from waiting for other programs.
"""

import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from common import TWOSTAGE, files_of, large_photographs, photographs, twostage

MANY, LARGE, ROWS = 10_000, 200, (1_000, 100_000)
CHUNK = 32
# what the weights are does not change the speed
MODEL = ("train", "data.count=200", "train.epochs=2", "runtime.precision=float32", "runtime.progress=false")
RUNS = {
    "eight": ("run=predict",),
    "one": ("run=predict_one", "combine.views=1"),
    "small": ("run=predict_small", "combine.views=1", "image.size=32"),
}


def run(work, many=MANY, large=LARGE, rows=ROWS):
    for options in RUNS.values():
        if not (work / "outputs" / options[0].removeprefix("run=") / "metrics.json").is_file():
            twostage(work, *MODEL, *options)
    small = files_of(photographs(work / "photographs", 1024))
    big = large_photographs(work / "large", 8)
    return [
        beside_bare(work, "predict", "250x250, 8 views", small, many),
        beside_bare(work, "predict_one", "250x250, 1 view", small, many),
        beside_bare(work, "predict", "12 megapixels, 8 views", big, large),
        beside_bare(work, "predict_one", "12 megapixels, 1 view", big, large),
        *(memory(work, small, count) for count in rows),
    ]


def load(work, name):
    from twostage import Predictor

    return Predictor.load(work / "outputs" / name)


def beside_bare(work, name, case, files, count):
    """One command over `count` photographs, beside bare decoding and networks of as many, and decoding alone."""
    predictor, files = load(work, name), [files[i % len(files)] for i in range(count)]
    chunks = [files[i : i + CHUNK] for i in range(0, count, CHUNK)]
    table = work / f"{name}_{count}.csv"
    table.write_text("image\n" + "".join(f"{file}\n" for file in files))
    bare(predictor, chunks[:1])
    decoding, both, command = np.zeros(2), np.zeros(2), np.zeros(2)  # by the clock, of the processors
    for number, half in enumerate((chunks[::2], chunks[1::2])):
        if number:
            command = clocks(lambda: predict(work, name, table))
        decoding += clocks(lambda half=half: bare(predictor, half, networks=False))
        both += clocks(lambda half=half: bare(predictor, half))
    table.write_text(f"image\n{files[0]}\n")
    start = clocks(lambda: predict(work, name, table))
    row = {"case": case, "photographs": count, "start_seconds": round(start[0], 1)}
    for i, clock in enumerate(("", "cpu_")):
        row[f"{clock}ratio_to_bare"] = round(command[i] / both[i], 2)
        row[f"{clock}ratio_to_decoding"] = round(command[i] / decoding[i], 2)
        row[f"{clock}ratio_to_bare_after_start"] = round((command[i] - start[i]) / both[i], 2)
        row[f"{clock}ratio_to_decoding_after_start"] = round((command[i] - start[i]) / decoding[i], 2)
    return row


def bare(predictor, chunks, networks=True):
    import torch

    from twostage.data.photographs import decode_photographs

    image, threads = predictor.model.config.image, torch.get_num_threads()

    def work(chunk):
        pixels, _ = decode_photographs(chunk, image.size, image.fit, threads=1)
        if networks:
            predictor.model.network.read(pixels, views=predictor.model.config.views)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(work, chunks))
    torch.set_num_threads(threads)


def predict(work, name, table):
    command = [*TWOSTAGE, "predict", f"run={name}", f"input={table}", "output=read.csv", "runtime.progress=false"]
    subprocess.run(command, cwd=work, check=True, capture_output=True)


def memory(work, files, count):
    """Peak memory of a command over so many rows, which name the same few photographs."""
    table = work / f"rows_{count}.csv"
    lines = (f"{files[i % 16]},{100 + i % 7},lot {i}\n" for i in range(count))
    table.write_text("image,target,lot\n" + "".join(lines))
    began = time.perf_counter()
    _, peak = twostage(
        work, "predict", "run=predict_small", f"input={table}", "output=read.csv", "runtime.progress=false"
    )
    rate = count / (time.perf_counter() - began)
    return {
        "case": "rows",
        "photographs": count,
        "photographs_per_second": round(rate, 1),
        "peak_memory_mb": round(peak),
    }


def clocks(work):
    """Seconds of the clock, and of all processors in this process and those that it has waited for."""
    begin, before = time.perf_counter(), _processors()
    work()
    return np.array([time.perf_counter() - begin, _processors() - before])


def _processors():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
