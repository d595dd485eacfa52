"""`predict engine=ray` beside engine=local: the same photographs, the same rows; and once more, a worker killed midway.

``engine photographs=100000 views=8 distinct=1024 shard=1024 size=64``; the photographs are 250x250 pixels, of which
`distinct` are made and named again and again, and `size` is the network's input. Each half of engine=local is timed
before and after engine=ray, for other work on the machine comes and goes; an overhead of 0.15 is 15 % more time by the
clock than engine=local takes.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import TWOSTAGE, files_of, photographs, seconds, twostage

USUAL = {"photographs": 4000, "views": 1, "distinct": 512, "shard": 1024, "size": 64}
MODEL = ("train", "data.count=200", "train.epochs=2", "runtime.precision=float32", "runtime.progress=false")


def run(work, options=()):
    given = USUAL | {name: int(value) for name, value in (option.split("=") for option in options)}
    if set(given) - set(USUAL):
        raise SystemExit(f"engine takes {', '.join(USUAL)}, not {', '.join(set(given) - set(USUAL))}")
    work, count = work / "engine", given["photographs"]
    name = f"views_{given['views']}_{given['size']}"
    if not (work / "outputs" / name / "metrics.json").is_file():
        twostage(work, *MODEL, f"run={name}", f"combine.views={given['views']}", f"image.size={given['size']}")
    files = files_of(photographs(work / f"photographs_{given['distinct']}", given["distinct"]))
    rng = np.random.default_rng(0)
    rows = [f"{files[i]},lot {n}\n" for n, i in enumerate(rng.integers(0, len(files), count))]
    rows[count // 3] = "nowhere.jpg,lost\n"
    half = count // 64 * 32  # chunks of 32 are the same in both, and so all digits
    halves = {"first": rows[:half], "second": rows[half:], "all": rows}
    for part, lines in halves.items():
        (work / f"{part}.csv").write_text("image,lot\n" + "".join(lines))
    shutil.rmtree(work / "ray", ignore_errors=True)
    shutil.rmtree(work / "killed", ignore_errors=True)
    local = seconds(lambda: predict(work, name, "first", "output=first.parquet"))
    on_ray = seconds(lambda: predict(work, name, "all", "output=ray", "engine=ray", f"shard={given['shard']}"))
    local += seconds(lambda: predict(work, name, "second", "output=second.parquet"))
    expected = pd.concat([pd.read_parquet(work / f"{part}.parquet") for part in ("first", "second")], ignore_index=True)
    row = {"engine": "ray", **given, "local_seconds": round(local, 1), "seconds": round(on_ray, 1)}
    row |= {"overhead": round(on_ray / local - 1, 3), "differences": differences(work / "ray", expected)}
    said, took = killed(work, name, given["shard"], -(-count // given["shard"]) // 2)
    again = {
        "engine": "ray, a worker killed",
        **given,
        "local_seconds": row["local_seconds"],
        "seconds": round(took, 1),
    }
    return [row, again | {"overhead": None, "differences": differences(work / "killed", expected), "said": said}]


def command(name, table, *options):
    return [*TWOSTAGE, "predict", f"run={name}", f"input={table}.csv", "runtime.progress=false", *options]


def predict(work, name, table, *options):
    subprocess.run(command(name, table, *options), cwd=work, check=True, capture_output=True)


def differences(folder, expected):
    """Rows that are not the expected ones, in order, cell by cell."""
    found = pd.read_parquet(folder)
    if len(found) != len(expected) or found["row"].tolist() != [*range(len(expected))]:
        return len(expected)
    found = found.drop(columns="row")
    same = found.eq(expected) | (found.isna() & expected.isna())
    return int((~same.all(axis=1)).sum())


def killed(work, name, shard, after):
    """Kill one worker when so many shards are there; what the command says of it, and its seconds."""
    begin = time.perf_counter()
    options = ["output=killed", "engine=ray", f"shard={shard}"]
    with subprocess.Popen(command(name, "all", *options), cwd=work, stderr=subprocess.PIPE, text=True) as process:
        while len(list((work / "killed").glob("*.parquet"))) < after:
            if process.poll() is not None:
                raise SystemExit(f"engine: {process.stderr.read()}")
            time.sleep(0.1)
        while not (workers := workers_of(process.pid)) and process.poll() is None:
            time.sleep(0.01)  # all have just finished a shard
        os.kill(workers[0], signal.SIGKILL)
        said = process.stderr.read()
    if process.returncode:
        raise SystemExit(f"engine: {said}")
    return next(line for line in said.splitlines() if "has died" in line), time.perf_counter() - begin


def workers_of(driver):
    """The processes that read shards for a command."""
    parents, workers = {}, []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = stat.read_text().split(" (", 1)
            parents[int(number)] = int(rest.rsplit(") ", 1)[1].split()[1])
            title = stat.with_name("cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        workers += [int(number)] if title.startswith(b"ray::read_shard") else []

    def is_below(process):
        while process in parents and process != driver:
            process = parents[process]
        return process == driver

    return [worker for worker in workers if is_below(worker)]
