"""What must be said beside the figures of a run, wherever they go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twostage.errors import number_of

__all__ = ["CLOSED", "FEW_GROUPS", "FEW_PHOTOGRAPHS", "UNTESTED", "judged", "remarks"]

FEW_PHOTOGRAPHS, FEW_GROUPS = 30, 10
"""Test sets of fewer say little."""
UNTESTED = "no test set (split.test=0): how far its numbers are off, nothing here tells"
"""The remark of a run that has learned from all its photographs."""
CLOSED = "its test set is closed (split.sealed=true): how far its numbers are off, only the validation photographs tell"
"""The remark of a run among many from which one is chosen."""


def judged(metrics: Mapping[str, Any], key: str) -> float:
    """A figure of metrics.json as it is judged: in decades on a logarithmic scale, else in the unit."""
    return float(metrics.get(f"{key}_decades", metrics[key]))


def remarks(metrics: Mapping[str, Any], n_groups: int | None) -> list[str]:
    """Sentences on the figures of a run, metrics.json's, with so many groups in its test set where they are known."""
    said = []
    mine, mean = judged(metrics, "rmse"), judged(metrics, "rmse_mean_baseline")
    if mine >= mean:
        said.append(
            f"no better than the mean of the training targets (RMSE {mine:.3g} and {mean:.3g}): its numbers say nothing"
        )
    elif mine >= (ridge := judged(metrics, "rmse_colour_baseline")):
        said.append(
            f"a ridge regression over colour statistics is as good or better (RMSE {ridge:.3g} and {mine:.3g}): more "
            f"training or photographs may help, or it will do"
        )
    read, few_groups = metrics["n_test"] - metrics["n_refused"], n_groups is not None and n_groups < FEW_GROUPS
    if read < FEW_PHOTOGRAPHS or few_groups:
        of_groups = f" of {number_of(n_groups or 0, 'specimen', 'specimens')}" if few_groups else ""
        few = number_of(read, "test photograph", "test photographs") + of_groups
        said.append(
            f"{few} {'says' if read == 1 else 'say'} little, another test set may give another figure: twostage "
            f"crossval reads every photograph"
        )
    asked = metrics.get("options", {}).get("intervals.method", "none") != "none"
    if asked and metrics.get("coverage", {}).get("share") is None:
        said.append("no intervals: there were too few specimens for calibration, so lower and upper are empty")
    return said
