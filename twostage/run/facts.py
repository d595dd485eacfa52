"""What the page says of how a run was made; figures and page are written."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import MISSING

from twostage import __version__
from twostage.data.sealed import SEALED
from twostage.data.splits import UNUSED
from twostage.files import text_of
from twostage.options.flat import changed_options, flatten, to_plain
from twostage.predictor import Prediction
from twostage.report.facts import RunFacts
from twostage.report.outcome import Outcome, draw
from twostage.report.page import page
from twostage.run.model_card import DIGITS
from twostage.run.preparation import Prepared
from twostage.tables.parts import PARTS

__all__ = ["parts_table", "write_report"]

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pandas", "pillow", "matplotlib")


def write_report(
    prepared: Prepared, rows: np.ndarray, prediction: Prediction, outcome: Outcome, metrics: Mapping[str, Any]
) -> None:
    """Write figures/*.png and report.html into the run's folder.

    Raises:
        StorageError: They cannot be written.
    """
    folder = prepared.folder
    histories = {stage: pd.read_csv(folder.stage(stage).history) for stage in folder.stages()}
    figures = draw(outcome, histories)
    for name, png in figures.items():
        folder.write(folder.figures / f"{name}.png", png)
    html = page(outcome, _facts(prepared, rows, prediction, metrics), figures)
    folder.write(folder.report, html.encode(errors="replace"))  # names of files may be no Unicode


def _facts(prepared: Prepared, rows: np.ndarray, prediction: Prediction, metrics: Mapping[str, Any]) -> RunFacts:
    config, names = prepared.config, [prepared.photos.table.images[i] for i in rows]
    read = np.isfinite(prediction.concentration)
    description = json.loads(text_of(prepared.folder.model / "model.json"))
    options = {name: _written(value) for name, value in flatten(to_plain(config)).items() if name != "run"}
    changed = {name: (_written(value), _written(default)) for name, (value, default) in changed_options(config).items()}
    return RunFacts(
        run=config.run,
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        model=description["digest"][:DIGITS],
        source=f"{len(prepared.photos.table)} photographs of {config.data.describe()}",
        metrics=metrics,
        images=[names[i] for i in np.flatnonzero(read)],
        pixels=prepared.pixels(rows[read]),
        remarks=[prediction.reason[i] for i in np.flatnonzero(read)],
        refused=[(names[i], prediction.reason[i]) for i in np.flatnonzero(~read)],
        split=f"{_split(prepared)} {_seal(prepared, metrics)}",
        parts=parts_table(prepared),
        changed=changed,
        options=options,
        versions=_versions(prepared),
        notes=[*prepared.notes, *_opened_again(metrics)],
    )


def _written(value: Any) -> str:
    """An option as a user would write it; a dash where there is none."""
    return "-" if value == MISSING else value if isinstance(value, str) else json.dumps(value)


def _split(prepared: Prepared) -> str:
    """One paragraph on how photographs came into the parts of the split."""
    config, table = prepared.config, prepared.photos.table
    whole = "whole specimens together" if table.groups is not None else "photograph by photograph"
    whole = whole if table.blocks is None else "whole blocks of specimens together"
    if config.data.split_column:
        how = f"The column '{config.data.split_column}' of the table names the part of every photograph."
    elif table.split_column:
        how = "The folders train, validation and test name the part of every photograph."
    elif config.split.column:
        values = ", ".join(config.split.test_values)
        how = f"The test part is where the column '{config.split.column}' holds {values}; the rest is drawn, {whole}."
    elif config.split.folds:
        fold = f"fold {config.split.fold + 1} of {config.split.folds}"
        how = f"The test part is {fold}; the rest is drawn at random, {whole} (seed {config.seed})."
    else:
        how = f"Drawn at random, {whole} (seed {config.seed})."
    if table.groups is None:
        how += (
            " No specimens are named: if several photographs show one specimen, they may be on both sides of the split."
        )
    if config.split.train_share < 1:
        how += f" Of the training photographs a share of {config.split.train_share:g} is used (split.train_share)."
    return how


def _seal(prepared: Prepared, metrics: Mapping[str, Any]) -> str:
    """Whether the test photographs are new to who reads their figures."""
    leaks, openings = prepared.leaks, metrics["n_test_openings"]
    if leaks is None:
        data = prepared.config.data
        each_new = not data.scenes_repeat and not data.made_by_turning
        found = "No scene was photographed twice" if each_new else "Near-duplicates were not looked for"
    else:
        found = f"Pairs of near-duplicates in different parts: {len(leaks)}"
    others = metrics["n_test_openings_of_others"]
    more = f", and {_times(others)} by other runs before" if others else ""
    return f"{found}. The test part was opened {_times(openings)} in this run{more}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _opened_again(metrics: Mapping[str, Any]) -> list[str]:
    openings = metrics["n_test_openings"]
    if openings == 1:
        return []
    return [
        f"the test set was opened {openings} times (test_openings.json says when): figures that were looked at before "
        f"something was changed are too good"
    ]


def parts_table(prepared: Prepared) -> pd.DataFrame:
    """A row per part: photographs, groups, and the span of their concentrations."""
    table = prepared.photos.table
    found = []
    for part in (*PARTS, *(part for part in (UNUSED, SEALED) if len(prepared.part(part)))):
        rows = prepared.part(part)
        targets = prepared.bins.scale.home(table.targets[rows])
        row: dict[str, Any] = {"part": part, "photographs": len(rows)}
        if table.groups is not None:
            row["specimens"] = len(np.unique(table.groups[rows]))
        for name, value in (("lowest", np.min), ("mean", prepared.bins.scale.mean), ("highest", np.max)):
            row[name] = float(value(targets)) if len(rows) else None
        found.append(row)
    if prepared.photos.skipped:
        found.append({"part": "not readable", "photographs": len(prepared.photos.skipped)})
    return pd.DataFrame(found)


def _versions(prepared: Prepared) -> dict[str, str]:
    found = {"twostage": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed in another way
            found[name] = "unknown"
    return found | {"device": str(prepared.device), "system": f"{platform.system()} {platform.machine()}"}
