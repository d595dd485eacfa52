"""What a number of photographs costs: time, memory and disk of training and prediction against their number.

Training is that of the default network on simulated photographs of 64 pixels, which are drawn to the store instead of
decoded; an epoch of each stage. "decode" brings files of 250x250 to the store in a run of their own, up to 10,000 of
them. "near duplicates" is the search for photographs that are too much alike, alone. Prediction reads a table of as
many rows, which name 1,024 files over and over.
"""

import shutil
import time

import numpy as np
import pandas as pd
from common import files_of, photographs, twostage

FILES = 10_000
QUIET = ("runtime.progress=false", "train.epochs=2", "train.refit=false")


def run(work, options=()):
    """Options: counts=1000,10000,100000 threads=2 predict=100000 (no more rows are read)."""
    given = {"counts": "1000,10000,100000", "threads": "2", "predict": "100000"}
    given |= dict(option.split("=", 1) for option in options)
    rows = []
    for count in map(int, given["counts"].split(",")):
        threads, cache = f"runtime.threads={given['threads']}", work / f"cache_{count}"
        shutil.rmtree(cache, ignore_errors=True)
        row = {"photographs": count} | _trained(work, count, threads, cache)
        row |= _duplicates(cache)
        row |= _decoded(work, count, threads) if count <= FILES else {}
        row |= _read(work, count, threads) if count <= int(given["predict"]) else {}
        rows.append(row)
        print(row, flush=True)
        shutil.rmtree(cache)
    return rows


def _trained(work, count, threads, cache):
    name = f"million/{count}_{time.time_ns()}"
    begin = time.perf_counter()
    _, peak = twostage(
        work, "train", f"run={name}", f"data.count={count}", threads, f"runtime.cache_dir={cache}", *QUIET
    )
    seconds, folder = time.perf_counter() - begin, work / "outputs" / name
    epochs = pd.concat([pd.read_csv(path) for path in folder.rglob("history.csv")])
    return {
        "train s": round(seconds, 1),
        "of these epochs": round(float(epochs["seconds"].sum()), 1),
        "images/s": round(float(epochs["images_per_second"].mean())),
        "train MB": round(peak),
        "store MB": round(_size(cache)),
        "run MB": round(_size(folder)),
    }


def _duplicates(cache):
    from twostage.data.duplicates import near_duplicates

    (stored,) = cache.glob("*/pixels.npy")
    pixels = np.load(stored, mmap_mode="r")
    begin = time.perf_counter()
    near_duplicates(pixels)
    return {"near duplicates s": round(time.perf_counter() - begin, 1)}


def _decoded(work, count, threads):
    """Seconds in which check-data looks at so many files, and training brings them to the store."""
    table, cache = photographs(work / f"files_{count}", count), work / "cache_files"
    shutil.rmtree(cache, ignore_errors=True)
    name, data = f"million/files_{count}_{time.time_ns()}", ("data=csv", f"data.table={table}")
    begin = time.perf_counter()
    twostage(work, "train-classifier", f"run={name}", *data, threads, f"runtime.cache_dir={cache}", *QUIET)
    seconds = time.perf_counter() - begin
    (history,) = (work / "outputs" / name).rglob("history.csv")
    shutil.rmtree(cache)
    return {"decode s": round(seconds - float(pd.read_csv(history)["seconds"].sum()), 1)}


def _read(work, count, threads):
    run = max((work / "outputs" / "million").glob("1000_*"))
    files, table = files_of(photographs(work / "photographs", 1024)), work / f"million_{count}.csv"
    table.write_text("image\n" + "".join(f"{files[i % len(files)]}\n" for i in range(count)))
    words = ("predict", f"run={run}", f"input={table}", "output=read.parquet", threads, "runtime.progress=false")
    begin = time.perf_counter()
    _, peak = twostage(work, *words)
    seconds = time.perf_counter() - begin
    return {"predict s": round(seconds, 1), "predict MB": round(peak)}


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
