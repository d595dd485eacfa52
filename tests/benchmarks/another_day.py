"""Another day: models of nitrite of one day read the other, before and after `recalibrate` with a few standards.

Standards are specimens of the other day inside the bins of the model, drawn at random; figures are means of the draws,
over all photographs of the specimens that were not drawn, and over those inside the bins.
"""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from common import twostage

from twostage import Predictor
from twostage.data.photographs import decode_photographs
from twostage.trust.prediction import predict
from twostage.trust.recalibration import choose
from twostage.trust.renewal import renewed
from twostage.trust.trust import Judged

TABLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "nitrite" / "labels.csv"
DAYS = ("2023-06-13", "2023-06-14")
COUNTS = (0, 1, 2, 4)


def run(work, options=()):
    """Options: draws=20, models=FOLDER,FOLDER of finished trainings of 13 and of 14 June, and those of train."""
    if not TABLE.is_file():
        raise SystemExit(f"{TABLE} is not there: this bench reads the real photographs beside the repository")
    given = dict(option.split("=", 1) for option in options)
    draws, models = int(given.pop("draws", 20)), given.pop("models", "").split(",")
    more, table, rows = [f"{name}={value}" for name, value in given.items()], pd.read_csv(TABLE), []
    for number, day in enumerate(DAYS):
        folder = Path(models[number]) if len(models) == 2 else _trained(work, table[table["day"] == day], day, more)
        other = table[table["day"] != day].reset_index(drop=True)
        found = _Read(Predictor.load(folder), other)
        for count in COUNTS:
            several = [found.draw(count, seed) for seed in range(draws if count else 1)]
            rows.append({"trained": day, "standards": count, "draws": len(several), **_means(several)})
            print(rows[-1], flush=True)
    return rows


def _trained(work, table, day, more):
    """The folder of a run of one day's photographs; one that is finished is not trained again."""
    listed = work / f"{day}.csv"
    listed.parent.mkdir(parents=True, exist_ok=True)
    table.assign(image=[str(TABLE.parent / image) for image in table["image"]]).to_csv(listed, index=False)
    name = "".join(letter if letter.isalnum() else "_" for letter in "_".join([day, *more]))
    options = ["data=csv", f"data.table={listed}", "data.group_column=group", "train.final=folds", *more]
    twostage(work, "train", f"run=another_day/{name}", "runtime.progress=false", "runtime.threads=1", *options)
    return work / "outputs" / "another_day" / name


class _Read:
    """The photographs of the other day, read once."""

    def __init__(self, predictor, table):
        self.model = predictor.model
        image = self.model.config.image
        paths = [str(TABLE.parent / name) for name in table["image"]]
        self.pixels, _ = decode_photographs(paths, image.size, image.fit)
        reading = self.model.network.read(self.pixels, views=self.model.config.views)
        distance = self.model.trust.distance(self.pixels)
        target, groups = table["target"].to_numpy(float), table["group"].to_numpy(str)
        self.all = Judged(reading, distance, target, groups)
        low, high = self.model.bins.edges[[0, -1]]
        self.inside = (target >= low) & (target <= high)

    def draw(self, count, seed):
        """Figures before and after, with so many standards drawn."""
        model, names = self.model, np.unique(self.all.groups[self.inside])
        chosen = np.random.default_rng(seed).choice(names, count, replace=False)
        standard = np.isin(self.all.groups, chosen)
        figures = {f"{name}_before": value for name, value in self._figures(~standard, model).items()}
        if not count:
            return figures
        method, standards = model.config.combine.method, self.all[standard]
        choice = choose(model.bins, *standards.places(model.bins, method), model.trust.then.sd)
        trust, _ = renewed(model.trust, model.bins, standards, method, choice)
        after = replace(model, trust=trust, recalibration=choice.recalibration)
        figures |= {f"{name}_after": value for name, value in self._figures(~standard, after).items()}
        return figures | {name: choice.name == name for name in ("nothing", "offset", "offset and slope")}

    def _figures(self, rows, model):
        rows = np.flatnonzero(rows)
        read, method = self.all[rows], model.config.combine.method
        said = predict(
            model.bins,
            self.pixels[rows],
            read.reading,
            method,
            model.trust,
            limits=model.limits,
            distance=read.distance,
            recalibration=model.recalibration,
        )
        found = {}
        for name, some in (("", np.ones(len(rows), bool)), ("_inside", self.inside[rows])):
            error, target = (said.concentration - read.target)[some], read.target[some]
            covered = (said.lower[some] <= target) & (target <= said.upper[some])
            found[f"rmse{name}"] = np.sqrt(np.nanmean(error**2))
            found[f"bias{name}"] = np.nanmean(error)
            has = np.isfinite(said.lower[some])
            found[f"coverage{name}"] = covered[has].mean() if has.any() else np.nan
            found[f"width{name}"] = (said.upper - said.lower)[some][has].mean() if has.any() else np.nan
        found["with_interval"] = np.isfinite(said.lower).mean()
        return found | {status: np.mean(said.status == status) for status in ("ok", "unlike", "low_confidence")}


def _means(several):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no draw has an interval
        return {name: round(float(np.nanmean([one[name] for one in several])), 3) for name in several[0]}
