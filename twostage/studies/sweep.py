"""A sweep: one run per value or combination of values, ranked, and what their seeds say together."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
from filelock import FileLock

from twostage.files import as_bytes, write_atomically
from twostage.run.folder import openings_below

__all__ = ["leaderboard", "openings_of_sets", "seed_summary", "sweep_so_far"]

CHOICES = ("rmse_validation_decades", "rmse_validation")
"""What ranks, in decades where all runs are on a logarithmic scale: who chooses by the test set needs another one to
know how good the choice is."""
SHOWN = (
    "rmse",
    "rmse_decades",
    "mae",
    "rmse_mixture",
    "rmse_argmax",
    "rmse_oracle",
    "bin_accuracy",
    "parameters",
    "train_seconds",
)
OPENINGS = "n_test_openings_in_sweep"


def sweep_so_far(folder: Path) -> str:
    """The finished runs of a sweep and the means over their seeds, as text; both are written beside the runs.

    Where runs end side by side, the last one to write has seen all of them.
    """
    with FileLock(folder / ".lock"):
        return _sweep_so_far(folder)


def _sweep_so_far(folder: Path) -> str:
    runs, said = leaderboard(folder), []
    for title, name, table in (
        ("The sweep so far", "leaderboard.csv", runs),
        ("Mean over the seeds", "summary.csv", seed_summary(runs)),
    ):
        if not table.empty:
            write_atomically(folder / name, as_bytes(table.to_csv(index=False)))
            said.append(f"\n{title}, best {_choice(table)} first ({folder / name}):\n{table.to_string(index=False)}\n")
    return "\n".join([*said, _how_often_opened(folder, _choice(runs))] if said else said)


def _how_often_opened(folder: Path, choice: str) -> str:
    """How often the runs of a sweep have looked at their test set, or test sets, in words."""
    counts = openings_of_sets(folder).values()
    if not counts:
        return f"No test set was opened in this sweep: choose by {choice}.\n"
    if len(counts) <= 1:
        how = f"The test set was opened {sum(counts)} times in this sweep"
    elif max(counts) == 1:
        how = f"Each of {len(counts)} test sets was opened once in this sweep"
    else:
        how = f"{len(counts)} test sets were opened {sum(counts)} times in this sweep, the same one up to {max(counts)}"
    return f"{how}: choose by {choice}; rmse and all after it are of the test set.\n"


def openings_of_sets(folder: Path) -> dict[str, int]:
    """{test set: how often all runs of a sweep have opened it}."""
    counts: Counter[str] = Counter()
    for test_set, openings in openings_below(folder).values():
        counts[test_set] += openings
    return dict(counts)


def leaderboard(folder: Path) -> pd.DataFrame:
    """The finished runs below a sweep's folder, best RMSE on validation first, with the options in which they differ.

    Behind these are the figures of the test set, and how often it was opened in the whole sweep.
    """
    rows, sets = [], openings_of_sets(folder)
    opened = openings_below(folder)
    for file in sorted(folder.glob("*/metrics.json")):
        if "_folds" in file.parent.name:  # a cross-validation that belongs to a run
            continue
        metrics, mine = json.loads(file.read_text()), file.parent.resolve()
        shown = {"run": file.parent.name} | {choice: metrics.get(choice) for choice in CHOICES}
        counts = [sets[name] for path, (name, _) in opened.items() if path.is_relative_to(mine)]
        shown |= metrics.get("options", {}) | {key: metrics[key] for key in SHOWN if key in metrics}
        rows.append(shown | {OPENINGS: max(counts, default=0)})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame = frame.astype(dict.fromkeys(CHOICES, float))  # None of older runs
    constant = [name for name in _options(frame) if frame[name].map(str).nunique() == 1]
    frame = frame.drop(columns=constant)
    for choice in CHOICES[:-1]:
        frame = frame if frame[choice].notna().all() else frame.drop(columns=choice)
    return frame.sort_values(_choice(frame), ignore_index=True, kind="stable")


def _choice(runs: pd.DataFrame) -> str:
    """The column of a leaderboard, or a summary, that ranks it."""
    return next(choice for choice in CHOICES if choice in runs)


def seed_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings of a leaderboard, best mean RMSE on validation first: how far do the seeds, n of each, agree?

    Args:
        runs: As `leaderboard` gives them.

    Returns:
        The options in which settings differ, `rmse_validation` (mean over the seeds), `standard_error` of that mean
        (the standard deviation over the seeds / sqrt(n); NaN of one), `n`, and `rmse`, the mean on the test sets, where
        there are any; empty where all runs have the same seed.
    """
    if "seed" not in runs:
        return pd.DataFrame()
    options = [name for name in _options(runs) if name != "seed"]
    settings = runs.assign(**{name: runs[name].map(str) for name in options})  # a list cannot be grouped by
    grouped = settings.groupby(options or (lambda _: "all"), sort=False)
    choice = _choice(runs)
    found = grouped[choice].agg(["mean", "sem"]).set_axis([choice, "standard_error"], axis=1)
    tested = {"rmse": grouped["rmse"].mean()} if "rmse" in runs else {}
    found = found.assign(n=grouped.size(), **tested).reset_index(drop=not options)
    return found.sort_values(choice, ignore_index=True, kind="stable")


def _options(runs: pd.DataFrame) -> list[str]:
    return [name for name in runs.columns if name not in ("run", *CHOICES, OPENINGS, *SHOWN)]
