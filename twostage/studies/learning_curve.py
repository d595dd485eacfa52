"""Would more photographs help? One run per share of the training photographs, and a law through their errors."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.errors import ConfigError, RunError
from twostage.evaluation.confidence import percentile_interval, resampled_rmse
from twostage.evaluation.metrics import rmse
from twostage.evaluation.power_law import PowerLaw, fit_power_law
from twostage.evaluation.remarks import judged
from twostage.options.commands import LearningCurveConfig
from twostage.options.flat import options_that_count
from twostage.options.run import Config
from twostage.orchestrator import train
from twostage.report.study_figures import learning_curve_figure
from twostage.scale import Scale, scale_of
from twostage.studies.folder import as_run, check_runs, open_study, read_rows

__all__ = ["learning_curve"]

log = logging.getLogger("twostage")

NO_GAIN, LARGE_GAIN = 0.02, 0.1
"""A gain below the first share of the RMSE is called none; one above the second would be worth new photographs."""


def learning_curve(config: LearningCurveConfig) -> str:
    """Train with each of ``shares`` of the training photographs, the fewer among the more, all with one test set.

    All show as many images (or take as many minutes), so what differs is how many different photographs there are.
    The trainings are runs in the folder of this one; the same command completes what was interrupted.

    Returns:
        The outcome as lines of text; learning_curve.csv, .json and .png are in the run's folder.

    Raises:
        ConfigError: Fewer than three shares, one out of range, or split.train_share is given as well.
        RunError: A training that is there was made with other options, or with other photographs or concentrations.
        DataError: The smallest share leaves fewer than two groups, or too few photographs for the bins.
    """
    shares = _checked_shares(config)
    study = open_study(config, "learning-curve", free=("shares",))
    folder = study.path
    trainings = [_of_share(config, share) for share in shares]
    check_runs(study, trainings)
    for number, (share, training) in enumerate(zip(shares, trainings, strict=True), 1):
        log.info("training %d of %d, with a share of %g of the training photographs", number, len(shares), share)
        train(training)
    folders = [folder / f"share_{share:g}" for share in shares]
    errors, groups = _errors(folders, scale_of(config.data.scale, config.bins.period))
    found = _outcome(_points(shares, folders), errors, groups)
    png = learning_curve_figure(found.points, found.law, (found.then, *found.then_interval), _unit(config))
    study.write(folder / "learning_curve.csv", found.points.to_csv(index=False))
    study.write(folder / "learning_curve.png", png)
    study.write_json(folder / "learning_curve.json", _summary(found, config))
    return _text(found, config, folder)


@dataclass(frozen=True)
class _Found:
    """A row per training, the law through them, and the RMSE now and with twice the photographs."""

    points: pd.DataFrame
    law: PowerLaw
    now: float
    then: float
    then_interval: tuple[float, float]
    gain_interval: tuple[float, float]


def _checked_shares(config: LearningCurveConfig) -> list[float]:
    shares = sorted(set(config.shares))
    if len(shares) < 3 or not 0.01 <= shares[0] <= shares[-1] <= 1:
        raise ConfigError(f"shares={config.shares}: give three or more different ones of 0.01..1, as [0.25,0.5,1]")
    if config.split.train_share != 1:
        raise ConfigError("learning-curve sets split.train_share itself: leave it out, and say shares=[...]")
    return shares


def _of_share(config: LearningCurveConfig, share: float) -> Config:
    run = as_run(config)
    run.split.train_share, run.run = share, f"{config.run}/share_{share:g}"
    return run


def _errors(folders: list[Path], scale: Scale) -> tuple[np.ndarray, np.ndarray | None]:
    """Errors (P,N), on the scale, of the N test photographs that all P runs read, and the group (N,) of each."""
    frames = [read_rows(folder / "predictions.csv").set_index("image") for folder in folders]
    of_each = [pd.Series(scale.error(frame["concentration"], frame["target"]), frame.index) for frame in frames]
    errors = pd.concat(of_each, axis=1, join="inner").dropna()
    if errors.empty:
        raise RunError(f"no test photograph was read by all of {folders[0].parent}/share_*: see their report.html")
    splits = read_rows(folders[0] / "splits.csv").set_index("image")
    groups = splits.loc[errors.index, "group"].to_numpy() if "group" in splits else None
    return errors.to_numpy().T, groups


def _points(shares: list[float], folders: list[Path]) -> pd.DataFrame:
    rows = []
    for share, folder in zip(shares, folders, strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        splits = read_rows(folder / "splits.csv")
        groups = splits.loc[splits["split"] == "train", "group"].nunique() if "group" in splits else None
        kept = {key: metrics[key] for key in ("n_train", "train_seconds")}
        kept["rmse_colour_baseline"] = judged(metrics, "rmse_colour_baseline")
        rows.append({"share": share, "n_groups": groups, **kept})
    return pd.DataFrame(rows)


def _outcome(points: pd.DataFrame, errors: np.ndarray, groups: np.ndarray | None) -> _Found:
    """The intervals draw test groups anew, the same for all trainings, and fit the law to each draw.

    On made-up curves with 400 test photographs they held the true RMSE of twice the photographs in 87 to 95 % of 60
    trials; in 70 to 80 % where the trainings themselves scatter by 5 %, of which they know nothing.
    """
    count, resampled = points["n_train"].to_numpy(), resampled_rmse(errors, groups)
    error = np.array([rmse(values) for values in errors])
    intervals = [percentile_interval(values) for values in resampled]
    points = points.assign(
        rmse=error, rmse_low_95=[low for low, _ in intervals], rmse_high_95=[high for _, high in intervals]
    )
    law, laws, most = fit_power_law(count, error), fit_power_law(count, resampled.T), float(count.max())
    then = laws.rmse(2 * most)
    return _Found(
        points,
        law,
        float(law.rmse(most)),
        float(law.rmse(2 * most)),
        percentile_interval(then),
        percentile_interval(laws.rmse(most) - then),
    )


def _summary(found: _Found, config: LearningCurveConfig) -> dict[str, Any]:
    def or_none(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    rows = found.points.astype(object).where(found.points.notna(), None).to_dict("records")
    return {
        "method": config.method,
        "unit": _unit(config),
        "seed": config.seed,
        "trainings": rows,
        "law": {name: float(value) for name, value in asdict(found.law).items()},
        "n_train_twice": 2 * int(found.points["n_train"].max()),
        "rmse_now": found.now,
        "rmse_twice": found.then,
        "rmse_twice_low_95": or_none(found.then_interval[0]),
        "rmse_twice_high_95": or_none(found.then_interval[1]),
        "gain": found.now - found.then,
        "gain_low_95": or_none(found.gain_interval[0]),
        "gain_high_95": or_none(found.gain_interval[1]),
        "options": options_that_count(config),
    }


def _unit(config: Config) -> str:
    """Of errors."""
    return scale_of(config.data.scale, config.bins.period).unit(config.data.unit)


def _text(found: _Found, config: Config, folder: Path) -> str:
    unit, minutes = _unit(config), config.train.minutes
    training = f"{minutes:g} minutes of training each" if minutes else "as many images shown to all"
    shown = pd.DataFrame({"share": found.points["share"], "photographs": found.points["n_train"]})
    if found.points["n_groups"].notna().all():
        shown["groups"] = found.points["n_groups"]
    shown[f"RMSE{f' ({unit})' if unit else ''}"] = found.points["rmse"].map("{:.4g}".format)
    ends = found.points[["rmse_low_95", "rmse_high_95"]].to_numpy()
    shown["95 % interval"] = [_interval((low, high)) for low, high in ends]
    shown["colour statistics + ridge"] = found.points["rmse_colour_baseline"].map("{:.4g}".format)
    return "\n".join(
        [
            f"RMSE on the same test photographs, by the number of training photographs ({training}):",
            shown.to_string(index=False),
            _answer(found, f" {unit}" if unit else ""),
            "The intervals tell of other test photographs; another seed, with other training photographs, moves the "
            "curve as well.",
            f"Results in {folder}: learning_curve.csv, learning_curve.json, learning_curve.png, share_.../report.html",
        ]
    )


def _answer(found: _Found, unit: str) -> str:
    """Do I need more photographs? In words."""
    twice, gain = f"Twice the training photographs ({2 * found.points['n_train'].max()})", found.now - found.then
    then = f"{found.then:.3g}{unit} ({_interval(found.then_interval)})"
    least, most = found.gain_interval
    if gain < NO_GAIN * found.now:
        doubt = f"; one of up to {most:.3g}{unit} cannot be excluded" if most >= LARGE_GAIN * found.now else ""
        return f"No gain to be expected{doubt}. {twice}: RMSE about {then} after {found.now:.3g}{unit} now."
    doubt = "; that there is any gain is not certain" if least < NO_GAIN * found.now else ""
    return f"{twice} would bring the RMSE from {found.now:.3g}{unit} to about {then}{doubt}."


def _interval(ends: tuple[float, float]) -> str:
    return "interval not defined" if np.isnan(ends[0]) else f"{ends[0]:.3g}..{ends[1]:.3g}"
