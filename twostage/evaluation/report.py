"""What a person reads: the table that closes a run, and the leaderboard of a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["closing_table", "leaderboard"]


def closing_table(metrics: dict[str, Any], run: Path) -> str:
    """The outcome of a run as lines of text."""
    unit = f" {metrics['unit']}" if metrics["unit"] else ""
    direct = metrics["method"] == "direct"
    openings = metrics.get("n_test_openings", 1)  # older runs did not count
    leaks = metrics.get("n_duplicate_pairs")
    seen = "not used before" if openings == 1 else f"opened {openings} times"

    def row(name: str, key: str, suffix: str = unit) -> str:
        value = metrics[key]
        return f"  {name:<34}{'-' if value is None else format(value, '.4g')}{'' if value is None else suffix}"

    lines = [
        f"Test set: {metrics['n_test']} photographs {seen} "
        f"(train {metrics['n_train']}, validation {metrics['n_validation']}, calibration {metrics['n_calibration']})",
        row(f"RMSE ({'direct' if direct else metrics['combination']})", "rmse"),
        row("mean absolute error", "mae"),
        row("bias", "bias"),
        row("largest error", "max_abs_error"),
        row("R2", "r2", ""),
    ]
    if not direct:
        lines += [
            row("RMSE, mixture of all bins", "rmse_mixture"),
            row("RMSE, two likeliest bins", "rmse_top2"),
            row("RMSE, likeliest bin alone", "rmse_argmax"),
            row("RMSE, true bin given (oracle)", "rmse_oracle"),
            row("bin accuracy", "bin_accuracy", ""),
        ]
    lines += [
        row("RMSE, colour statistics + ridge", "rmse_colour_baseline"),
        row("RMSE, mean of training targets", "rmse_mean_baseline"),
        *([row("near-duplicates across the split", "n_duplicate_pairs", " pairs")] if leaks else []),
        f"  {'parameters':<34}{metrics['parameters']:,}",
        f"  {'training':<34}{metrics['train_seconds']:.0f} s, {metrics['images_per_second']:.0f} images/s",
        f"Results in {run}: metrics.json, predictions.csv, figures/; model in {run / 'model'}",
    ]
    return "\n".join(lines)


def leaderboard(folder: Path) -> pd.DataFrame:
    """The finished runs below a sweep's folder, best RMSE first, with the options in which they differ."""
    rows = []
    for file in sorted(folder.glob("*/metrics.json")):
        metrics = json.loads(file.read_text())
        options = metrics.pop("options")
        shown = {"run": file.parent.name, "rmse": metrics["rmse"]}
        rows.append(shown | options | {key: metrics[key] for key in SHOWN})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    constant = [
        name for name in frame.columns.difference(["run", "rmse", *SHOWN]) if frame[name].map(str).nunique() == 1
    ]
    return frame.drop(columns=constant).sort_values("rmse", ignore_index=True)


SHOWN = ("mae", "rmse_mixture", "rmse_argmax", "rmse_oracle", "bin_accuracy", "parameters", "train_seconds")
