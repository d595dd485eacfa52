"""Few specimens, real photographs: the default beside itself without a start, one stage, and simple methods.

Four sets of ../shared/data: nitrite by specimen in five folds, nitrite from one day to the other both ways, pH by group
in five folds. A seed draws the folds and all else. RMSE over all test photographs; simple methods have the same folds.
"mean" reads with the mean of all methods that are asked for, as train.final=folds does with a start and none.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from common import twostage

from twostage.data.photographs import decode_photographs
from twostage.evaluation.baselines import BASELINES, color_statistics

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDS = [f"split.folds=5 split.fold={fold}" for fold in range(5)]
SETS = {
    "nitrite by specimen": ("nitrite", FOLDS),
    "nitrite, 13 to 14 June": ("nitrite", ["split.column=day split.test_values=[2023-06-14]"]),
    "nitrite, 14 to 13 June": ("nitrite", ["split.column=day split.test_values=[2023-06-13]"]),
    "pH by group": ("ph", FOLDS),
}
METHODS = {
    "default": "",
    "start=none": "start=none",
    "method=direct": "method=direct",
    "train=instant": "train=instant",
}
SIMPLE = ("ridge", "boosting", "extra_trees")


def run(work, options=()):
    """Options: seed=0,1,2 methods=default,start=none,method=direct,train=instant; with several also their mean."""
    given = dict(option.split("=", 1) for option in options)
    methods, seeds = given.get("methods", "default").split(","), given.get("seed", "0,1,2").split(",")
    rows = []
    for name, (data, splits) in SETS.items():
        table = DATA / data / "labels.csv"
        if not table.is_file():
            raise SystemExit(f"{table} is not there: this bench reads the real photographs beside the repository")
        pixels = _pixels(table)
        for one in seeds:
            errors = {method: [] for method in (*methods, *SIMPLE)}
            for number, split in enumerate(splits):
                for method in methods:
                    folder = _trained(work, name, table, method, one, number, split)
                    frame = pd.read_csv(folder / "predictions.csv")
                    errors[method].append(frame["concentration"] - frame["target"])
                if len(methods) > 1:
                    errors.setdefault("mean", []).append(np.mean([errors[method][-1] for method in methods], axis=0))
                for method, error in _simple(folder, pixels, int(one)).items():
                    errors[method].append(error)
            found = {method: float(np.sqrt(np.mean(np.concatenate(e) ** 2))) for method, e in errors.items()}
            print(name, "seed", one, {method: round(rmse, 3) for method, rmse in found.items()}, flush=True)
            rows += [{"set": name, "seed": int(one), **found}]
    return _with_means(pd.DataFrame(rows)).to_dict("records")


def _trained(work, name, table, method, seed, number, split):
    """The folder of a run; one that is finished is not trained again."""
    short = "".join(letter if letter.isalnum() else "_" for letter in f"{name} {method}")
    run_name = f"few/{short}/{seed}_{number}"
    options = [*METHODS.get(method, method).split(), *split.split(), f"seed={seed}", "split.calibration=0"]
    options += ["data=csv", f"data.table={table}", "data.group_column=group", "split.duplicates=ignore"]
    twostage(
        work, "train", f"run={run_name}", "train.final=part", "runtime.progress=false", "runtime.threads=1", *options
    )
    return work / "outputs" / run_name


def _pixels(table):
    """Statistics of colour by photograph."""
    images = pd.read_csv(table)["image"]
    pixels, _ = decode_photographs([str(table.parent / image) for image in images], 64, "stretch")
    return dict(zip(images, color_statistics(pixels), strict=True))


def _simple(folder, statistics, seed):
    """Errors of the simple methods on the same split."""
    splits = pd.read_csv(folder / "splits.csv")
    parts = {part: splits[(splits["split"] == "test") == (part == "test")] for part in ("train", "test")}
    columns = {part: np.array([statistics[i] for i in rows["image"]]) for part, rows in parts.items()}
    fitted = {name: BASELINES[name](seed).fit(columns["train"], parts["train"]["target"]) for name in SIMPLE}
    return {name: one.predict(columns["test"]) - parts["test"]["target"] for name, one in fitted.items()}


def _with_means(table):
    means = table.groupby("set", sort=False).mean(numeric_only=True).drop(columns="seed").reset_index()
    worst = table.groupby("set", sort=False).max(numeric_only=True).drop(columns="seed").reset_index()
    simple = means[["ridge", "extra_trees"]].min(axis=1)
    ratios = means.select_dtypes("number").div(simple, axis=0)
    mean_ratio = pd.DataFrame([{"set": "geometric mean over ridge or extra-trees", **np.exp(np.log(ratios).mean())}])
    parts = [table, means.assign(seed="mean"), worst.assign(seed="worst"), mean_ratio.assign(seed="ratio")]
    return pd.concat(parts, ignore_index=True).round(3)
