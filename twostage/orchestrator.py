"""The story of a run: photographs, splits, bins, classifier, regressor, combination, figures of merit.

Each stage leaves what it made in the run's folder and the next one reads it there, so that training stage by stage
and all at once are the same.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from twostage.compose import flatten, to_plain
from twostage.config import Config, PredictConfig
from twostage.data.color import to_color
from twostage.data.table import Table, find_photographs, read_table
from twostage.errors import RunError
from twostage.evaluation.baselines import color_ridge, color_statistics
from twostage.evaluation.figures import predicted_against_measured
from twostage.evaluation.metrics import regression_metrics, rmse
from twostage.files import write_atomically, write_json
from twostage.model_folder import load_model, load_weights, save_description, save_weights
from twostage.predictor import Predictor, make_prediction
from twostage.preparation import Prepared, prepare
from twostage.runs import find_run, open_run
from twostage.stages.build import build_classifier, build_regressor, warm_start
from twostage.stages.classifier import fit_temperature
from twostage.stages.two_stage import combine, to_srgb
from twostage.training.device import use_threads
from twostage.training.fit import Epoch, fit, history_rows

__all__ = ["evaluate", "predict", "train", "train_classifier", "train_regressor"]

log = logging.getLogger("twostage")


def train(config: Config) -> dict[str, Any]:
    """Train both stages, combine them and evaluate once on the test set.

    Returns:
        The content of metrics.json.
    """
    folder = open_run(config)
    if (folder / "metrics.json").is_file():
        return _finished(folder)
    prepared = prepare(config, folder)
    first, second = _epochs(prepared)
    log.info(
        "run %s: %d training photographs, %d bins over %g..%g, epochs: classifier %d, regressor %d; results in %s",
        folder.name, len(prepared.part("train")), prepared.bins.count, *prepared.bins.edges[[0, -1]],
        first, second, folder,
    )  # fmt: skip
    if config.method == "two_stage":
        _train_classifier(prepared)
    _train_regressor(prepared)
    return _evaluate(prepared)


def train_classifier(config: Config) -> Path:
    """Train stage 1 alone; returns the run's folder."""
    if config.method == "direct":
        raise RunError("method=direct has no classifier: use train-regressor, or method=two_stage")
    folder = open_run(config)
    if not _weights(folder, "classifier").is_file():
        _train_classifier(prepare(config, folder))
    return folder


def train_regressor(config: Config) -> Path:
    """Train stage 2 alone, after stage 1 of the same run; returns the run's folder."""
    folder = open_run(config)
    if config.method == "two_stage" and not _weights(folder, "classifier").is_file():
        raise RunError(f"run '{config.run}' has no classifier yet: twostage train-classifier run={config.run} first")
    if not _weights(folder, "regressor").is_file():
        _train_regressor(prepare(config, folder))
    return folder


def evaluate(config: Config) -> dict[str, Any]:
    """Combine both trained stages and evaluate once on the test set; returns the content of metrics.json."""
    folder = open_run(config)
    if (folder / "metrics.json").is_file():
        return _finished(folder)
    for stage in ("classifier", "regressor") if config.method == "two_stage" else ("regressor",):
        if not _weights(folder, stage).is_file():
            raise RunError(f"run '{config.run}' has no {stage} yet: twostage train-{stage} run={config.run} first")
    return _evaluate(prepare(config, folder))


def predict(config: PredictConfig) -> pd.DataFrame:
    """Read the photographs that `config.input` names; one row each, in order.

    Raises:
        DataError: Nothing to read at config.input.
        ModelFolderError: No finished model of that run.
    """
    use_threads(config.runtime.threads)
    direct = Path(config.run).expanduser()
    folder = direct if (direct / "model.json").is_file() else find_run(config.run)
    predictor = Predictor.load(folder, config.runtime.device)
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


def _weights(folder: Path, stage: str) -> Path:
    return folder / "model" / f"{stage}.safetensors"


def _finished(folder: Path) -> dict[str, Any]:
    log.info("run %s is finished already: its results are shown again", folder.name)
    return dict(json.loads((folder / "metrics.json").read_text()))


def _train_classifier(prepared: Prepared) -> None:
    config, bins = prepared.config, prepared.bins
    if _weights(prepared.folder, "classifier").is_file():
        return
    classifier = build_classifier(config, bins)
    _normalize(classifier.network, prepared)
    targets = classifier.targets(prepared.photos.table.targets, bins, config.classifier.smoothing)
    epochs, _ = _epochs(prepared)
    _fit(classifier, "classifier", targets, epochs, prepared)
    validation = prepared.examples("validation", targets)
    logits = _logits(classifier, validation.pixels, prepared)
    classifier.temperature.fill_(fit_temperature(logits, validation.targets.numpy()))
    save_weights(_weights(prepared.folder, "classifier"), classifier)


def _train_regressor(prepared: Prepared) -> None:
    config, bins = prepared.config, prepared.bins
    if _weights(prepared.folder, "regressor").is_file():
        return
    regressor = build_regressor(config, bins)
    _normalize(regressor.network, prepared)
    _, epochs = _epochs(prepared)
    warm = config.method == "two_stage" and config.regressor.warm_start
    if warm:
        classifier = build_classifier(config, bins)
        load_weights(_weights(prepared.folder, "classifier"), classifier)
        for name in warm_start(regressor, classifier):
            log.warning("regressor.warm_start: the stages differ in %s, which starts from scratch", name)
    targets = regressor.targets(prepared.photos.table.targets, bins, config.regressor.overlap)
    _fit(regressor, "regressor", targets, epochs, prepared, warm)
    save_weights(_weights(prepared.folder, "regressor"), regressor)


def _epochs(prepared: Prepared) -> tuple[int, int]:
    """Epochs of the classifier and of the regressor; small training sets are shown more often."""
    config = prepared.config
    total = config.train.epochs or min(400, max(32, round(64_000 / len(prepared.part("train")))))
    if config.method == "direct":
        return 0, total
    classifier = min(total - 1, max(1, round(total * config.classifier.share)))
    return classifier, total - classifier


def _normalize(network: Any, prepared: Prepared) -> None:
    rows = prepared.part("train")[:2000]
    srgb = to_srgb(prepared.photos.pixels[rows], torch.device("cpu"))
    network.normalize_like(to_color(srgb, prepared.config.image.color))


def _fit(
    stage: torch.nn.Module, name: str, targets: Tensor, epochs: int, prepared: Prepared, warm: bool = False
) -> None:
    config = prepared.config
    history: list[Epoch] = fit(
        stage,
        prepared.examples("train", targets),
        prepared.examples("validation", targets),
        config.train,
        epochs=epochs,
        augmentation=config.augment,
        color=config.image.color,
        seed=config.seed,
        device=prepared.device,
        label=name,
        warm=warm,
        progress=config.runtime.progress,
    )
    table = pd.DataFrame(history_rows(history)).to_csv(index=False)
    write_atomically(prepared.folder / name / "history.csv", table.encode())


@torch.no_grad()
def _logits(classifier: Any, pixels: np.ndarray, prepared: Prepared) -> np.ndarray:
    classifier.eval()
    found = []
    for start in range(0, len(pixels), 64):
        images = to_color(to_srgb(pixels[start : start + 64], prepared.device), prepared.config.image.color)
        found.append(classifier(images).cpu())
    return torch.cat(found).numpy()


def _evaluate(prepared: Prepared) -> dict[str, Any]:
    """Open the test set, once; write the model's description, the predictions, the metrics and the figure."""
    config, folder, bins = prepared.config, prepared.folder, prepared.bins
    photos, rows = prepared.photos, prepared.part("test")
    save_description(folder / "model", config, bins, n_train=int((prepared.parts == "train").sum()))
    model = load_model(folder, prepared.device)
    probabilities, offsets = model.network.predict(photos.pixels[rows], views=config.combine.views)
    target = photos.table.targets[rows]
    prediction = make_prediction(bins, probabilities, offsets, config.combine.method)
    frame = prediction.to_frame([photos.table.images[i] for i in rows])
    frame.insert(1, "target", target)
    write_atomically(folder / "predictions.csv", frame.to_csv(index=False).encode())
    metrics = {
        "method": config.method,
        "combination": config.combine.method,
        **{f"n_{part}": len(prepared.part(part)) for part in ("train", "validation", "calibration", "test")},
        "unit": config.data.unit,
        **regression_metrics(target, prediction.concentration),
        **{
            f"rmse_{method}": rmse(target, combine(bins, probabilities, offsets, method, target))
            for method in ("argmax", "top2", "mixture", "oracle")
        },
        "bin_accuracy": float(np.mean(probabilities.argmax(1) == bins.index(target))),
        "coverage_90": None,
        "interval_width_90": None,
        "n_refused": int((prediction.status == "refused").sum()),
        **_baselines(prepared),
        "parameters": sum(p.numel() for p in model.network.parameters()),
        **_training_cost(folder, len(prepared.part("train"))),
        "edges": bins.edges.tolist(),
        "options": {key: value for key, value in flatten(to_plain(config)).items() if key != "run"},
    }
    title = f"{len(rows)} test photographs, RMSE {metrics['rmse']:.3g} {config.data.unit}".rstrip()
    figure = folder / "figures" / "predicted_against_measured.png"
    predicted_against_measured(figure, target, prediction.concentration, bins.edges, config.data.unit, title)
    write_json(folder / "metrics.json", metrics)
    return metrics


def _baselines(prepared: Prepared) -> dict[str, float]:
    """RMSE on the test set of colour statistics with ridge, and of the mean of the training targets."""
    photos, train, test = prepared.photos, prepared.part("train"), prepared.part("test")
    targets = photos.table.targets
    ridge = color_ridge().fit(color_statistics(photos.pixels[train]), targets[train])
    return {
        "rmse_colour_baseline": rmse(targets[test], ridge.predict(color_statistics(photos.pixels[test]))),
        "rmse_mean_baseline": rmse(targets[test], np.full(len(test), targets[train].mean())),
    }


def _training_cost(folder: Path, n_train: int) -> dict[str, float]:
    histories = [pd.read_csv(file) for file in sorted(folder.glob("*/history.csv"))]
    seconds = float(sum(history["seconds"].sum() for history in histories))
    return {"train_seconds": seconds, "images_per_second": n_train * sum(map(len, histories)) / seconds}
