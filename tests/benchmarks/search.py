"""Search: is what it finds better, judged on other seeds; and are two processes twice as fast as one?

The simulated assay (500 photographs for training), and nitrite by specimen. The best options and those as they are are
trained with other seeds, which draw other photographs, or other folds: there the margin is not that of the winner.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from common import TWOSTAGE, twostage

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = {
    "assay": ["experiment=assay_500", "search=quick"],
    "nitrite": [
        "data=csv",
        f"data.table={DATA / 'nitrite' / 'labels.csv'}",
        "data.group_column=group",
        "split.duplicates=ignore",
        "split.calibration=0",  # too few specimens for intervals
        "search=quick",
        "image.color=optical_density,linear,srgb",
        "augment.exposure=0..0.1",
    ],
}
PLAIN = ["runtime.threads=1", "runtime.progress=false"]
SPEED = ["experiment=smoke", "search=quick", "search.prune=false", *PLAIN]


def run(work, options=()):
    """Options: sets=assay,nitrite trials=40 seeds=1,2,3 epochs=12 speed=12 (trials by one and by two; 0: not)."""
    given = {"sets": "assay,nitrite", "trials": "40", "seeds": "1,2,3", "epochs": "12", "speed": "12"}
    given |= dict(option.split("=", 1) for option in options)
    rows = [
        row
        for name in filter(None, given["sets"].split(","))
        for row in _searched(work, name, given["trials"], given["epochs"], given["seeds"].split(","))
    ]
    return rows + (_speed(work, int(given["speed"])) if given["speed"] != "0" else [])


def _searched(work, name, trials, epochs, seeds):
    folder, begin = work / "outputs" / "search" / f"{name}_{trials}_{epochs}", time.perf_counter()
    words = [*SETS[name], f"train.epochs={epochs}", *PLAIN]
    twostage(work, "search", *words, f"run=search/{folder.name}", f"search.trials={trials}")
    seconds = round(time.perf_counter() - begin)
    found = json.loads((folder / "search.json").read_text())
    test = {("usual" if key == "as they are" else "best"): row["rmse"] for key, row in (found["test"] or {}).items()}
    chosen = {"set": name, "seed": "0 (searched)", "validation_usual": found["rmse_of_usual_options"]}
    chosen |= {"validation_best": found["best"]["rmse"], "test_usual": test.get("usual"), "test_best": test.get("best")}
    rows = [chosen | {"seconds": seconds, "options": json.dumps(found["best"]["options"])}]
    best = [f"{key}={value}" for key, value in yaml.safe_load((folder / "best.yaml").read_text()).items()]
    usual = [word for word in words if word.split("=")[0] != "search" and not _several(word)]
    for seed in seeds:
        both = {"best": [*best, *PLAIN], "usual": usual}
        judged = {kind: _judged(work, name, f"{folder.name}/{kind}_{seed}", seed, one) for kind, one in both.items()}
        rows.append({"set": name, "seed": seed})
        for figure in ("validation", "test"):
            rows[-1] |= {f"{figure}_{kind}": judged[kind][figure] for kind in ("usual", "best")}
        print(rows[-1], flush=True)
    return rows + _means(rows[1:], name)


def _several(word):
    return word.split("=")[0] in ("image.color", "augment.exposure")


def _judged(work, name, run_name, seed, words):
    """RMSE of validation and test photographs; where specimens are few, of all by folds that this seed draws."""
    command = "train" if name == "assay" else "crossval"
    twostage(work, command, f"run=search_seeds/{run_name}", f"seed={seed}", "train.final=part", *words)
    metrics = json.loads((work / "outputs/search_seeds" / run_name / "metrics.json").read_text())
    return {"validation": metrics["rmse_validation"], "test": metrics["rmse"]}


def _means(rows, name):
    """Means over the seeds, and of the differences, usual minus best, with their standard error."""
    table = pd.DataFrame(rows)
    if len(table) < 2:
        return []
    found = [{"set": name, "seed": "mean"}, {"set": name, "seed": "gain"}, {"set": name, "seed": "its standard error"}]
    for figure in ("validation", "test"):
        both = table[[f"{figure}_usual", f"{figure}_best"]].astype(float)
        found[0] |= both.mean().to_dict()
        gain = both.iloc[:, 0] - both.iloc[:, 1]
        found[1][f"{figure}_best"] = float(gain.mean())
        found[2][f"{figure}_best"] = float(gain.std() / np.sqrt(len(gain)))
    return found


def _speed(work, trials):
    """Seconds of the same search by one process and by two; trials are small, so starting them counts most here."""
    seconds = {}
    for processes in (1, 2):
        name = f"search/speed_{trials}_{processes}_{time.time_ns()}"
        command = [*TWOSTAGE, "search", *SPEED, f"run={name}", f"search.trials={trials}"]
        environment, begin = os.environ | {"OMP_NUM_THREADS": "1"}, time.perf_counter()
        with (work / "speed.log").open("w") as log:
            started = [
                subprocess.Popen(command, cwd=work, stdout=log, stderr=log, env=environment) for _ in range(processes)
            ]
            if any(process.wait() for process in started):
                raise SystemExit(f"{' '.join(command)} failed: {(work / 'speed.log').read_text()}")
        seconds[processes] = time.perf_counter() - begin
        done = pd.read_csv(work / "outputs" / name / "trials.csv")
        assert sorted(done["trial"]) == list(range(trials))
    row = {"set": "speed", "seconds": round(seconds[1], 1), "seconds_of_two": round(seconds[2], 1)}
    return [row | {"ratio": round(seconds[1] / seconds[2], 2)}]
