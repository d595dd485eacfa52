"""Cross-validation: one run per fold, and every photograph read once by a model that has not seen its specimen."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.data.sealed import SEALED
from twostage.errors import ConfigError
from twostage.evaluation.confidence import rmse_interval
from twostage.evaluation.metrics import regression_metrics, rmse
from twostage.evaluation.remarks import judged
from twostage.options.flat import options_that_count
from twostage.options.run import Config
from twostage.orchestrator import train
from twostage.report.markup import percent
from twostage.run.folder import RunFolder
from twostage.scale import scale_of
from twostage.studies.folder import check_runs, open_study, read_rows

__all__ = ["FOLDS", "cross_validate"]

log = logging.getLogger("twostage")

FOLDS = 5


def cross_validate(config: Config) -> str:
    """Train and evaluate on each of ``split.folds`` (5) folds; the folds are runs in the folder of this one.

    A finished fold is not trained again and a killed one goes on, so the same command completes what was interrupted.

    Returns:
        The outcome as lines of text; predictions.csv (every photograph once) and metrics.json are in the run's folder.

    Raises:
        ConfigError: The options name a test set of their own, or one fold.
        RunError: A fold that is there was made with other options, or with other photographs or concentrations.
    """
    named = "" if config.split.sealed else config.split.column or config.data.split_column
    if named or config.split.fold:
        what = f"column '{named}' names one test set" if named else f"split.fold={config.split.fold} is one of them"
        raise ConfigError(f"crossval goes through all folds, but {what}: leave that out, or use train")
    folds = config.split.folds or FOLDS
    study = open_study(config, "crossval")
    trainings = [_of_fold(config, folds, fold) for fold in range(folds)]
    check_runs(study, trainings)
    for fold, training in enumerate(trainings):
        log.info("fold %d of %d", fold + 1, folds)
        train(training)
    runs = [RunFolder(study.path / f"fold_{fold}") for fold in range(folds)]
    predictions, metrics = _collected(runs), [run.read_metrics() for run in runs]
    result = _metrics(predictions, metrics, config)
    study.write(study.predictions, predictions.to_csv(index=False))
    study.write_json(study.metrics, result)
    return _text(result, study.path)


def _of_fold(config: Config, folds: int, fold: int) -> Config:
    config = copy.deepcopy(config)
    config.train.final = "part"
    config.split.folds, config.split.fold, config.run = folds, fold, f"{config.run}/fold_{fold}"
    return config


def _collected(runs: list[RunFolder]) -> pd.DataFrame:
    """The test photographs of all folds in the order of the table, with their fold and group."""
    order = read_rows(runs[0].splits)
    order = order[~order["split"].isin(["skipped", SEALED])]
    frames = [read_rows(run.predictions) for run in runs]
    found = pd.concat([frame.assign(fold=fold) for fold, frame in enumerate(frames)], ignore_index=True)
    found = found.set_index("image").loc[order["image"]].reset_index()
    if "group" in order:
        found["group"] = order["group"].to_numpy()
    return found


def _metrics(predictions: pd.DataFrame, folds: list[dict[str, Any]], config: Config) -> dict[str, Any]:
    read = predictions[predictions["status"] != "refused"]
    target, found = read["target"].to_numpy(), read["concentration"].to_numpy()
    groups = read["group"].to_numpy() if "group" in read else None
    scale = scale_of(config.data.scale, config.bins.period)
    error = scale.error(found, target)
    low, high = rmse_interval(error, groups)
    weights = np.array([fold["n_test"] - fold["n_refused"] for fold in folds], float)

    def pooled(name: str) -> float:
        return float(np.sqrt(np.average([fold[name] ** 2 for fold in folds], weights=weights)))

    names = ["rmse_mixture", "rmse_argmax", "rmse_oracle", "rmse_colour_baseline", "rmse_mean_baseline"]
    on_scale = {}
    if scale.name != "linear":
        on_scale = {"rmse_decades": rmse(error), "bias_decades": float(error.mean())}
        names += [f"{name}_decades" for name in names]
    return {
        "method": config.method,
        "unit": config.data.unit,
        "error_unit": scale.unit(config.data.unit),
        "n_folds": len(folds),
        "n": len(predictions),
        "n_groups": None if groups is None else len(np.unique(groups)),
        "n_refused": int((predictions["status"] == "refused").sum()),
        **regression_metrics(target, scale.apart(found, target), scale, angle=config.is_angle),
        **on_scale,
        "rmse_low_95": None if np.isnan(low) else low,
        "rmse_high_95": None if np.isnan(high) else high,
        **{name: pooled(name) for name in names},
        **{name: _pooled_validation(folds, name) for name in folds[0] if name.startswith("rmse_validation")},
        "rmse_of_folds": [judged(fold, "rmse") for fold in folds],
        "train_seconds": sum(fold["train_seconds"] for fold in folds),
        "options": options_that_count(config),
    }


def _pooled_validation(folds: list[dict[str, Any]], name: str) -> float | None:
    """The RMSE by which settings are chosen: over the validation photographs of all folds."""
    values = [fold.get(name) for fold in folds]
    if None in values:
        return None
    counts = [fold["n_validation"] for fold in folds]
    return float(np.sqrt(np.average(np.square(np.array(values, float)), weights=counts)))


def _text(result: dict[str, Any], folder: Path) -> str:
    """On a logarithmic scale all figures are in decades."""
    unit = f" {result['error_unit']}" if result["error_unit"] else ""
    over = "photographs" if result["n_groups"] is None else f"photographs of {result['n_groups']} groups"
    interval = "not defined"
    if result["rmse_low_95"] is not None:
        interval = f"{result['rmse_low_95']:.4g}..{result['rmse_high_95']:.4g}{unit}"

    def figure(key: str) -> str:
        return f"{judged(result, key):.4g}{unit}"

    in_unit = f" {result['unit']}" if result["unit"] else ""
    rows = {
        "RMSE": figure("rmse"),
        "  95 % interval (bootstrap)": interval,
        "bias": figure("bias"),
        "mean absolute error": f"{result['mae']:.4g}{in_unit}",
        **({f"within 10{in_unit}": percent(result["share_within_10"])} if "share_within_10" in result else {}),
        "largest error": f"{result['max_abs_error']:.4g}{in_unit}",
        "RMSE of each fold": ", ".join(f"{value:.4g}" for value in result["rmse_of_folds"]),
        "RMSE, true bin given (oracle)": figure("rmse_oracle"),
        "RMSE, colour statistics + ridge": figure("rmse_colour_baseline"),
        "RMSE, mean of training targets": figure("rmse_mean_baseline"),
        "training": f"{result['train_seconds']:.0f} s",
    }
    lines = [f"{result['n']} {over}, each read by a model that has not seen it, in {result['n_folds']} folds"]
    lines += [f"  {name:<34}{value}" for name, value in rows.items()]
    return "\n".join([*lines, f"Results in {folder}: metrics.json, predictions.csv, fold_0/ ..."])
