"""Kill trainings at random moments and let the same command go on: nothing may be lost, and nothing may differ."""

import json
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from common import TWOSTAGE, twostage

KILLS, SIDE_BY_SIDE = 60, 2
OPTIONS = ["experiment=smoke", "runtime.threads=1", "runtime.checkpoint_seconds=0.2", "runtime.progress=false"]


def run(work):
    folder = work / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.perf_counter()
    twostage(folder, "train", "run=whole", *OPTIONS)
    whole = time.perf_counter() - begin
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        workers = [pool.submit(_kill, folder, number, 0.6 * whole) for number in range(SIDE_BY_SIDE)]
        rows = [row for worker in workers for row in worker.result()]
    total = {"run": "all", **{key: sum(row[key] for row in rows) for key in rows[0] if key != "run"}}
    return [*rows, total]


def _kill(folder, worker, longest):
    """Kill runs after delays up to `longest` seconds, and compare every run that came to its end all the same."""
    chance, rows, where = random.Random(worker), [], []
    left = KILLS // SIDE_BY_SIDE
    while left or where:
        name = f"killed_{worker}_{len(rows)}"
        process = subprocess.Popen(
            [*TWOSTAGE, "train", f"run={name}", *OPTIONS], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            _, said = process.communicate(timeout=chance.uniform(0.5, longest) if left else None)
            if process.returncode:
                raise SystemExit(f"{name} could not go on: {said.decode()}")
            rows.append(_row(folder / "outputs", name, where))
            where = []
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            where.append(_where(folder / "outputs" / name))
            left -= 1
    return rows


def _row(outputs, name, where):
    return {
        "run": name,
        "kills": len(where),
        **{place: where.count(place) for place in ("before", "classifier", "regressor", "evaluation")},
        "differences": len(_differences(outputs / "whole", outputs / name)),
        "leftovers": len(_leftovers(outputs / name)),
    }


def _leftovers(folder):
    """Files that only a run at work may have."""
    return [path for path in folder.rglob("*") if path.suffix == ".tmp" or path.name == "previous.pt"]


def _where(folder):
    """How far a run had come when it was killed."""
    if (folder / "model" / "regressor.safetensors").is_file():
        return "evaluation"
    if (folder / "model" / "classifier.safetensors").is_file():
        return "regressor"
    return "classifier" if (folder / "classifier").is_dir() else "before"


def _differences(whole, other):
    """Files, or figures in them, that are not as in the undisturbed run; what measures time may differ."""
    different = []
    for stage in ("classifier", "regressor"):
        weights = f"model/{stage}.safetensors"
        if (whole / weights).read_bytes() != (other / weights).read_bytes():
            different.append(weights)
        histories = [pd.read_csv(run / stage / "history.csv") for run in (whole, other)]
        columns = ["epoch", "learning_rate", "train_loss", "validation_rmse", "best_rmse"]
        if not histories[0][columns].equals(histories[1][columns]):
            different.append(f"{stage}/history.csv")
    if (whole / "predictions.csv").read_bytes() != (other / "predictions.csv").read_bytes():
        different.append("predictions.csv")
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (whole, other)]
    timed = {"train_seconds", "images_per_second"}
    different += [key for key in metrics[0] if key not in timed and metrics[0][key] != metrics[1].get(key)]
    return different
