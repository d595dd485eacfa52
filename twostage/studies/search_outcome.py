"""What came out of a search: its table, its picture, the best options as a file, and what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from twostage.errors import number_of
from twostage.evaluation.ranking import rank_methods, ranking_text
from twostage.options.commands import SearchConfig
from twostage.options.flat import options_that_count
from twostage.options.space import Span
from twostage.report.search_figure import search_figure
from twostage.run.folder import RunFolder
from twostage.scale import scale_of
from twostage.studies.folder import read_rows
from twostage.studies.search_space import Space

if TYPE_CHECKING:
    from twostage.studies.trials import Best, Trials

__all__ = ["outcome_text", "write_outcome", "write_trials"]

SHOWN = 10
"""Trials that are printed; trials.csv has all."""


def write_trials(study: RunFolder, trials: Trials) -> None:
    """trials.csv: a row per trial that has begun, best first."""
    study.write(study.path / "trials.csv", trials.table().to_csv(index=False))


def write_outcome(study: RunFolder, config: SearchConfig, space: Space, trials: Trials) -> None:
    """trials.csv, search.png, best.yaml and search.json, as the search stands."""
    write_trials(study, trials)
    best, table = trials.best(), trials.table()
    if best is None:
        return
    choices = {key: () if isinstance(one, Span) else one for key, one in space.values.items()}
    by_factors = [key for key, one in space.values.items() if isinstance(one, Span) and one.by_factors]
    shares = trials.importances()
    study.write(study.path / "search.png", search_figure(table, choices, by_factors, shares, _unit(config)))
    found, ranked = space.found(best.params), _ranked(_closing_runs(study, space, best), config)
    said = f"# The best of {trials.done} trials, trial {best.number}: twostage train @{study}/best.yaml run=NAME\n"
    study.write(study.path / "best.yaml", said + yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
    study.write_json(
        study.path / "search.json",
        {
            "options": options_that_count(config),
            "unit": _unit(config),
            "n_trials": trials.done,
            "states": {str(state): int(count) for state, count in table["state"].value_counts().items()},
            "best": {"trial": best.number, "rmse": best.rmse, "options": {key: found[key] for key in best.params}},
            "rmse_of_usual_options": _rmse_of_usual(table, space),
            "importances": shares,
            "test": None if ranked is None else _plain(ranked),
        },
    )


def outcome_text(study: RunFolder, config: SearchConfig, space: Space, trials: Trials) -> str:
    """What is printed in the end, or where other processes are still at work, how it stands."""
    best, table = trials.best(), trials.table()
    ranked = None if best is None or trials.running else _ranked(_closing_runs(study, space, best), config)
    if best is None or ranked is None:
        under_way = number_of(trials.running, "trial is", "trials are") if trials.running else "the last training is"
        return f"{under_way} under way in other processes; the last of them shows the results, and the same command too"
    states = table["state"].value_counts()
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    shown = table.drop(columns=["state", "why", "seconds"]).head(SHOWN).dropna(subset="rmse")
    shown["rmse"] = shown["rmse"].map("{:.4g}".format)
    unit = _unit(config)
    shown = shown.rename(columns={"rmse": f"RMSE ({unit})" if unit else "RMSE"})
    usual = _rmse_of_usual(table, space)
    lines = [f"{trials.done} trials ({counts}); the best:", shown.to_string(index=False)]
    if usual is not None:
        lines.append(f"The options as they are: {usual:.4g}{f' {unit}' if unit else ''}; they were the first trial.")
    lines += ["", "Trained once more, and read the test set, which no trial has seen:", ranking_text(ranked, unit)]
    if space.is_usual(best.params):
        lines.append("No trial was better than the options as they are.")
    else:
        lines.append("Where the last interval holds 0, chance may have ranked the two.")
    lines.append(f"To train with the best on other photographs, or on all: twostage train @{study}/best.yaml run=NAME")
    return "\n".join([*lines, f"Results in {study}: trials.csv, search.png, search.json, best.yaml, and the runs"])


def _rmse_of_usual(table: pd.DataFrame, space: Space) -> float | None:
    """RMSE of the trial that had the options as they are."""
    first = table[(table["trial"] == 0) & table["rmse"].notna()]
    return None if space.outside or first.empty else float(first["rmse"].iloc[0])


def _closing_runs(study: RunFolder, space: Space, best: Best) -> dict[str, RunFolder]:
    """The runs with a test set: {what they are called: folder}."""
    runs = {"as they are": RunFolder(study.path / "default")}
    if not space.is_usual(best.params):
        runs[f"best (trial {best.number})"] = RunFolder(study.path / f"best_{best.number}")
    return runs


def _ranked(runs: dict[str, RunFolder], config: SearchConfig) -> pd.DataFrame | None:
    """The runs on the test photographs that all have read; None while one is missing."""
    if not all(run.metrics.is_file() for run in runs.values()):
        return None
    read = {name: read_rows(run.predictions).set_index("image") for name, run in runs.items()}
    first, scale = next(iter(read.values())), scale_of(config.data.scale, config.bins.period)
    errors = pd.DataFrame({name: scale.error(one["concentration"], one["target"]) for name, one in read.items()})
    errors = errors.dropna()
    splits = read_rows(next(iter(runs.values())).splits).set_index("image")
    groups = splits["group"].reindex(errors.index).to_numpy() if "group" in splits else None
    return rank_methods(first["target"].reindex(errors.index).to_numpy(), errors, groups)


def _plain(ranked: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    """A ranking as JSON takes it."""
    plain = ranked.astype(object).where(ranked.notna(), None).to_dict("index")
    return {str(name): dict(row) for name, row in plain.items()}


def _unit(config: SearchConfig) -> str:
    """Of errors."""
    return scale_of(config.data.scale, config.bins.period).unit(config.data.unit)
