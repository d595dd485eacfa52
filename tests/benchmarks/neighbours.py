"""Photographs per second beside programs that keep so many processors busy, by the number of threads.

Training is that of the default network on the simulated assay, for so many minutes with each number, from its
history.csv; prediction reads photographs of files with the model that was trained here. "of best" is the rate of auto
over that of the better of the other two.
"""

import subprocess
import sys
import time
from contextlib import contextmanager

import pandas as pd
from common import files_of, median, photographs, twostage

from twostage import Predictor
from twostage.training.device import use_threads

THREADS = ("1", "2", "auto")


def run(work, options=()):
    """Options: neighbours=0,1,2,4 minutes=0.4 rounds=1 kinds=training,prediction."""
    given = {"neighbours": "0,1,2,4", "minutes": "0.4", "rounds": "1", "kinds": "training,prediction"}
    given |= dict(option.split("=", 1) for option in options)
    files = files_of(photographs(work / "photographs", 1024))
    twostage(work, "train", "run=neighbours/model", "train.epochs=2", "runtime.threads=1", "runtime.progress=false")
    rows = []
    for count in map(int, given["neighbours"].split(",")):
        for kind in given["kinds"].split(","):
            rates = {threads: [] for threads in THREADS}
            for turn in range(int(given["rounds"])):
                for threads in THREADS:
                    with busy(count):
                        if kind == "training":
                            rates[threads].append(_training(work, threads, given["minutes"], f"{count}_{turn}"))
                        else:
                            rates[threads].append(_prediction(work, threads, files))
            rate = {threads: median(found) for threads, found in rates.items()}
            best = max(rate["1"], rate["2"])
            shown = {f"threads={threads}": round(one) for threads, one in rate.items()}
            rows.append({"photographs/s": kind, "neighbours": count, **shown, "of best": round(rate["auto"] / best, 2)})
            print(rows[-1], flush=True)
    return rows


@contextmanager
def busy(count):
    """So many other programs, each of which keeps a processor busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _training(work, threads, minutes, name):
    run_name = f"neighbours/{threads}_{name}_{time.time_ns()}"
    options = ["method=direct", "train.refit=false", f"train.minutes={minutes}", "runtime.progress=false"]
    twostage(work, "train", f"run={run_name}", *options, f"runtime.threads={threads}")
    (history,) = (work / "outputs" / run_name).rglob("history.csv")
    epochs = pd.read_csv(history)
    return float((epochs["images_per_second"] * epochs["seconds"]).sum() / epochs["seconds"].sum())


def _prediction(work, threads, files):
    """Of files, all of them once, in a process of its own."""
    command = [sys.executable, __file__, str(work / "outputs" / "neighbours" / "model"), threads, *map(str, files)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    model, threads, *files = sys.argv[1:]
    use_threads(threads if threads == "auto" else int(threads))
    predictor = Predictor.load(model, device="cpu")
    predictor.predict(files[:64])
    begin = time.perf_counter()
    predictor.predict(files)
    print(len(files) / (time.perf_counter() - begin))
