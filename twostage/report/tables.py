"""What a person reads: the table that closes a run, and the leaderboard of a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["closing_table", "key_figures", "leaderboard", "seed_summary"]


def closing_table(metrics: dict[str, Any], run: Path) -> str:
    """The outcome of a run as lines of text."""
    openings = metrics.get("n_test_openings", 1)  # older runs did not count
    seen = "not used before" if openings == 1 else f"opened {openings} times"
    lines = [
        f"Test set: {metrics['n_test']} photographs {seen} "
        f"(train {metrics['n_train']}, validation {metrics['n_validation']}, calibration {metrics['n_calibration']})",
        *(f"  {name:<34}{value}" for name, value in key_figures(metrics)),
        f"  {'parameters':<34}{metrics['parameters']:,}",
        f"  {'training':<34}{metrics['train_seconds']:.0f} s, {metrics['images_per_second']:.0f} images/s",
        f"Results in {run}: report.html, metrics.json, predictions.csv, figures/; model in {run / 'model'}",
    ]
    return "\n".join(lines)


def key_figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value with its unit) of the figures that tell how good a run is."""
    unit = f" {metrics['unit']}" if metrics["unit"] else ""
    direct, leaks = metrics["method"] == "direct", metrics.get("n_duplicate_pairs")
    refused = metrics.get("n_refused")

    def row(name: str, key: str, suffix: str = unit) -> tuple[str, str]:
        value = metrics[key]
        return name, "-" if value is None else f"{value:.4g}{suffix}"

    rows = [
        row(f"RMSE ({'direct' if direct else metrics['combination']})", "rmse"),
        row("mean absolute error", "mae"),
        row("bias", "bias"),
        row("largest error", "max_abs_error"),
        row("R2", "r2", ""),
    ]
    if not direct:
        rows += [
            row("RMSE, mixture of all bins", "rmse_mixture"),
            row("RMSE, two likeliest bins", "rmse_top2"),
            row("RMSE, likeliest bin alone", "rmse_argmax"),
            row("RMSE, true bin given (oracle)", "rmse_oracle"),
            row("bin accuracy", "bin_accuracy", ""),
        ]
    return [
        *rows,
        row("RMSE, colour statistics + ridge", "rmse_colour_baseline"),
        row("RMSE, mean of training targets", "rmse_mean_baseline"),
        *([row("near-duplicates across the split", "n_duplicate_pairs", " pairs")] if leaks else []),
        *([("test photographs not read", f"{refused}, in none of these figures")] if refused else []),
    ]


SHOWN = ("mae", "rmse_mixture", "rmse_argmax", "rmse_oracle", "bin_accuracy", "parameters", "train_seconds")


def leaderboard(folder: Path) -> pd.DataFrame:
    """The finished runs below a sweep's folder, best RMSE first, with the options in which they differ."""
    rows = []
    for file in sorted(folder.glob("*/metrics.json")):
        metrics = json.loads(file.read_text())
        shown = {"run": file.parent.name, "rmse": metrics["rmse"]}
        rows.append(shown | metrics.get("options", {}) | {key: metrics[key] for key in SHOWN if key in metrics})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    constant = [name for name in _options(frame) if frame[name].map(str).nunique() == 1]
    return frame.drop(columns=constant).sort_values("rmse", ignore_index=True)


def seed_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings of a leaderboard, best mean RMSE first: how far do the seeds, n of each, agree?

    Args:
        runs: As `leaderboard` gives them.

    Returns:
        The options in which settings differ, `rmse` (mean over the seeds), `standard_error` of that mean (the standard
        deviation over the seeds / sqrt(n); NaN of one) and `n`; empty where all runs have the same seed.
    """
    if "seed" not in runs:
        return pd.DataFrame()
    options = [name for name in _options(runs) if name != "seed"]
    settings = runs.assign(**{name: runs[name].map(str) for name in options})  # a list cannot be grouped by
    found = settings.groupby(options or (lambda _: "all"), sort=False)["rmse"].agg(["mean", "sem", "count"])
    found = found.set_axis(["rmse", "standard_error", "n"], axis=1).reset_index(drop=not options)
    return found.sort_values("rmse", ignore_index=True)


def _options(runs: pd.DataFrame) -> list[str]:
    return [name for name in runs.columns if name not in ("run", "rmse", *SHOWN)]
