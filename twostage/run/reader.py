"""The model that a command was asked to read with, and the table that it was asked to read."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from twostage.files import given_path
from twostage.options.reading import ReadingConfig
from twostage.options.run import Config
from twostage.options.share import ExportConfig
from twostage.predictor import Predictor
from twostage.run.folder import find_run
from twostage.tables.new_photographs import read_new
from twostage.tables.table import Table
from twostage.training.device import use_threads

__all__ = ["find_model", "open_reader", "read_listed", "say_with_what"]

log = logging.getLogger("twostage")


def open_reader(config: ReadingConfig, confidence: float | None = None) -> tuple[Predictor, Path]:
    """The predictor of `config.run`, a run or a model folder, and where that is.

    Args:
        confidence: Of its intervals, instead of that of the training.

    Raises:
        RunError, ModelFolderError: There is no finished model of that name.
        ConfigError: There is no such confidence.
    """
    use_threads(config.runtime.threads)
    folder = find_model(config.run)
    return Predictor.load(folder, config.runtime.device, config.runtime.precision, confidence), folder


def find_model(run: str) -> Path:
    """Where the model of a run is, or of a model folder that is given instead.

    Raises:
        RunError: There is none of that name.
    """
    direct = given_path(run, "run")
    return direct if (direct / "model.json").is_file() else find_run(run).path


def say_with_what(config: ReadingConfig | ExportConfig, predictor: Predictor, folder: Path) -> None:
    """Which run the latest is, and what must be said beside the numbers of a model; when they are there."""
    if config.run == "latest":
        log.info("run=latest is %s", folder.resolve().name)
    for remark in predictor.model.remarks:
        log.warning("%s: %s", folder, remark)


def read_listed(path: str, config: ReadingConfig, trained: Config) -> tuple[Table, pd.DataFrame]:
    """The photographs that a table lists, its columns called as in training unless said, and its further columns.

    Raises:
        DataError: Something in the table cannot be used.
    """
    data = trained.data
    return read_new(
        path,
        config.image_column or data.image_column,
        config.target_column,
        data.target_column,
        config.box_columns,
        data.box_columns or (),
        images=config.images,
        decimal=config.decimal,
        usual_decimal=data.decimal,
    )
