"""Standards: photographs of known concentration, read with a finished model to see how it does today."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from twostage.bins import Bins
from twostage.data.photographs import decode_photographs
from twostage.errors import DataError, number_of, some
from twostage.evaluation.metrics import rmse
from twostage.files import given_path
from twostage.model_folder import TrainedModel, described_folder
from twostage.options.reading import StandardsConfig
from twostage.options.run import Config
from twostage.predictor import Predictor
from twostage.run.reader import open_reader, read_listed, say_with_what
from twostage.tables.header import column_called
from twostage.tables.table import Table
from twostage.trust.prediction import Prediction
from twostage.trust.trust import Judged

__all__ = ["Standards", "read_standards"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Standards:
    """A model and the N standards that it could read.

    `folder` is where its model.json is; `unlike` says how many are unlike the photographs of the training, `refused`
    how many were not read.
    """

    model: TrainedModel
    folder: Path
    table: str
    judged: Judged
    prediction: Prediction
    unlike: int
    refused: int

    @property
    def name(self) -> str:
        """Of the model: its run, or its folder."""
        path = self.folder.resolve()
        return path.parent.name if path.name == "model" else path.name

    @property
    def unit(self) -> str:
        """Of errors on the scale."""
        return self.model.bins.scale.unit(self.model.config.data.unit)

    @property
    def combination(self) -> str:
        """How bins and offsets become one concentration."""
        return str(self.model.config.combine.method)

    @property
    def rmse(self) -> float:
        """Over all photographs, in the unit of the concentration."""
        return rmse(self.model.bins.difference(self.prediction.concentration, self.judged.target))

    def by_specimen(self) -> pd.DataFrame:
        """A row for each specimen: its photographs, means of target and concentration, and its error on the scale."""
        scale = self.model.bins.scale
        read, wanted = self.prediction.concentration, self.judged.target
        if scale.period is not None:
            read, wanted = self.judged.named(scale, read)
        rows = pd.DataFrame({"specimen": self.judged.groups, "target": wanted, "concentration": read})
        grouped = rows.groupby("specimen", sort=True)
        table = grouped.mean().transform(scale.home).assign(error=self.judged.errors(self.model.bins, self.combination))
        table.insert(0, "photographs", grouped.size())
        return table.reset_index()


def read_standards(config: StandardsConfig) -> Standards:
    """Read the standards of `config.table` with the model of `config.run`.

    Raises:
        DataError: The table names no concentration or specimen for a row, a standard lies outside the bins, or none
            can be read.
        ModelFolderError: No finished model of that run.
    """
    predictor, run = open_reader(config)
    model = predictor.model
    table, groups = _table(config, model.config)
    _refuse_outside(model.bins, table, groups)
    boxes, settings = table.boxes, model.config.image
    threads = torch.get_num_threads()
    pixels, failed = decode_photographs(table.paths, settings.size, settings.fit, boxes=boxes, threads=threads)
    flagging = replace(model, trust=replace(model.trust, unlike="flag"))  # a new day may be unlike, and is to be judged
    prediction = Predictor(flagging).read(pixels, failed)
    distance, known = model.trust.distance(pixels), model.trust.typicality
    read = prediction.is_read
    if not read.any():
        raise DataError(f"none of the {len(table)} standards can be read: {prediction.reason[0]}")
    say_with_what(config, predictor, run)
    if not read.all():
        why = [f"{table.images[i]} ({prediction.reason[i]})" for i in np.flatnonzero(~read)]
        log.warning("%s not read and left out: %s", number_of(len(why), "standard was", "standards were"), some(why, 3))
    judged = Judged(prediction.reading, distance, table.targets, groups)[read]
    if judged.specimens == 1:
        log.warning("one specimen cannot tell its own error from that of the day: three or more are better")
    again = sorted(set(judged.groups.tolist()) & set(model.description.get("standards", [])))
    if again:
        log.warning(
            "the model was recalibrated with specimens of these names, and may read them too well: %s", some(again)
        )
    unlike = 0 if known is None else int((distance[read] > known.threshold).sum())
    name = Path(config.table).name
    return Standards(model, described_folder(run), name, judged, prediction.select(read), unlike, int((~read).sum()))


def _table(config: StandardsConfig, trained: Config) -> tuple[Table, np.ndarray]:
    """The standards and their specimens, (N,)."""
    data = trained.data
    table, further = read_listed(config.table, config, trained)
    unknown = [table.images[i] for i in np.flatnonzero(np.isnan(table.targets))]
    if len(unknown) == len(table):
        wanted = config.target_column or data.target_column
        raise DataError(
            f"{config.table}: no column '{wanted}' with concentrations, and a standard is a photograph whose "
            f"concentration is known: name the column with target_column=NAME"
        )
    if unknown:
        raise DataError(f"{config.table}: no concentration for {some(unknown, 3)}: fill it in, or leave the row out")
    return table, _specimens(config, trained, table, further)


def _specimens(config: StandardsConfig, trained: Config, table: Table, further: pd.DataFrame) -> np.ndarray:
    """The specimen of each standard, (N,), each of one concentration."""
    path, notes = given_path(config.table, "table"), list[str]()
    usual = config.group_column or getattr(trained.data, "group_column", None)
    names = [str(name) for name in further.columns]
    column = column_called(usual, names, path, notes) if usual else None
    for note in notes:
        log.warning("%s", note)
    if column is None:
        if config.group_column:
            raise DataError(f"{path}: no column '{config.group_column}' for specimens; there are {some(names, 8)}")
        log.warning(
            "%s: no column names specimens, so each photograph counts as one; if several show the same specimen, name "
            "it with group_column=NAME",
            path,
        )
        return np.array(table.images, str)
    groups = further[column].to_numpy(str)
    empty = [table.images[i] for i in np.flatnonzero(groups == "")]
    if empty:
        raise DataError(f"{path}: column '{column}' names no specimen for {some(empty, 3)}")
    levels = pd.Series(table.targets).groupby(groups).nunique()
    if (levels > 1).any():  # as in training, where a group may hold a series
        log.warning(
            "%s: specimens with more than one concentration: %s; of each the mean counts, read and known",
            *(path, some(levels.index[levels > 1], 3)),
        )
    return groups


def _refuse_outside(bins: Bins, table: Table, groups: np.ndarray) -> None:
    low, high = bins.edges[[0, -1]]
    targets = bins.scale.home(table.targets)  # on a circle all lie inside
    outside = (targets < low) | (targets > high)
    if outside.any():
        levels = dict(zip(groups[outside], table.targets[outside], strict=True))
        raise DataError(
            f"standards outside {low:g}..{high:g}, the bins of the model: "
            f"{some((f'{name} ({value:g})' for name, value in levels.items()), 3)}; leave them out"
        )
