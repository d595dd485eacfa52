"""The story of a run: photographs, splits, bins, classifier, regressor, combination, figures of merit.

Each stage leaves what it made in the run's folder and the next one reads it there, so that training stage by stage
and all at once are the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twostage.data.table import Table, find_photographs, read_table
from twostage.errors import RunError
from twostage.evaluation.baselines import color_ridge, color_statistics
from twostage.evaluation.metrics import regression_metrics, rmse
from twostage.files import write_atomically, write_json
from twostage.model_folder import load_model, save_description
from twostage.options.commands import PredictConfig
from twostage.options.flat import flatten, to_plain
from twostage.options.run import METHODS, Config
from twostage.predictor import Predictor, make_prediction
from twostage.run.facts import outcome_of, write_report
from twostage.run.folder import count_opening, find_run, hold_run, open_run, weights_file
from twostage.run.length import describe, spent_seconds
from twostage.run.preparation import Prepared, prepare, settle, spread
from twostage.run.stage import (
    plans_of,
    train_classifier_stage,
    train_regressor_stage,
)
from twostage.stages.two_stage import combine
from twostage.training.device import use_threads
from twostage.training.distributed import first_process_first, from_first_process, is_first_process, join_processes

__all__ = ["evaluate", "predict", "train", "train_classifier", "train_regressor"]

log = logging.getLogger("twostage")

TRAIN = {"classifier": train_classifier_stage, "regressor": train_regressor_stage}


def train(config: Config) -> dict[str, Any]:
    """Train both stages, combine them and evaluate once on the test set.

    Returns:
        The content of metrics.json.
    """
    folder = _open(config)
    if not _is_finished(folder, METHODS[config.method]):
        with _at_work(config, folder) as prepared:
            log.info(
                "run %s: %d training photographs, %d bins over %g..%g, %s; results in %s", folder.name,
                len(prepared.part("train")), prepared.bins.count, *prepared.bins.edges[[0, -1]], describe(prepared),
                folder,
            )  # fmt: skip
            for stage in METHODS[config.method]:
                TRAIN[stage](prepared)
            _evaluate(prepared)
    return _metrics(folder)


def train_classifier(config: Config) -> Path:
    """Train stage 1 alone; returns the run's folder."""
    return _train_one("classifier", config)


def train_regressor(config: Config) -> Path:
    """Train stage 2 alone, after stage 1 of the same run; returns the run's folder."""
    return _train_one("regressor", config)


def _train_one(stage: str, config: Config) -> Path:
    """Train one stage, if those before it are there and it is not."""
    stages = METHODS[config.method]
    if stage not in stages:
        raise RunError(f"method={config.method} has no {stage}: use train-{stages[0]}, or method=two_stage")
    folder = _open(config)
    for earlier in stages[: stages.index(stage)]:
        _demand(folder, earlier)
    if not weights_file(folder, stage).is_file():
        with _at_work(config, folder) as prepared:
            TRAIN[stage](prepared)
    return folder


def evaluate(config: Config) -> dict[str, Any]:
    """Combine both trained stages and evaluate once on the test set; returns the content of metrics.json."""
    folder = _open(config)
    if not _is_finished(folder, METHODS[config.method]):
        for stage in METHODS[config.method]:
            _demand(folder, stage)
        with _at_work(config, folder) as prepared:
            _evaluate(prepared)
    return _metrics(folder)


def _open(config: Config) -> Path:
    """The folder of the run, the same for all processes that torchrun started."""
    join_processes()
    config.run = from_first_process(config.run)  # its default is the time, which differs
    return open_run(config)


@contextmanager
def _at_work(config: Config, folder: Path) -> Iterator[Prepared]:
    """Prepare a run, and keep it to this command until it ends."""
    if is_first_process() and folder.is_dir():
        with hold_run(folder):  # who comes second learns it before anything takes long
            pass
    prepared = prepare(config, folder)
    with ExitStack() as held:
        with first_process_first():
            if is_first_process():
                held.enter_context(hold_run(folder))
                open_run(config)  # again: another process may have begun it meanwhile
                settle(prepared)
        yield prepared
        from_first_process(None)  # all wait until the first, which writes, is done


def predict(config: PredictConfig) -> pd.DataFrame:
    """Read the photographs that `config.input` names; one row each, in order.

    Raises:
        DataError: Nothing to read at config.input.
        ModelFolderError: No finished model of that run.
    """
    use_threads(config.runtime.threads)
    direct = Path(config.run).expanduser()
    folder = direct if (direct / "model.json").is_file() else find_run(config.run)
    predictor = Predictor.load(folder, config.runtime.device, config.runtime.precision)
    table = _photographs_to_predict(config, predictor.model.config)
    frame = predictor.predict(table.paths, config.runtime.progress).to_frame(table.images)
    if np.isfinite(table.targets).any():
        frame.insert(1, "target", table.targets)
    return frame


def _photographs_to_predict(config: PredictConfig, trained: Config) -> Table:
    if Path(config.input).suffix.lower() not in (".csv", ".tsv", ".txt"):
        return find_photographs(config.input)
    image_column = config.image_column or getattr(trained.data, "image_column", "image")
    return read_table(config.input, str(image_column), config.target_column)


def _demand(folder: Path, stage: str) -> None:
    if not weights_file(folder, stage).is_file():
        raise RunError(f"run '{folder.name}' has no {stage} yet: twostage train-{stage} run={folder.name} first")


def _is_finished(folder: Path, stages: tuple[str, ...]) -> bool:
    """Without weights it is not: who deletes damaged ones gets them again from the last checkpoint."""
    if not all(file.is_file() for file in (folder / "metrics.json", *(weights_file(folder, s) for s in stages))):
        return False
    log.info("run %s is finished already: its results are shown again", folder.name)
    return True


def _metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text()))


def _evaluate(prepared: Prepared) -> None:
    """Open the test set, once; write the model's description, the predictions, the report and the metrics.

    Figures are over the photographs that were read; those that were not are counted.
    """
    if not is_first_process():
        return
    config, folder, bins = prepared.config, prepared.folder, prepared.bins
    photos, rows = prepared.photos, prepared.part("test")
    save_description(folder / "model", config, bins, n_train=int((prepared.parts == "train").sum()))
    model = load_model(folder, prepared.device)
    openings = count_opening(folder)
    probabilities, offsets = model.network.predict(prepared.pixels(rows), views=config.combine.views)
    prediction = make_prediction(bins, probabilities, offsets, config.combine.method)
    frame = prediction.to_frame([photos.table.images[i] for i in rows])
    frame.insert(1, "target", photos.table.targets[rows])
    write_atomically(folder / "predictions.csv", frame.to_csv(index=False).encode())
    read = prediction.status != "refused"
    if not read.any():
        raise RunError(f"none of the {len(rows)} test photographs was read: {prediction.reason[0]}")
    probabilities, offsets, target = probabilities[read], offsets[read], photos.table.targets[rows][read]
    outcome = outcome_of(prepared, rows, prediction, model.network)
    combined = frame.loc[np.isfinite(prediction.concentration), ["image", "target"]].assign(**outcome.by_combination)
    write_atomically(folder / "combinations.csv", combined.to_csv(index=False).encode())
    metrics = {
        "method": config.method,
        "combination": config.combine.method,
        **{f"n_{part}": len(prepared.part(part)) for part in ("train", "validation", "calibration", "test")},
        "unit": config.data.unit,
        **regression_metrics(target, prediction.concentration[read]),
        **{
            f"rmse_{method}": rmse(target, combine(bins, probabilities, offsets, method, target))
            for method in ("argmax", "top2", "mixture", "oracle")
        },
        "bin_accuracy": float(np.mean(probabilities.argmax(1) == bins.index(target))),
        "coverage_90": None,
        "interval_width_90": None,
        "n_refused": int((~read).sum()),
        "n_test_openings": openings,
        "n_duplicate_pairs": None if prepared.leaks is None else len(prepared.leaks),
        **_baselines(prepared, rows[read]),
        "parameters": sum(p.numel() for p in model.network.parameters()),
        **outcome.summary(),
        **_training_cost(folder),
        "plan": plans_of(folder),
        "edges": bins.edges.tolist(),
        "options": {key: value for key, value in flatten(to_plain(config)).items() if key not in ("run", "resume")},
    }
    write_report(prepared, rows, prediction, outcome, metrics)
    write_json(folder / "metrics.json", metrics)


def _baselines(prepared: Prepared, test: np.ndarray) -> dict[str, float]:
    """RMSE on these rows of colour statistics with ridge, and of the mean of the training targets."""
    train, targets = prepared.part("train"), prepared.photos.table.targets
    some_train = spread(train, 5000)
    ridge = color_ridge().fit(color_statistics(prepared.pixels(some_train)), targets[some_train])
    return {
        "rmse_colour_baseline": rmse(targets[test], ridge.predict(color_statistics(prepared.pixels(test)))),
        "rmse_mean_baseline": rmse(targets[test], np.full(len(test), targets[train].mean())),
    }


def _training_cost(folder: Path) -> dict[str, float]:
    """Seconds of both stages, and images a second while they were shown; solving last layers counts as training."""
    history = pd.concat([pd.read_csv(file) for file in sorted(folder.glob("*/history.csv"))])
    images = float((history["seconds"] * history["images_per_second"]).sum())
    stages = [file.parent for file in folder.glob("*/history.csv")]
    return {
        "train_seconds": sum(map(spent_seconds, stages)), "images_per_second": images / float(history["seconds"].sum()),
    }  # fmt: skip
