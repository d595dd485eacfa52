"""A sweep: one run per value or combination of values, ranked, and what their seeds say together."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from twostage.files import as_bytes, write_atomically

__all__ = ["leaderboard", "seed_summary", "sweep_so_far"]

SHOWN = ("mae", "rmse_mixture", "rmse_argmax", "rmse_oracle", "bin_accuracy", "parameters", "train_seconds")


def sweep_so_far(folder: Path) -> str:
    """The finished runs of a sweep and the means over their seeds, as text; both are written beside the runs."""
    runs, said = leaderboard(folder), []
    for title, name, table in (
        ("The sweep so far", "leaderboard.csv", runs),
        ("Mean over the seeds", "summary.csv", seed_summary(runs)),
    ):
        if not table.empty:
            write_atomically(folder / name, as_bytes(table.to_csv(index=False)))
            said.append(f"\n{title} ({folder / name}):\n{table.to_string(index=False)}\n")
    return "\n".join(said)


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
