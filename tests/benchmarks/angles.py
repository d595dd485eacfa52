"""Angles: one network or two in series, on turned digits, natural scenes and a gauge, at the same training time.

"direct" is the naive form: one network, on a circle with a sine and a cosine; "bins": the classifier alone, whose
reading is the mean of the bins; "two stages" without turning back between them, "in series" with it. Figures are over
the test photographs, each in its copies, and their means over seeds; `spread` is the standard deviation of the mean
absolute error over seeds.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from common import twostage
from sklearn.linear_model import RidgeCV

from twostage.options.compose import load_config
from twostage.run.data import load_data

sys.path.append(str(Path(__file__).resolve().parents[1]))
from gauge import write_gauges

SCENES = Path(__file__).resolve().parents[3] / "shared" / "data" / "scenes" / "images"
METHODS = {
    "direct": ["method=direct"],
    "bins": ["method=classifier"],
    "two stages": [],
    "in series": ["regressor.align=turn"],
}
CIRCLE = ["data.turn=180", "bins.period=360"]
RANGES = {"30": ["data.turn=30"], "45": ["data.turn=45"], "all": CIRCLE, "line": ["data.turn=180"]}


def run(work, options=()):
    """Options: data=digits, scenes or gauge; ranges=30,45,all,line seed=1,2,3 methods=... minutes=2 weights=FILE.

    "line" is all angles without a period. A gauge is read at all angles alone. The file is of tf_efficientnet_lite0.
    Other options are those of the training, such as image.size=64.
    """
    given = dict(option.split("=", 1) for option in options)
    asked = {key: given.pop(key, None) for key in ("data", "ranges", "seed", "methods", "minutes", "weights")}
    data, minutes = asked["data"] or "digits", asked["minutes"] or "2"
    source = _source(data, work)
    if asked["weights"]:
        source += ["backbone=tf_efficientnet_lite0", f"backbone.weights={asked['weights']}", "image.color=srgb"]
    source += [f"{key}={value}" for key, value in given.items()]
    ranges = RANGES | ({"all": ["bins.period=360"]} if data == "gauge" else {})
    seeds = (asked["seed"] or "1,2,3").split(",")
    rows = []
    for angles in (asked["ranges"] or "45,all").split(","):
        for method in (asked["methods"] or ",".join(METHODS)).split(","):
            each = []
            for seed in seeds:
                name = f"{data} {'lite0' if asked['weights'] else 'scratch'} {angles} {method} {seed} {minutes}"
                run_name = "angles/" + "".join(letter if letter.isalnum() else "_" for letter in name)
                training = [f"train.minutes={minutes}", "runtime.threads=1", "runtime.progress=false", f"seed={seed}"]
                twostage(
                    work,
                    "train",
                    f"run={run_name}",
                    *source,
                    *ranges[angles],
                    *METHODS.get(method, [method]),
                    *training,
                )
                each.append(_figures(work / "outputs" / run_name))
                print(name, each[-1], flush=True)
            rows.append(_row(angles, method, each))
        ridge = [_ridge(work, [*source, *ranges[angles], f"seed={seed}"]) for seed in seeds]
        rows.append(_row(angles, "ridge on pixels", ridge))
    return rows


def _source(data, work):
    """Options that name the photographs."""
    if data == "digits":
        return ["data=digits"]
    if data == "scenes":
        return ["data=turned", f"data.root={SCENES}"]
    table = write_gauges(work / "gauges", 1000)
    moves = ["augment=none", "augment.rotation=180", "augment.moves_target=true", "start=none"]
    return ["data=csv", f"data.table={table}", *moves]


def _figures(folder):
    """Of one run."""
    metrics = json.loads((folder / "metrics.json").read_text())
    names = {"mae": "mae", "rmse": "rmse", "within 10": "share_within_10", "coverage": "coverage_90"}
    figures = {name: round(metrics[key], 4) for name, key in names.items() if metrics[key] is not None}
    return figures | {"seconds": round(metrics["train_seconds"])}


def _ridge(work, options):
    """The same figures of ridge regression on the pixels, on a circle to cosine and sine."""
    cache = f"runtime.cache_dir={work / 'outputs' / '.cache'}"
    data = load_data(load_config([*options, cache, "run=ridge"]))
    pixels, scale = data.photos.pixels[:], data.bins.scale
    columns, targets = pixels.mean(3).reshape(len(pixels), -1), data.photos.table.targets
    train, test = data.part("train"), data.part("test")
    fitted = RidgeCV(np.logspace(2, 9, 15)).fit(columns[train], scale.code(targets[train]))
    error = scale.error(scale.decoded(fitted.predict(columns[test]).reshape(len(test), -1)), targets[test])
    size = np.abs(error)
    return {"mae": size.mean(), "rmse": np.sqrt((error**2).mean()), "within 10": (size <= 10).mean()}


def _row(angles, method, each):
    found = pd.DataFrame(each)
    row = {"angles": angles, "method": method, **found.mean().round(3).to_dict()}
    return row | {"spread": round(float(found["mae"].std()), 3), "seeds": len(found)}
