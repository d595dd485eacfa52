"""May the numbers be believed? Coverage and width of intervals, calibration of bins, power against foreign photographs.

`trust runs=outputs/a,outputs/b` judges finished runs of the simulated assay (`twostage train run=a seed=0`), each on
2,000 fresh photographs; without runs it trains the default with three seeds. `real=outputs/n,outputs/p` are finished
runs of folds on real photographs (`train.final=folds`): their intervals beside those of extra-trees with plain
conformal intervals on the same folds.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from common import twostage
from few import DATA
from scipy.stats import spearmanr

from twostage.data.photographs import decode_photographs
from twostage.data.simulated import render_photographs, sample_targets
from twostage.evaluation.baselines import BASELINES, color_statistics
from twostage.evaluation.coverage import coverage
from twostage.evaluation.error_budget import reliability
from twostage.predictor import Predictor
from twostage.trust.dispersion import alike
from twostage.trust.intervals import Conformal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from foreign_photographs import FOREIGN, SIMULATED_SPOILED, make

FRESH, SEED, EACH = 2000, 900, 40


def run(work, options=()):
    """Options: runs=FOLDER,... real=FOLDER,..."""
    given = dict(option.split("=", 1) for option in options)
    real = [Path(name) for name in given.get("real", "").split(",") if name]
    runs = [Path(name) for name in given.get("runs", "").split(",") if name]
    if not given:
        runs = [_trained(work, seed) for seed in (0, 1, 2)]
    return [*(_simulated(folder, SEED + i) for i, folder in enumerate(runs)), *map(_real, real)]


def _trained(work, seed):
    twostage(work, "train", f"seed={seed}", f"run=trust_{seed}", "runtime.progress=false")
    return work / "outputs" / f"trust_{seed}"


def _simulated(folder, seed):
    """A run of the simulated assay, on photographs that nobody has seen."""
    predictor = Predictor.load(folder)
    bins, target = predictor.model.bins, sample_targets(FRESH, 80, 350, "uniform", seed)
    said = predictor.read(_assay(target, predictor.model.config.image.size, seed))
    error, part = said.concentration - target, bins.index(target)
    held = coverage(target, said.lower, said.upper, part, bins.edges)
    shares = [row["share"] for row in held["by_range"]]
    found = {
        **_of_intervals(held, error, said.upper - said.lower),
        "bins": f"{min(shares):.3f}..{max(shares):.3f}",
        "of_plain": held["width"] / (2 * np.quantile(np.abs(error), held["share"])),  # one length, as many hits
        "ece_before": reliability(said.reading.probabilities, part).expected_error,
        "ece": reliability(said.bin_probabilities, part).expected_error,
        "crps": said.distribution.crps(target).mean(),
        "false_alarms": np.mean(said.status != "ok"),
    }
    return _shown(folder, found | _power(predictor, _real_sets(predictor, ())))


def _real(folder):
    """A run of folds on real photographs, beside extra-trees on the same folds."""
    metrics, said = json.loads((folder / "metrics.json").read_text()), pd.read_csv(folder / "predictions.csv")
    table = Path(metrics["options"]["data.table"])
    labels = pd.read_csv(table).set_index("image").loc[said["image"]]
    error, groups = (said["concentration"] - said["target"]).to_numpy(), labels["group"].to_numpy()
    low, high = metrics["coverage"]["band"]
    predictor = Predictor.load(folder)
    simulated = _assay(sample_targets(EACH, 80, 350, "uniform", 1), predictor.model.config.image.size, 1)
    found = {
        **_of_intervals(metrics["coverage"], error, said["upper"] - said["lower"]),
        "band": f"{low:.3f}..{high:.3f}",
        **_extra_trees(folder, table, said, groups),
        "ece": metrics["bin_calibration_error"],
        "crps": metrics["crps"],
        "false_alarms": np.mean(said["status"] != "ok"),
        "unlike_specimens": (said["status"] == "unlike").groupby(groups).max().mean(),
    }
    sets = {**_real_sets(predictor, (table.parent.name,)), "simulated assay": simulated}
    return _shown(folder, found | _power(predictor, sets))


def _of_intervals(held, error, width):
    rmse = np.sqrt(np.mean(error**2))
    return {
        "rmse": rmse,
        "coverage": held["share"],
        "width": held["width"],
        "of_rmse": held["width"] / (3.29 * rmse),
        "rank": spearmanr(width, np.abs(error))[0],
    }


def _extra_trees(folder, table, said, groups):
    """Extra-trees over colour statistics on the folds of a run: RMSE, coverage and width of plain intervals."""
    runs = sorted(folder.parent.glob(f"{folder.name}_folds*/fold_*"))
    pixels, _ = decode_photographs([str(table.parent / image) for image in said["image"]], 64, "stretch")
    columns, target = color_statistics(pixels), said["target"].to_numpy()
    tested = {tuple(sorted(_names(run))): np.isin(said["image"], _names(run)) for run in runs}.values()
    read = np.full(len(said), np.nan)
    for rows in tested:
        read[rows] = BASELINES["extra_trees"](0).fit(columns[~rows], target[~rows]).predict(columns[rows])
    miss = np.abs(read - target)
    limit = np.empty(len(said))
    for rows in tested:
        others = Conformal(miss[~rows], alike(groups[~rows]), np.zeros((~rows).sum(), int))
        limit[rows] = others.quantile(0.9, np.ones((~rows).sum(), bool))
    return {
        "trees_rmse": np.sqrt(np.mean(miss**2)),
        "trees_coverage": np.mean(miss <= limit),
        "trees_width": 2 * limit.mean(),
    }


def _names(run):
    splits = pd.read_csv(run / "splits.csv")
    return splits[splits["split"] == "test"]["image"].tolist()


def _real_sets(predictor, but):
    """The real photographs beside the repository, except some."""
    found = {}
    for name in {"nitrite", "ph"} - set(but):
        table = DATA / name / "labels.csv"
        if table.is_file():
            some = [str(table.parent / image) for image in pd.read_csv(table)["image"][::3]]
            found[name] = decode_photographs(some, predictor.model.config.image.size, "stretch")[0]
    return found


def _assay(target, size, seed):
    return np.array(list(render_photographs(target, size, seed)))


def _power(predictor, more):
    """Share of foreign photographs that are not called ok, of every kind the same, and the least of all kinds."""
    size, shares, said = predictor.model.config.image.size, {}, []
    sets = {name: make(name, EACH, size, 0) for name in (*FOREIGN, *SIMULATED_SPOILED)} | more
    for name, pixels in sets.items():
        status = predictor.read(pixels).status
        shares[name], said = float(np.mean(status != "ok")), [*said, *status]
    worst = min(shares, key=shares.get)
    print({name: share for name, share in shares.items() if share < 1}, pd.Series(said).value_counts().to_dict())
    return {"kinds": len(sets), "not_ok": np.mean(list(shares.values())), "least": f"{worst} {shares[worst]:.2f}"}


def _shown(folder, found):
    return {"run": folder.name} | {
        name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in found.items()
    }
