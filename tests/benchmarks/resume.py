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
EARLY = 0.15
"""Share of the kills that come while a program starts, before it has touched its run's folder."""
OPTIONS = ["experiment=smoke", "runtime.threads=1", "runtime.checkpoint_seconds=0.2", "runtime.progress=false"]


def run(work, kills=KILLS):
    folder = work / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.time()
    twostage(folder, "train", "run=whole", *OPTIONS)
    began, ended = (_written(folder / "outputs" / "whole" / name) for name in ("config.yaml", "metrics.json"))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        workers = [
            pool.submit(_kill_often, folder, number, kills // SIDE_BY_SIDE, began - begin, 0.6 * (ended - began))
            for number in range(SIDE_BY_SIDE)
        ]
        rows = [row for worker in workers for row in worker.result()]
    total = {"run": "all", **{key: sum(row[key] for row in rows) for key in rows[0] if key != "run"}}
    return [*rows, total | {"leftovers": len(_leftovers(folder / "outputs"))}]  # those of the cache as well


def _kill_often(folder, worker, kills, start, longest):
    """Kill runs up to `longest` seconds after they began, and compare every one that came to its end all the same."""
    chance, rows, where = random.Random(worker), [], []
    while kills or where:
        name = f"killed_{worker}_{len(rows)}"
        early = chance.random() < EARLY
        delay = chance.uniform(0, start if early else longest) if kills else None
        place = _kill(folder, name, delay, early)
        if place is None:
            rows.append(_row(folder / "outputs", name, where))
            where = []
        else:
            where.append(place)
            kills -= 1
    return rows


def _kill(folder, name, delay, early=False):
    """Start a run, or let it go on, and kill it so long after it began; returns where, None if it came to its end.

    An early kill counts its delay from the start of the program.
    """
    config = folder / "outputs" / name / "config.yaml"
    before = _written(config)
    process = subprocess.Popen(
        [*TWOSTAGE, "train", f"run={name}", *OPTIONS], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not early and _written(config) == before and process.poll() is None:
        time.sleep(0.01)
    try:
        _, said = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "before" if _written(config) == before else _where(folder / "outputs" / name)
    if process.returncode:
        raise SystemExit(f"{name} could not go on: {said.decode()}")
    return None


def _written(path):
    return path.stat().st_mtime if path.is_file() else 0.0


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
    """Files, or figures in them, that are not as in the undisturbed run; times, and counts of looks, may differ."""
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
    timed = {"train_seconds", "images_per_second", "n_test_openings", "n_test_openings_of_others"}
    different += [key for key in metrics[0] if key not in timed and metrics[0][key] != metrics[1].get(key)]
    return different
