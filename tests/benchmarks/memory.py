"""Peak memory of whole commands: 20,000 photographs trained on, a million brought into the store."""

import time

from common import twostage

CASES = {
    "train on 20,000 at 64 px": ("train", "data.count=20000", "image.size=64", "train.epochs=2"),
    "store of 1,000,000 at 32 px, then one photograph in ten thousand trained on": (
        "train-classifier",
        "data.count=1000000",
        "image.size=32",
        "train.epochs=2",
        "split.test=0.45",
        "split.validation=0.05",
        "split.calibration=0.4999",
        "train.batch_size=64",
    ),
}


def run(work):
    rows = []
    for name, arguments in CASES.items():
        begin = time.perf_counter()
        _, peak = twostage(work, *arguments, f"run=memory_{len(rows)}_{time.time_ns()}", "runtime.progress=false")
        rows.append({"case": name, "peak_memory_mb": round(peak), "seconds": round(time.perf_counter() - begin)})
    return rows
