"""What combine.limit costs at both ends of the range: RMSE and bias in its lowest and highest tenth, and between.

`ends seed=0,1,2 option=value`: a training without a limit, of which clip cuts the very readings, and one with logistic,
for each seed; simulated photographs of 32 pixels unless `image.size` says otherwise. `beyond` counts readings beyond
the range.
"""

import json

import numpy as np
import pandas as pd
from accuracy import seeds_of, variant
from common import twostage

USUAL = ("data.count=3200", "split.test=0.3", "image.size=32", "train=fast", "runtime.threads=1")
TENTH = 0.1


def run(work, overrides=()):
    seeds, overrides = seeds_of(overrides, (0, 1, 2))
    folder = work / "ends" / variant(overrides)
    rows = [row for seed in seeds for row in _rows(folder, seed, overrides)]
    means = pd.DataFrame(rows).groupby("limit", sort=False).mean(numeric_only=True).reset_index().assign(seed="mean")
    return rows + means.round(4).to_dict("records")


def _rows(folder, seed, overrides):
    free, edges = _read(folder, seed, "none", overrides)
    bent, _ = _read(folder, seed, "logistic", overrides)
    read = {"none": free, "clip": free.assign(concentration=free["concentration"].clip(*edges)), "logistic": bent}
    return [{"seed": seed, "limit": limit, **_figures(frame, *edges)} for limit, frame in read.items()]


def _read(folder, seed, limit, overrides):
    """The test photographs as a training with that limit reads them, and the ends of its range."""
    name = f"{limit}_{seed}"
    own = [f"combine.limit={limit}", f"seed={seed}", f"run={name}", f"runtime.cache_dir={folder.parent / 'cache'}"]
    twostage(folder, "train", "runtime.progress=false", *USUAL, *overrides, *own)
    run = folder / "outputs" / name
    edges = json.loads((run / "metrics.json").read_text())["edges"]
    return pd.read_csv(run / "predictions.csv").dropna(subset="concentration"), (edges[0], edges[-1])


def _figures(frame, low, high):
    error, place = frame["concentration"] - frame["target"], (frame["target"] - low) / (high - low)
    where = {
        "": place >= 0,
        "_low": place < TENTH,
        "_middle": place.between(TENTH, 1 - TENTH),
        "_high": place > 1 - TENTH,
    }
    found = {f"rmse{part}": np.sqrt(np.mean(error[rows] ** 2)) for part, rows in where.items()}
    found |= {f"bias{part}": np.mean(error[rows]) for part, rows in where.items() if part}
    beyond = (frame["concentration"] < low) | (frame["concentration"] > high)
    return {name: round(float(value), 4) for name, value in found.items()} | {"beyond": int(beyond.sum())}
