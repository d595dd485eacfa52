"""Which of several methods is best, and how much of it may be chance."""

from __future__ import annotations

import numpy as np
import pandas as pd

from twostage.evaluation.confidence import percentile_interval, resampled_rmse
from twostage.evaluation.metrics import regression_metrics

__all__ = ["rank_methods", "ranking_text"]


def rank_methods(target: np.ndarray, errors: pd.DataFrame, groups: np.ndarray | None = None) -> pd.DataFrame:
    """Rank methods that read the same N photographs by their RMSE.

    Args:
        target: Concentrations (N,).
        errors: Their errors, a column (N,) per method.
        groups: Of which specimen each photograph is, (N,), or None: what is drawn in the bootstrap.

    Returns:
        Indexed by method, best first: `rmse`, its 95 % interval `low` and `high`; `behind`, its distance to the best,
        with the interval `behind_low` and `behind_high` of that difference on the same photographs (an interval that
        holds 0 says that chance may have ranked the two); `mae`, `bias`, `max_abs_error`. Intervals are NaN for a
        single group.
    """
    figures = {name: regression_metrics(target, column.to_numpy()) for name, column in errors.items()}
    table = pd.DataFrame(figures).T.sort_values("rmse", kind="stable")
    resampled = resampled_rmse(errors[table.index].to_numpy().T, groups)
    table["behind"] = table["rmse"] - table["rmse"].iloc[0]
    table[["low", "high"]] = [percentile_interval(values) for values in resampled]
    table[["behind_low", "behind_high"]] = [percentile_interval(values - resampled[0]) for values in resampled]
    names = "rmse low high behind behind_low behind_high mae bias max_abs_error"
    return table[names.split()].rename_axis("method")


def ranking_text(table: pd.DataFrame, unit: str) -> str:
    """The ranking as lines of text; `seconds` of training are a column of it where there are some."""
    suffix = f", {unit}" if unit else ""
    shown = pd.DataFrame(
        {
            "": range(1, len(table) + 1),
            "method": table.index,
            f"RMSE{suffix}": [f"{value:.4g}" for value in table["rmse"]],
            "95 % interval": _between(table["low"], table["high"]),
            "behind the best": ["" if value == 0 else f"{value:.3g}" for value in table["behind"]],
            "95 % interval ": _between(table["behind_low"], table["behind_high"], blank=table["behind"] == 0),
            "mean abs. error": [f"{value:.4g}" for value in table["mae"]],
            "bias": [f"{value:.3g}" for value in table["bias"]],
        }
    )
    if "seconds" in table:
        shown["training, s"] = ["" if np.isnan(value) else f"{value:.0f}" for value in table["seconds"]]
    return shown.to_string(index=False)


def _between(low: pd.Series, high: pd.Series, blank: pd.Series | None = None) -> list[str]:
    ends = [f"{a:.3g}..{b:.3g}" if np.isfinite(a) else "-" for a, b in zip(low, high, strict=True)]
    return ends if blank is None else ["" if empty else text for empty, text in zip(blank, ends, strict=True)]
