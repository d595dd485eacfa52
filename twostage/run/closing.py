"""The end of a run: intervals, then the test set, once, with predictions, figures of merit and report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from twostage.bins import Bins
from twostage.errors import RunError
from twostage.evaluation.baselines import color_ridge, color_statistics, on_scale
from twostage.evaluation.metrics import regression_metrics, rmse
from twostage.evaluation.remarks import CLOSED, UNTESTED, remarks
from twostage.files import as_bytes
from twostage.model_folder import load_model, save_description
from twostage.options.choices import COMBINATIONS
from twostage.options.flat import flatten, to_plain
from twostage.predictor import Predictor
from twostage.report.outcome import Outcome
from twostage.run.by_folds import ReadByFolds, join_folds, read_by_folds
from twostage.run.data import why_no_intervals
from twostage.run.facts import parts_table, write_report
from twostage.run.folder import RunFolder
from twostage.run.length import spent_seconds
from twostage.run.model_card import write_model_card
from twostage.run.preparation import Prepared, spread
from twostage.run.shown_reading import shown_reading
from twostage.run.stage import plans_of
from twostage.run.trusted import learn_trust
from twostage.stages.build import build_limits
from twostage.stages.combination import combine
from twostage.training.distributed import once
from twostage.trust.prediction import Prediction
from twostage.trust.status import Status

__all__ = ["close"]


@once
def close(prepared: Prepared, folds: Sequence[RunFolder] = ()) -> None:
    """Complete the model, open the test set and write predictions, report and figures of merit.

    Figures are over the photographs that were read; those that were not are counted. Without a test set there are none.

    Args:
        folds: Finished runs that read every photograph once in their test sets, instead of a test set here; with
            train.final=folds their models are the model.

    Raises:
        RunError: No test photograph was read.
    """
    folder = prepared.folder
    by_folds = read_by_folds(prepared, folds) if folds else None
    rows = prepared.part("test") if by_folds is None else by_folds.rows
    members = join_folds(prepared, folds) if prepared.config.train.final == "folds" else 1
    predictor = _complete(prepared, by_folds, members)
    if not len(rows):
        _close_untested(prepared, predictor)
        return
    test_set = _digest(prepared, rows)
    openings = {
        "n_test_openings": folder.count_opening(test_set),
        "n_test_openings_of_others": folder.openings_of_others(test_set),
    }
    prediction = predictor.read(prepared.pixels(rows)) if by_folds is None else by_folds.prediction
    targets = prepared.photos.table.targets[rows]
    frame = prediction.to_frame([prepared.photos.table.images[i] for i in rows])
    frame.insert(1, "target", targets)
    folder.write(folder.predictions, frame.to_csv(index=False))
    read = prediction.is_read
    if not read.any():
        raise RunError(f"none of the {len(rows)} test photographs was read: {prediction.reason[0]}")
    bins, limits = prepared.bins, build_limits(prepared.config, prepared.bins)
    combined = {
        method: limits.cut(combine(bins, prediction.reading[read], method, targets[read]))
        for method in (*COMBINATIONS, "oracle")
    }
    combinations = frame.loc[read, ["image", "target"]].assign(**combined)
    folder.write(folder.combinations, combinations.to_csv(index=False))
    outcome = _outcome(prepared, rows, prediction, combined, predictor)
    learned = [(prepared.part("train"), rows)] if by_folds is None else by_folds.learned
    combined = combined | {name: found[rows[read]] for name, found in _baselines(prepared, learned).items()}
    metrics = _metrics(prepared, prediction, outcome, combined, predictor, rows, by_folds) | openings
    metrics |= {"n_folds": len(folds), **_training_cost([prepared.folder, *folds])}
    metrics["remarks"] = remarks(metrics, None if outcome.groups is None else len(np.unique(outcome.groups)))
    _remember(prepared, predictor, metrics["remarks"])
    if not prepared.config.split.sealed:  # one of many, of which a person wants to know the figure alone
        write_report(prepared, rows, prediction, outcome, metrics)
    write_model_card(folder.card, predictor.model, folder.model, metrics=metrics, parts=parts_table(prepared))
    folder.write_json(folder.metrics, metrics)


def _close_untested(prepared: Prepared, predictor: Predictor) -> None:
    """What there is to say of a model without a test set: what it was made of, and that nothing has tested it."""
    metrics = _made_of(prepared, predictor) | {"n_test": 0, **_rmse_validation(prepared, predictor, False)}
    metrics |= {"n_folds": 0, **_training_cost([prepared.folder]), "remarks": [_untested(prepared)]}
    _remember(prepared, predictor, metrics["remarks"])
    folder = prepared.folder
    write_model_card(folder.card, predictor.model, folder.model, metrics=metrics, parts=parts_table(prepared))
    folder.write_json(folder.metrics, metrics)


def _untested(prepared: Prepared) -> str:
    return CLOSED if prepared.config.split.sealed else UNTESTED


def _complete(prepared: Prepared, by_folds: ReadByFolds | None, members: int) -> Predictor:
    """Write the model's description, with what is known of how far it may be believed, and load it."""
    told = {"n_train": len(prepared.training_rows if by_folds is None or members == 1 else by_folds.rows)}
    told |= {"members": members}

    views = prepared.views if by_folds is None or members == 1 else by_folds.views
    config = replace(prepared.config, combine=replace(prepared.config.combine, views=views))

    def load(**more: Any) -> Predictor:
        save_description(prepared.folder.model, config, prepared.bins, **told, **more)
        return Predictor(load_model(prepared.folder.path, prepared.device))

    trust = learn_trust(prepared, load()) if by_folds is None else by_folds.trust
    return load(trust=trust.to_json())


def _remember(prepared: Prepared, predictor: Predictor, remarks: list[str]) -> None:
    """What must be said beside the model's numbers goes with it, for who predicts."""
    described = predictor.model.description
    kept = {key: described[key] for key in ("n_train", "trust", "members") if key in described}
    save_description(prepared.folder.model, predictor.model.config, prepared.bins, **kept, remarks=remarks)


def _rmse_validation(prepared: Prepared, predictor: Predictor, by_folds: bool) -> dict[str, float | None]:
    """RMSE of the readings of the validation photographs: by it settings are chosen, not by the test set.

    None where the model has learned from them.
    """
    rows = prepared.part("validation")
    if by_folds or prepared.gently:
        return {"rmse_validation": None}
    prediction = predictor.read(prepared.pixels(rows))
    read, targets = prediction.is_read, prepared.photos.table.targets[rows]
    if not read.any():
        return {"rmse_validation": None}
    return dict(_rmse_of(prepared.bins, targets[read], {"validation": prediction.concentration[read]}))


def _digest(prepared: Prepared, rows: np.ndarray) -> str:
    """What tells this test set from others: its photographs and their concentrations, in any order."""
    photos = prepared.photos
    names = photos.digests or photos.table.images
    both = sorted(f"{names[i]} {float(photos.table.targets[i])!r}" for i in rows)
    return hashlib.blake2b(as_bytes("\n".join(both)), digest_size=8).hexdigest()


def _outcome(
    prepared: Prepared,
    rows: np.ndarray,
    prediction: Prediction,
    combined: dict[str, np.ndarray],
    predictor: Predictor,
) -> Outcome:
    """What came out for the photographs of the given rows (N,) that were read."""
    bins, read, table = prepared.bins, prediction.is_read, prepared.photos.table
    target, found = bins.scale.home(table.targets[rows][read]), prediction.concentration[read]
    predicted = bins.scale.near(found, target)
    turn = predicted - found  # by which the interval goes with it, on a circle
    error = bins.scale.error(predicted, target)
    classifier = predictor.model.network.classifier
    days = table.columns.get(str(prepared.config.data.day_column))
    return Outcome(
        unit=prepared.config.data.unit,
        scale=bins.scale,
        edges=bins.edges,
        target=target,
        predicted=predicted,
        error=error,
        by_combination={method: bins.scale.error(found, target) for method, found in combined.items()},
        probabilities=prediction.reading.probabilities[read],
        bin_probabilities=prediction.bin_probabilities[read],
        true_bin=bins.index(target),
        lower=prediction.lower[read] + turn,
        upper=prediction.upper[read] + turn,
        confidence=prepared.config.intervals.confidence,
        crps=None if prediction.distribution is None else prediction.distribution[read].crps(target),
        temperature=None if classifier is None else float(classifier.temperature),
        groups=None if table.groups is None else table.groups[rows][read],
        days=None if days is None else days[rows][read],
        no_intervals=why_no_intervals(prepared.config, table, prepared.parts),
        shown=shown_reading(predictor, prepared.pixels(rows[read]), error),
    )


def _metrics(
    prepared: Prepared,
    prediction: Prediction,
    outcome: Outcome,
    combined: dict[str, np.ndarray],
    predictor: Predictor,
    rows: np.ndarray,
    by_folds: ReadByFolds | None,
) -> dict[str, Any]:
    """The content of metrics.json."""
    read, bins = prediction.is_read, prepared.bins
    return {
        **_made_of(prepared, predictor),
        "n_test": len(rows),
        **regression_metrics(
            outcome.target,
            bins.difference(outcome.predicted, outcome.target),
            bins.scale,
            angle=prepared.config.is_angle,
        ),
        **_on_scale(outcome),
        **_rmse_of(bins, outcome.target, combined),
        **_rmse_validation(prepared, predictor, by_folds is not None),
        "bin_accuracy": float(np.mean(outcome.probabilities.argmax(1) == outcome.true_bin)),
        "n_refused": int((~read).sum()),
        "statuses": {status.value: int((prediction.status == status.value).sum()) for status in Status},
        **outcome.summary(),
    }


def _made_of(prepared: Prepared, predictor: Predictor) -> dict[str, Any]:
    """What metrics.json says of a model that no test set is asked for."""
    config = prepared.config
    return {
        "method": config.method,
        "combination": config.combine.method,
        **{f"n_{part}": len(prepared.part(part)) for part in ("train", "validation", "calibration")},
        "unit": config.data.unit,
        "n_duplicate_pairs": None if prepared.leaks is None else len(prepared.leaks),
        "parameters": sum(p.numel() for p in predictor.model.network.parameters()),
        "plan": plans_of(prepared.folder),
        "edges": prepared.bins.edges.tolist(),
        "options": {key: value for key, value in flatten(to_plain(config)).items() if key not in ("run", "resume")},
    }


def _on_scale(outcome: Outcome) -> dict[str, float]:
    """On a logarithmic scale RMSE and bias in decades as well."""
    if outcome.scale.name == "linear":
        return {}
    return {"rmse_decades": rmse(outcome.error), "bias_decades": float(np.mean(outcome.error))}


def _rmse_of(bins: Bins, target: np.ndarray, found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """RMSE of several readings (N,) of the concentrations (N,): in their unit, and on the scale where that differs."""
    errors = {f"rmse_{name}": rmse(bins.difference(values, target)) for name, values in found.items()}
    if bins.scale.name != "linear":
        errors |= {f"rmse_{name}_decades": rmse(bins.scale.error(values, target)) for name, values in found.items()}
    return errors


def _baselines(prepared: Prepared, learned: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """What colour statistics with ridge, and the mean of the training targets, say of all photographs (N,).

    Args:
        learned: Rows to learn from and rows to read, once or for each fold; others stay NaN.
    """
    scale, limits = prepared.bins.scale, build_limits(prepared.config, prepared.bins)
    places = scale.to(prepared.photos.table.targets)
    ridge, mean = np.full((2, len(places)), np.nan)
    for train, test in learned:
        some_train = spread(train, 5000)
        model = on_scale(color_ridge(), scale)
        fitted = model.fit(color_statistics(prepared.pixels(some_train)), places[some_train])
        ridge[test] = fitted.predict(color_statistics(prepared.pixels(test)))
        mean[test] = scale.mean(places[train])
    return {"colour_baseline": limits.cut(scale.back(ridge)), "mean_baseline": scale.back(mean)}


def _training_cost(folders: Sequence[RunFolder]) -> dict[str, float]:
    """Seconds of all stages, and images a second while they were shown; solving last layers counts as training."""
    stages = [folder.stage(name) for folder in folders for name in folder.stages()]
    history = pd.concat([pd.read_csv(stage.history) for stage in stages])
    images = float((history["seconds"] * history["images_per_second"]).sum())
    seconds = float(history["seconds"].sum())
    rate = images / seconds if seconds else 0.0
    return {"train_seconds": sum(map(spent_seconds, stages)), "images_per_second": rate}
