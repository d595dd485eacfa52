"""`twostage check-model`: does a model still read right? Today's standards, and the control chart of all checks."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from twostage.errors import RunError, number_of
from twostage.files import as_bytes, given_path, refuse_unwritable, write_atomically, write_json, write_output
from twostage.model_folder import TrainedModel
from twostage.options.reading import CheckModelConfig
from twostage.report.control_chart import control_chart
from twostage.run.standards import Standards, read_standards
from twostage.trust.drift import ACTION, LEVEL, WARNING, Drift, Then, drift_of, ewma

__all__ = ["Checks", "check_model"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Checks:
    """The folder with all checks of a model: beside model.json, or in the folder of its run.

    It is no part of what the model's digest says: a check changes no reading.
    """

    path: Path

    @classmethod
    def of(cls, model: Path) -> Checks:
        """Those of the model in a folder."""
        run = model.resolve().parent
        return cls((run if model.resolve().name == "model" and (run / "config.yaml").is_file() else model) / "checks")

    @property
    def file(self) -> Path:
        """With a row for each check."""
        return self.path / "checks.json"

    @property
    def chart(self) -> Path:
        """The figure of all of them."""
        return self.path / "control_chart.png"

    def read(self) -> list[dict[str, Any]]:
        """All checks so far, oldest first.

        Raises:
            RunError: The file is not what was written.
        """
        try:
            found = json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else {"checks": []}
            rows = [dict(row) for row in found["checks"]]
            if any(not {"time", "table", "specimens", "bias", "sds", "verdict"} <= row.keys() for row in rows):
                raise ValueError("a check lacks a number")
            return rows
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.file} cannot be read, so earlier checks are not known: restore it, or delete it to begin anew"
            ) from error

    def add(self, check: dict[str, Any]) -> list[dict[str, Any]]:
        """All checks so far, with a new one; two commands at once do not lose each other's."""
        self.read()  # before anything is made
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".lock"):
            rows = [*self.read(), check]
            write_json(self.file, {"checks": rows})
        return rows


def check_model(config: CheckModelConfig) -> str:
    """Read the standards, compare with the calibration, add to the model's checks; what a person is to know of it.

    Raises:
        DataError: The standards cannot be used.
        RunError: The earlier checks cannot be read.
    """
    path = None if config.output is None else given_path(config.output, "output")
    if path is not None:
        refuse_unwritable(path, "output")
    standards = read_standards(config)
    model, then = standards.model, standards.model.trust.then
    drift = drift_of(standards.judged.errors(model.bins, standards.combination), then)
    checks = Checks.of(standards.folder)
    rows = checks.add(_row(standards, drift))
    write_atomically(checks.chart, _chart(rows, model, standards.unit))
    if path is not None:
        write_output(path, as_bytes(str(standards.by_specimen().to_csv(index=False))))
    advice = ""
    if drift.verdict in ("moved", "biased"):
        advice = f": twostage recalibrate run={config.run} table={config.table} output=FOLDER"
    return "\n".join(
        [
            *_said(standards, drift, then),
            f"verdict: {drift.verdict}{advice}",
            "",
            *_history(rows),
            f"Chart in {checks.chart}",
        ]
    )


def _row(standards: Standards, drift: Drift) -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    counts = {"photographs": len(standards.judged), "refused": standards.refused, "unlike": standards.unlike}
    return {"time": now, "table": standards.table, **drift.to_json(), **counts, "rmse": standards.rmse}


def _said(standards: Standards, drift: Drift, then: Then | None) -> list[str]:
    """Today, then, and what the tests say."""
    unit, judged = standards.unit, standards.judged
    plain = standards.model.config.data.unit
    interval = "no interval of one specimen"
    if drift.interval is not None:
        interval = f"95 % interval {drift.interval[0]:+.4g}..{drift.interval[1]:+.4g}"
    lines = [
        f"{standards.table}: {number_of(drift.specimens, 'specimen', 'specimens')}, "
        f"{number_of(len(judged), 'photograph', 'photographs')} read, {standards.refused} refused, "
        f"{standards.unlike} unlike those of the training",
        f"  bias now    {f'{drift.bias:+.4g} {unit}'.strip()}, {interval}",
    ]
    if then is not None:
        was = then.bias if abs(then.bias) > 1e-6 * then.sd else 0.0
        lines.append(
            f"  bias then   {f'{was:+.4g} {unit}'.strip()}, a specimen's SD {then.sd:.4g}, "
            f"{len(then.errors)} specimens of the calibration"
        )
    lines.append(f"  RMSE now    {f'{standards.rmse:.4g} {plain}'.strip()}")
    lines.append(f"  no bias?    {_test(drift.p_zero, drift.least_zero, drift.specimens)}")
    if then is None:
        lines.append("  as then?    not known: the model has kept no errors of its calibration; train it anew")
    else:
        lines.append(f"  as then?    {_test(drift.p_then, drift.least_then or 0.0, drift.specimens)}")
    if drift.sds is not None:
        lines.append(
            f"  chart       {drift.sds:+.2g} standard deviations from then (warning beyond {WARNING:g}, action beyond "
            f"{ACTION:g})"
        )
    return lines


def _test(p: float | None, least: float, count: int) -> str:
    """A p-value with the least that so few specimens can give."""
    if p is None:
        return "one specimen gives no p-value"
    able = "" if least <= LEVEL else f", so they cannot tell at {LEVEL:g}"
    return f"p = {p:.2g}; {count} specimens can give {least:.2g} at least{able}"


def _history(rows: list[dict[str, Any]]) -> list[str]:
    table = pd.DataFrame(rows)[["time", "table", "specimens", "bias", "sds", "p_zero", "p_then", "rmse", "verdict"]]
    numbers = table[["bias", "sds", "p_zero", "p_then", "rmse"]].astype(float)
    shown = numbers.map(lambda value: "" if np.isnan(value) else f"{value:.3g}")
    return ["Checks so far:", table.assign(**shown).to_string(index=False)]


def _chart(rows: list[dict[str, Any]], model: TrainedModel, unit: str) -> bytes:
    then = model.trust.then
    names = [f"{row['time'][:10]}\n{row['table']}" for row in rows]
    bias, counts = (np.array([row[name] for row in rows], float) for name in ("bias", "specimens"))
    sds = np.array([np.nan if row["sds"] is None else row["sds"] for row in rows], float)
    center = 0.0 if then is None else then.bias
    spread = np.full(len(rows), np.nan) if then is None else np.array([then.sd_of_mean(int(n)) for n in counts])
    average, limit = ewma(sds[np.isfinite(sds)])
    if len(average) < len(rows):  # checks from before the model knew its calibration
        average, limit = np.full((2, len(rows)), np.nan)
    return control_chart(names, bias, center, spread, average, limit, unit)
