"""MLflow: one of its runs for each of ours, with options, curves, figures and the model."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from twostage import __version__
from twostage.files import text_of, write_json
from twostage.options.run_name import OUTPUTS
from twostage.tracking.tracker import Record, Tracker

__all__ = ["MLflow"]

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""Nothing but the run is sent, and a server that is down costs seconds; what a user has set stays as it is."""

MOST_AT_ONCE, MOST_OPTIONS, LONGEST = 1000, 100, 6000
"""Points and options in one message, and letters of an option, that MLflow takes."""


class MLflow(Tracker):
    """Where MLFLOW_TRACKING_URI or mlflow.set_tracking_uri says, in the experiment MLFLOW_EXPERIMENT_NAME.

    Without them it is outputs/mlruns, and the experiment twostage. The run's mlflow.json says which of MLflow's runs
    it is.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        import mlflow.entities
        import mlflow.pyfunc

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self.mlflow: Any = mlflow
        self.id = ""

    def begin(self, record: Record, anew: bool) -> dict[str, int]:
        """Find the run of MLflow, or make one with options and tags."""
        is_set, usual = self.mlflow.is_tracking_uri_set(), (OUTPUTS / "mlruns").absolute().as_uri()
        uri = self.mlflow.get_tracking_uri() if is_set else usual
        self.client, noted = self.mlflow.MlflowClient(tracking_uri=uri), record.folder / "mlflow.json"
        known = json.loads(text_of(noted)) if noted.is_file() else {}
        if anew:
            self.client.set_terminated(self.id, "FAILED")
        elif known.get("tracking_uri") == uri and self._is_there(known["run_id"]):
            self.id = known["run_id"]
            return {stage: self._count(f"{stage}/{rows.columns[-1]}") for stage, rows in record.histories.items()}
        self.id = self._make(record)
        write_json(noted, {"tracking_uri": uri, "run_id": self.id})
        return {}

    def add(self, stage: str, rows: pd.DataFrame) -> None:
        """A curve for each column."""
        for row in rows.to_dict("records"):
            epoch = int(row.pop("epoch"))
            self._log({(f"{stage}/{name}", epoch): value for name, value in row.items()})

    def complete(self, record: Record) -> None:
        """The model, the figures, and the digest that tells which model they are of."""
        digest = json.loads(text_of(record.model / "model.json"))["digest"]
        with tempfile.TemporaryDirectory() as folder:
            self.mlflow.pyfunc.save_model(
                Path(folder) / "model",
                python_model=str(Path(__file__).with_name("mlflow_model.py")),
                artifacts={"model": str(record.model)},
                pip_requirements=[f"twostage=={__version__}"],
            )
            self.client.log_artifacts(self.id, folder)
        self.client.set_tag(self.id, "twostage.digest", digest)
        if not self._count(list(record.figures)[-1]):
            self._log({(name, 0): value for name, value in record.figures.items()})
        self.client.set_terminated(self.id)

    def close(self) -> None:
        """A run that is not complete is stopped, until its command is given again."""
        if not self.is_complete:
            self.client.set_terminated(self.id, "KILLED")

    def _make(self, record: Record) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "twostage")
        experiment = self.client.get_experiment_by_name(name)
        number = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        tags = {"twostage.run": record.name, "twostage.version": __version__}
        made = str(self.client.create_run(number, run_name=record.name, tags=tags).info.run_id)
        options = [self.mlflow.entities.Param(key, str(value)[:LONGEST]) for key, value in record.options.items()]
        for start in range(0, len(options), MOST_OPTIONS):
            self.client.log_batch(made, params=options[start : start + MOST_OPTIONS])
        return made

    def _is_there(self, run_id: str) -> bool:
        """Is it there, not deleted by somebody? Then it is complete, or goes on."""
        try:
            run = self.client.get_run(run_id).info
        except self.mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        self.is_complete = run.status == "FINISHED"
        if run.lifecycle_stage == "active" and not self.is_complete:
            self.client.update_run(run_id, status="RUNNING")
        return bool(run.lifecycle_stage == "active")

    def _count(self, name: str) -> int:
        return len(self.client.get_metric_history(self.id, name))

    def _log(self, points: dict[tuple[str, int], float]) -> None:
        """Write {(name, step): value}."""
        now = int(1000 * time.time())
        metrics = [self.mlflow.entities.Metric(name, value, now, step) for (name, step), value in points.items()]
        for start in range(0, len(metrics), MOST_AT_ONCE):
            self.client.log_batch(self.id, metrics=metrics[start : start + MOST_AT_ONCE])
