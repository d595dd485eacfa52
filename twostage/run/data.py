"""What a run learns from and is judged by: its photographs, their split, the bins over the training targets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from twostage.bins import Bins
from twostage.data.augment import augment, moves_color
from twostage.data.color import to_srgb
from twostage.data.duplicates import across_parts, duplicates_message, joined_groups, near_duplicates
from twostage.data.overview import facts_of, fate, shapes_of
from twostage.data.photographs import Photographs, load_photographs
from twostage.data.sealed import split_sealed
from twostage.data.splits import said_of_validation, split_table, splits_table
from twostage.data.store import Rows
from twostage.decoding.boxes import same_photograph
from twostage.errors import DataError, number_of
from twostage.evaluation.baselines import color_ridge, on_scale
from twostage.evaluation.metrics import rmse
from twostage.files import given_path
from twostage.options.run import Config
from twostage.run.bins import beyond_training, is_few, lay_bins, never_said, rows_of_bins, spanned_decades
from twostage.scale import scale_of
from twostage.tables.table import Table
from twostage.training.device import threads_to_decode
from twostage.training.distributed import first_process_first, is_first_process, once
from twostage.trust.intervals import specimens_needed

__all__ = ["RunData", "load_data", "load_photos", "splits_today", "why_no_intervals"]

log = logging.getLogger("twostage")

MOST_TOLD = 10
"""Photographs that are left out are named one by one up to so many."""


@dataclass(frozen=True)
class RunData:
    """Photographs, the part (N,) of each, and the bins; `notes` are what there is to be said about them."""

    config: Config
    photos: Photographs
    parts: np.ndarray
    bins: Bins
    notes: list[str]
    pairs: np.ndarray | None
    """Pairs of near-duplicates (M,2); None if they were not looked for."""
    cut: str
    """What `image.fit=crop` cuts away, in words; "" where nothing is."""

    def part(self, name: str) -> np.ndarray:
        """Rows of one part of the split."""
        return np.flatnonzero(self.parts == name)

    def pixels(self, rows: np.ndarray) -> Rows:
        """Photographs of the given rows, read from the store when they are asked for."""
        return Rows(self.photos.pixels.array, self.photos.pixels.rows[rows])

    @property
    def split_column(self) -> str | None:
        """The column, or what says the same in the names of folders, that names each photograph's part."""
        return self.config.data.split_column or self.photos.table.split_column

    @property
    def specimens(self) -> np.ndarray:
        """The specimen of each photograph (N,); where none is known, each photograph is one."""
        groups = self.photos.table.groups
        return np.arange(len(self.parts)).astype(str) if groups is None else groups

    @property
    def specimens_learned(self) -> int:
        """Specimens for training and validation."""
        return len(np.unique(self.specimens[np.isin(self.parts, ["train", "validation"])]))

    @property
    def few(self) -> bool:
        """Are the specimens for training and validation so few that none should be set aside to choose by?"""
        return is_few(self.parts, self.photos.table.groups)

    @property
    def leaks(self) -> np.ndarray | None:
        """Pairs of near-duplicates (M,2) in different parts of the split; None if they were not looked for."""
        return None if self.pairs is None else across_parts(self.pairs, self.parts)


def load_data(config: Config) -> RunData:
    """Load and split the photographs and lay the bins; nothing is written but the store.

    Raises:
        DataError: Table, photographs, split or targets cannot be used.
    """
    photos = load_photos(config)
    pairs = _near_duplicates(config, photos)
    photos, parts = _split(config, photos, pairs)
    train = photos.table.select(rows_of_bins(parts, photos.table.groups))
    bins, notes = lay_bins(config, train.targets, train.groups)
    learned = parts.copy()
    learned[rows_of_bins(parts, photos.table.groups)] = "train"
    notes = [*photos.notes, *beyond_training(bins.scale, photos.table.targets, learned), *notes]
    notes += never_said(config.combine.limit, bins, photos.table.targets)
    notes += _left_out(photos.skipped) + _without_intervals(config, photos.table, parts)
    if decades := spanned_decades(config, photos.table.targets):
        notes.append(f"concentrations span {decades:.1f} decades: data.scale=log learns and judges them in percent")
    cut = ""
    if config.image.fit == "crop" and photos.table.paths:
        cut = fate(shapes_of(photos.table, facts_of(photos.table, threads_to_decode(config.runtime.threads))), "crop")
    keeps = "" if config.data.made_by_turning else "; image.fit=stretch keeps all of them"
    notes += [f"{cut}{keeps}"] if cut else []
    data = RunData(config, photos, parts, bins, notes, pairs, cut)
    if data.leaks is not None and len(data.leaks):
        notes.append(duplicates_message(photos.table.images, parts, data.leaks))
    if moves_color(config.augment):
        notes.append(_color_note(config, photos, np.flatnonzero(parts == "train")[:400]))
    return data


def _left_out(skipped: Mapping[str, str]) -> list[str]:
    notes = [f"left out {name}: {reason}" for name, reason in list(skipped.items())[:MOST_TOLD]]
    return notes + [f"left out {len(skipped) - MOST_TOLD} more: splits.csv lists them"] * (len(skipped) > MOST_TOLD)


def _without_intervals(config: Config, table: Table, parts: np.ndarray) -> list[str]:
    """Says, now and not after hours, that there will be no intervals."""
    why = why_no_intervals(config, table, parts)
    if config.intervals.method == "none" or not why:
        return []
    return [f"no intervals: {why}; raise split.calibration or add specimens, else lower and upper stay empty"]


def why_no_intervals(config: Config, table: Table, parts: np.ndarray) -> str:
    """Why a run has no intervals, "" where it has."""
    if config.intervals.method == "none":
        return "intervals.method=none asks for none"
    held = table if config.train.final in ("all", "folds") else table.select(parts == "calibration")
    count = len(held) if held.groups is None else len(np.unique(held.groups))
    needed = specimens_needed(config.intervals.confidence)
    if count >= needed:
        return ""
    of = ("photograph", "photographs") if held.groups is None else ("specimen", "specimens")
    there = f"the calibration part has {number_of(count, *of)}"
    return f"{there}, and a confidence of {config.intervals.confidence:g} needs {needed}"


def splits_today(config: Config) -> str:
    """The splits.csv that these options would give today; nothing is written but the store.

    Raises:
        NotThereError: The table is not there, or photographs of it are not.
        DataError: The photographs, or their table, cannot be used.
    """
    photos = load_photos(config)
    pairs = _near_duplicates(config, photos) if config.split.duplicates == "group" else None
    photos, parts = _split(config, photos, pairs)
    return splits_table(photos.table, parts, photos.digests, photos.skipped)


def load_photos(config: Config) -> Photographs:
    """The photographs, which the first process brings to the store for all."""
    cache, runtime = given_path(config.runtime.cache_dir, "runtime.cache_dir"), config.runtime
    with first_process_first():
        progress = runtime.progress and is_first_process()
        threads = threads_to_decode(runtime.threads)
        return load_photographs(config.data, config.image, config.split, config.seed, cache, progress, threads)


def _near_duplicates(config: Config, photos: Photographs) -> np.ndarray | None:
    """Pairs of near-duplicates (M,2), or None where they are not looked for.

    It is all that is done with the test photographs before the end, and nothing that is trained depends on it.
    """
    if config.split.duplicates == "ignore" or not config.data.scenes_repeat:
        return None
    pairs: np.ndarray = once(near_duplicates)(photos.pixels)  # for all must split alike
    if photos.table.boxes is None:
        return pairs
    photograph = same_photograph(photos.table.paths)  # specimens of one are alike, and boxes in it may overlap
    return pairs[photograph[pairs[:, 0]] != photograph[pairs[:, 1]]]


def _split(config: Config, photos: Photographs, pairs: np.ndarray | None) -> tuple[Photographs, np.ndarray]:
    """The photographs, near-duplicates (M,2) in one group where that is wished for, and the part (N,) of each."""
    table, hint = photos.table, ""
    if pairs is not None and len(pairs) and config.split.duplicates == "group":
        groups = joined_groups(table.images, table.groups, pairs)
        table, count = replace(table, groups=groups), len(np.unique(groups))
        hint = "; near-duplicates are one group: set split.duplicates=warn to leave them apart"
        found, left = number_of(len(pairs), "pair", "pairs"), number_of(count, "group", "groups")
        log.info("split.duplicates=group: %s of near-duplicates leave %s", found, left)
    if table.split_column and config.split.folds and not config.split.sealed:
        raise DataError(
            "split.folds draws the test set, and the folders train/ and test/ name it: give one of them as data.root, "
            "or no folds"
        )
    column = config.data.split_column or table.split_column
    by_folds = config.train.final in ("all", "folds")
    try:
        parts = (split_sealed if config.split.sealed else split_table)(
            table,
            validation=config.split.validation,
            calibration=0.0 if by_folds else config.split.calibration,
            test=config.split.test,
            seed=config.seed,
            split_column=column,
            test_column=config.split.column,
            test_values=config.split.test_values,
            folds=config.split.folds,
            fold=config.split.fold,
            train_share=config.split.train_share,
            decimal=config.data.decimal,
        )
    except DataError as error:
        raise DataError(f"{error}{hint}") from error
    if by_folds:
        parts[parts == "test"] = "train"
    return replace(photos, table=table, notes=[*photos.notes, *said_of_validation(table, column)]), parts


def _color_note(config: Config, photos: Photographs, rows: np.ndarray) -> str:
    """By how many units the augmentation moves what a simple colour model reads in these photographs."""
    pixels = photos.pixels[rows]
    moved = augment(to_srgb(pixels, torch.device("cpu")), config.augment, torch.Generator().manual_seed(0))
    changed = (moved.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    scale = scale_of(config.data.scale, config.bins.period)
    model = on_scale(color_ridge(), scale).fit(pixels.mean((1, 2)), photos.table.targets[rows])
    by = rmse(scale.apart(model.predict(changed.mean((1, 2))), model.predict(pixels.mean((1, 2)))))
    return (
        f"augment.brightness, gamma or noise move the colour: to a regression on mean colour the training photographs "
        f"shift by {f'{by:.3g} {config.data.unit}'.rstrip()} (RMS); colour is the signal, so leave them at 0 unless "
        f"your light varies that much"
    )
