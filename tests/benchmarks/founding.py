"""The founding problem: 5,000 simulated photographs of 250 pixels, two stages beside one at equal training time.

`founding train.minutes=5 seed=0,1` names the minutes of both stages together (20) and the seeds (0); other options go
to every run. For the test photographs the error is shown where no specular spot touches the well and where one lies
inside it, beside the Cramer-Rao limit (limit.py, of some of them: it takes a second for each). The last columns are by
how much readings differ, as a root of the mean square, when the very same scenes come without noise or as JPEG.
"""

import io
import json

import numpy as np
import pandas as pd
import torch
from accuracy import numbers_of, seeds_of, variant
from common import twostage
from limit import bounds, rms
from PIL import Image

from twostage.data.simulated import (
    DEVIATIONS,
    Assay,
    averaged,
    draw_scene,
    draw_spots,
    noise_free_light,
    photograph_rng,
    render_photographs,
)
from twostage.decoding.spaces import linear_to_srgb
from twostage.model_folder import load_model
from twostage.stages.combination import combine

METHODS = ("two_stage", "direct")
QUALITIES = (70, 85, 95)
VARIED, BOUNDED = 300, 48
"""So many test photographs are read in other forms, and so many have their limit computed."""


def run(work, overrides=()):
    seeds, overrides = seeds_of(overrides, (0,))
    given = {text.split("=")[0] for text in overrides}
    minutes = [] if given & {"train.minutes", "train.epochs"} else ["train.minutes=20"]
    minutes += [] if "train.epochs" in given else ["train.epochs=null"]  # which the experiment sets
    folder = work / "founding" / variant(overrides)
    return [_row(seed, *(_train(folder, method, seed, [*minutes, *overrides]) for method in METHODS)) for seed in seeds]


def _train(folder, method, seed, overrides):
    """Train, or go on, and return the run's folder."""
    name = f"{method}_{seed}"
    own = [f"method={method}", f"seed={seed}", f"run={name}", f"runtime.cache_dir={folder.parent / 'cache'}"]
    twostage(folder / name, "train", "experiment=founding", "runtime.progress=false", *overrides, *own)
    return folder / name / "outputs" / name


def _row(seed, *folders):
    two_stage, direct = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    predictions = pd.read_csv(folders[0] / "predictions.csv")
    pixels = two_stage["options"]["data.pixels"]
    found = {"rmse_two_stage": two_stage["rmse"], "rmse_direct": direct["rmse"], "largest": two_stage["max_abs_error"]}
    found |= by_glare(predictions, seed)
    some = predictions[:BOUNDED]
    found["limit"] = rms(bounds(some["target"], numbers_of(some), pixels, seed))
    found |= in_other_forms(folders[0] / "model", predictions[:VARIED], seed, pixels)
    found |= {f"seconds_{name}": m["train_seconds"] for name, m in zip(METHODS, (two_stage, direct), strict=True)}
    return {"seed": seed} | {name: float(f"{value:.4g}") for name, value in found.items()}


def by_glare(predictions, seed):
    """RMSE of photographs without a spot that touches the well, and with one whose middle lies inside it."""
    error = (predictions["concentration"] - predictions["target"]).to_numpy()
    touched, inside = np.array([spots_on_well(seed, number) for number in numbers_of(predictions)]).T
    return {"rmse_no_glare": rms(error[~touched]), "rmse_glare_inside": rms(error[inside])}


def spots_on_well(seed, number, assay=None):
    """Does a spot of this photograph come within three of its widths of the well, and does one lie in it?"""
    assay, rng = assay or Assay(), photograph_rng(seed, int(number))
    deviations = rng.standard_normal(DEVIATIONS)
    center, radius = assay.center_sd * deviations[:2], assay.radius + assay.radius_sd * deviations[2]
    distances = [(np.hypot(*(spot[:2] - center)), spot[3]) for spot in draw_spots(rng, assay)]
    return any(d < radius + 3 * width for d, width in distances), any(d < radius for d, _ in distances)


def in_other_forms(model, predictions, seed, pixels):
    """By how much readings of the same scenes differ without noise, and as JPEG."""
    loaded = load_model(model, torch.device("cpu"))

    def read(photographs):
        reading = loaded.network.read(averaged(photographs, loaded.config.image.size), views=loaded.config.views)
        return combine(loaded.bins, reading)

    pairs = list(zip(predictions["target"], numbers_of(predictions), strict=True))
    taken = np.concatenate([render_photographs(np.array([y]), pixels, seed, first=i) for y, i in pairs])
    usual, quiet = read(taken), np.stack([without_noise(y, i, seed, pixels) for y, i in pairs])
    jpegs = {q: np.stack([as_jpeg(photograph, q) for photograph in taken]) for q in QUALITIES}
    differences = {f"jpeg_{quality}": rms(read(photographs) - usual) for quality, photographs in jpegs.items()}
    return {"noise_free": rms(read(quiet) - usual)} | differences


def without_noise(target, number, seed, pixels):
    assay = Assay()
    scene = draw_scene(photograph_rng(seed, int(number)), pixels, assay)
    light = noise_free_light(float(target), scene, pixels, assay, True)
    return np.rint(linear_to_srgb(np.clip(light, 0, 1)) * 255).astype(np.uint8)


def as_jpeg(photograph, quality):
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
