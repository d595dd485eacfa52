"""Two stages beside one, beside colour statistics and beside the physical limit, over seeds.

For every seed the assay is simulated afresh (4,000 photographs for training, 1,000 for the test) and read by
``method=two_stage`` and ``method=direct`` of the same options. Both train at the same time, one core each, so that what
else the machine does meets both alike. Options go to every run (``accuracy train.minutes=2 data.spacing=log_uniform``);
``seed=10,11`` names other seeds. What was interrupted goes on where it was: run folders are named by the options.

The limit is that of the very photographs of the test set (limit.py). rmse_shared is of the two-stage run's own shared
estimate, without the corrections that its bins add: what bins are worth on one and the same trunk is ratio_to_shared.
Ratios are averaged as logarithms; their intervals are Student's, of the logarithms of the ratios of the seeds (a paired
comparison).
"""

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from common import twostage
from limit import bounds, rms
from scipy import stats

from twostage.data.simulated import LAWS, averaged, render_photographs
from twostage.model_folder import load_model
from twostage.stages.combination import combine

SEEDS = (20, 21, 22, 23, 24)
"""Choices are made on others, of 100 and up; 10..14 were looked at meanwhile (docs/pages/results/trials.md)."""
METHODS = ("two_stage", "direct")
SIDE_BY_SIDE = min(len(METHODS), len(os.sched_getaffinity(0)))
OWN = ("run", "method", "runtime.cache_dir")
RATIOS = ("ratio_to_limit", "ratio_to_direct", "ratio_to_shared")


def run(work, overrides=()):
    seeds, overrides = seeds_of(overrides, SEEDS)
    folder = work / "accuracy" / variant(overrides)
    rows = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for seed in seeds:
            rows.append(
                _row(seed, *pool.map(lambda method, seed=seed: _train(folder, method, seed, overrides), METHODS))
            )
    return [*rows, *summary(rows)]


def variant(overrides):
    """A name for a set of options that can stand in a path; the same whatever their order."""
    text = " ".join(sorted(overrides))
    short = re.sub(r"[^\w.=-]+", "_", text)[:60]
    return f"{short}_{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}" if text else "defaults"


def summary(rows):
    """Mean and spread (standard deviation) over the seeds; of ratios that of their logarithms, and an interval."""
    frame = pd.DataFrame(rows).drop(columns="seed")
    mean, spread = frame.mean(), frame.std()
    for name in RATIOS:
        logs = np.log(frame[name])
        mean[name], spread[name] = np.exp(logs.mean()), logs.std()
    ends = {}
    for name in RATIOS[1:]:
        ends[f"{name}_low"], ends[f"{name}_high"] = interval(frame[name])
    return [{"seed": "mean", **_rounded(dict(mean) | ends)}, {"seed": "spread", **_rounded(spread)}]


def interval(ratios):
    """95 % interval of the geometric mean of N ratios; of one alone there is none."""
    logs = np.log(np.asarray(ratios, float))
    if len(logs) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


def seeds_of(overrides, usual):
    """The seeds that ``seed=1,2`` names, or the usual ones, and the other options."""
    named = [text.removeprefix("seed=") for text in overrides if text.startswith("seed=")]
    others = [text for text in overrides if not text.startswith("seed=")]
    for text in others:
        if text.lstrip("+").split("=")[0] in OWN:
            raise SystemExit(f"'{text}' is what the bench itself sets; leave it out")
    if not named:
        return usual, others
    if len(named) > 1 or not re.fullmatch(r"\d+(,\d+)*", named[0]):
        raise SystemExit("seeds are given once, as in seed=10,11,12")
    return tuple(dict.fromkeys(int(seed) for seed in named[0].split(","))), others


def _train(folder, method, seed, overrides):
    """Train, or go on, and return the run's folder."""
    name = f"{method}_{seed}"
    experiment = [] if any(text.startswith("experiment=") for text in overrides) else ["experiment=assay_accuracy"]
    threads = [] if any(text.startswith("runtime.threads=") for text in overrides) else ["runtime.threads=1"]
    twostage(
        folder / name,
        "train",
        *experiment,
        *threads,
        "runtime.progress=false",
        *overrides,
        f"method={method}",
        f"seed={seed}",
        f"run={name}",
        f"runtime.cache_dir={folder.parent / 'cache'}",
    )
    return folder / name / "outputs" / name


def _row(seed, *folders):
    two_stage, direct = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    options, predictions = two_stage["options"], pd.read_csv(folders[0] / "predictions.csv")
    limit, shared = _limit(options, predictions), _rmse_shared(folders[0] / "model", options, predictions)
    return {"seed": seed} | _rounded(
        {
            "rmse_two_stage": two_stage["rmse"],
            "rmse_direct": direct["rmse"],
            "rmse_shared": shared,
            "rmse_colour_baseline": two_stage["rmse_colour_baseline"],
            "limit": limit,
            "ratio_to_limit": two_stage["rmse"] / limit,
            "ratio_to_direct": two_stage["rmse"] / direct["rmse"],
            "ratio_to_shared": two_stage["rmse"] / shared,
            "seconds_two_stage": two_stage["train_seconds"],
            "seconds_direct": direct["train_seconds"],
            "n_train": two_stage["n_train"],
            "n_test": two_stage["n_test"],
        }
    )


def _limit(options, predictions):
    """Of the test set's own photographs."""
    assay, card = LAWS[options["data.law"]](), options["data.reference"] == "card"
    targets, size, seed = predictions["target"], taken_at(options), options["seed"]
    return rms(bounds(targets, numbers_of(predictions), size, seed, assay=assay, card_visible=card))


def _rmse_shared(model, options, predictions):
    """Of the test photographs, rendered again, as the two-stage model reads them without its corrections."""
    loaded = load_model(model, torch.device("cpu"))
    network = loaded.network
    for parameter in network.regressor.corrections.parameters():
        torch.nn.init.zeros_(parameter)
    assay, card = LAWS[options["data.law"]](), options["data.reference"] == "card"
    targets, size, seed = predictions["target"].to_numpy(), taken_at(options), options["seed"]
    photographs = [
        render_photographs(targets[i : i + 1], size, seed, assay=assay, card_visible=card, first=number)[0]
        for i, number in enumerate(numbers_of(predictions))
    ]
    pixels = averaged(np.stack(photographs), options["image.size"])
    read = combine(network.bins, network.read(pixels, views=loaded.config.views))
    return rms(read - targets)


def taken_at(options):
    """Side of the photographs as they were taken, pixels."""
    return options.get("data.pixels") or options["image.size"]


def numbers_of(predictions):
    return predictions["image"].str.removeprefix("simulated_").astype(int)


def _rounded(figures):
    """To four digits; what one seed alone does not have is None."""
    return {name: None if np.isnan(value) else float(f"{value:.4g}") for name, value in dict(figures).items()}
