"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twostage.report.markup import percent

__all__ = ["closing_table", "key_figures"]


def closing_table(metrics: dict[str, Any], run: Path) -> str:
    """The outcome of a run as lines of text."""
    openings = metrics.get("n_test_openings", 1)  # older runs did not count
    others = metrics.get("n_test_openings_of_others", 0)
    seen = "not used before" if openings + others == 1 else f"opened {openings + others} times"
    seen += f", {others} of them by other runs" if others else ""
    parts = f"train {metrics['n_train']}, validation {metrics['n_validation']}, calibration {metrics['n_calibration']}"
    judged_by = f"Test set: {metrics['n_test']} photographs, {seen} ({parts})"
    if metrics.get("n_folds"):
        judged_by = (
            f"{metrics['n_test']} photographs, each read by the model of one of {metrics['n_folds']} folds that has "
            f"not seen its specimen"
        )
    results = "report.html, metrics.json, predictions.csv, figures/"
    figures = key_figures(metrics) if metrics["n_test"] else []
    if not metrics["n_test"]:
        closed = metrics["options"].get("split.sealed")
        judged_by = f"{'The test set is closed' if closed else 'No test set: all photographs make the model'} ({parts})"
        results = "metrics.json, MODEL_CARD.md"
    lines = [
        judged_by,
        *(f"  {name:<34}{value}" for name, value in figures),
        f"  {'parameters':<34}{metrics['parameters']:,}",
        f"  {'training':<34}{metrics['train_seconds']:.0f} s, {metrics['images_per_second']:.0f} images/s",
        *(f"  {text}" for text in metrics.get("remarks", [])),
        f"Results in {run}: {results}; model in {run / 'model'}",
    ]
    return "\n".join(lines)


def key_figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value with its unit) of the figures that tell how good a run is; on a logarithmic scale in decades."""
    unit = f" {metrics['unit']}" if metrics["unit"] else ""
    log = "_decades" if "rmse_decades" in metrics else ""
    on_scale = " decades" if log else unit
    direct, leaks = metrics["method"] == "direct", metrics.get("n_duplicate_pairs")

    def row(name: str, key: str, suffix: str = unit) -> tuple[str, str]:
        value = metrics[key]
        return name, "-" if value is None else f"{value:.4g}{suffix}"

    how = "direct" if direct else metrics["combination"]
    rows = []
    if log:
        factor = f" decades, a factor of {10 ** metrics['rmse_decades']:.3g}"
        rows = [row(f"RMSE ({how})", "rmse_decades", factor), row("bias", "bias_decades", on_scale)]
    rows += [
        row(f"RMSE ({how})", "rmse"),
        row("mean absolute error", "mae"),
        *([(f"within 10{unit}", percent(metrics["share_within_10"]))] if "share_within_10" in metrics else []),
        row("bias", "bias"),
        row("largest error", "max_abs_error"),
        row("R2", "r2", ""),
    ]
    if not direct:
        rows += [
            row("RMSE, mixture of all bins", f"rmse_mixture{log}", on_scale),
            row("RMSE, two likeliest bins", f"rmse_top2{log}", on_scale),
            row("RMSE, likeliest bin alone", f"rmse_argmax{log}", on_scale),
            row("RMSE, true bin given (oracle)", f"rmse_oracle{log}", on_scale),
            row("bin accuracy", "bin_accuracy", ""),
        ]
    return [
        *rows,
        *_trust(metrics, unit),
        row("RMSE, colour statistics + ridge", f"rmse_colour_baseline{log}", on_scale),
        row("RMSE, mean of training targets", f"rmse_mean_baseline{log}", on_scale),
        *([row("near-duplicates across the split", "n_duplicate_pairs", " pairs")] if leaks else []),
    ]


def _trust(metrics: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    """What is known of intervals, bin probabilities and statuses; earlier runs did not count all of it."""
    rows, covered, calibration = [], metrics.get("coverage"), metrics.get("bin_calibration_error")
    if covered is not None:
        name = f"coverage of {100 * covered['confidence']:g} % intervals"
        if covered["share"] is None:
            rows.append((name, f"none: {covered['reason']}"))
        else:
            low, high = (f"{100 * end:.1f}" for end in covered["band"])
            rows.append((name, f"{100 * covered['share']:.1f} % (95 % band {low} to {high})"))
            rows.append(("mean width of an interval", f"{covered['width']:.4g}{unit}"))
    if calibration is not None:
        rows.append(("bin calibration error", f"{calibration:.3f}"))
    counts = metrics.get("statuses", {"refused": metrics.get("n_refused", 0)})
    beside = {"refused": ", in none of these figures"}
    return rows + [
        (f"test photographs {status}", f"{count}{beside.get(status, '')}")
        for status, count in counts.items()
        if count and status != "ok"
    ]
