"""What every stage of a run starts from: photographs, their split, the bins over the training targets."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from twostage.bins import Bins
from twostage.data.augment import augment, moves_color
from twostage.data.boxes import same_photograph
from twostage.data.color import to_srgb
from twostage.data.duplicates import across_parts, duplicates_message, joined_groups, near_duplicates
from twostage.data.photographs import Photographs, load_photographs
from twostage.data.splits import split_table, splits_table
from twostage.data.store import Rows
from twostage.errors import DataError
from twostage.evaluation.baselines import color_ridge
from twostage.evaluation.metrics import rmse
from twostage.files import as_bytes, given_path
from twostage.options.flat import options_that_count
from twostage.options.run import Config
from twostage.run.bins import lay_bins
from twostage.run.folder import RunFolder
from twostage.run.start import Start, try_networks
from twostage.stages.reading import batches
from twostage.training.course import Examples
from twostage.training.device import resolve_device, use_threads
from twostage.training.distributed import first_process_first, is_first_process, my_device, once
from twostage.trust.intervals import refuse_few

__all__ = ["Prepared", "prepare", "splits_today", "spread"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Prepared:
    """What every stage of a run starts from; the same for the same options."""

    config: Config
    folder: RunFolder
    photos: Photographs
    parts: np.ndarray
    splits: str
    bins: Bins
    notes: list[str]
    device: torch.device
    start: Start | None
    """What the stages that are still to be trained start from; None: from nothing, or from the stage before."""
    leaks: np.ndarray | None
    """Pairs of near-duplicates (M,2) in different parts of the split; None if they were not looked for."""

    def part(self, name: str) -> np.ndarray:
        """Rows of one part of the split."""
        return np.flatnonzero(self.parts == name)

    @property
    def learned_targets(self) -> np.ndarray:
        """Concentrations (N,) as stages count them, from `bins.origin`."""
        return self.bins.difference(self.photos.table.targets, self.bins.origin)

    def examples(self, part: str, targets: Tensor) -> Examples:
        """Photographs of one part with what to learn of them, targets (all N,...)."""
        rows = self.part(part)
        return Examples(
            [self.photos.table.images[i] for i in rows],
            self.pixels(rows),
            self.learned_targets[rows],
            targets[torch.from_numpy(rows)],
        )

    def identity(self) -> dict[str, str]:
        """What is trained on what: the options that count, and digests of the photographs and their splits."""
        options = {key: str(value) for key, value in options_that_count(self.config).items()}
        splits = hashlib.blake2b(as_bytes(self.splits), digest_size=8).hexdigest()
        return options | {"photographs": splits, "decoded": self.photos.store.path.name}

    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each channel (C,) over up to 2,000 training photographs, as the networks see them."""
        pixels, sums, count = self.pixels(spread(self.part("train"), 2000)), [], 0
        for batch in batches(pixels, self.config.image.color, torch.device("cpu")):
            images = batch.double()
            sums.append(torch.stack([images.sum((0, 2, 3)), images.square().sum((0, 2, 3))]))
            count += images.numel() // images.shape[1]
        total, squares = torch.stack(sums).sum(0)
        variance = (squares - total.square() / count) / max(1, count - 1)
        return (total / count).float(), variance.clamp_min(0).sqrt().clamp_min(1e-3).float()

    def pixels(self, rows: np.ndarray) -> Rows:
        """Photographs of the given rows, read from the store when they are asked for."""
        return Rows(self.photos.pixels.array, self.photos.pixels.rows[rows])


def prepare(config: Config, folder: RunFolder) -> Prepared:
    """Load and split the photographs, lay the bins, and try the networks before anything takes long.

    Nothing is written but the store.
    """
    use_threads(config.runtime.threads)
    device = my_device(resolve_device(config.runtime.device))
    start, notes = try_networks(config, folder)
    photos = _loaded(config)
    pairs = _near_duplicates(config, photos)
    photos, parts = _split(config, photos, pairs)
    held = photos.table.select(parts == "calibration")
    refuse_few(config.intervals.method, len(held), held.groups)  # now, not after hours
    train = photos.table.select(parts == "train")
    bins, merged = lay_bins(config, train.targets, train.groups)
    splits = splits_table(photos.table, parts, photos.digests, photos.skipped)
    notes += [] if start is None else start.refuse_seen(splits, config)
    notes += [*photos.notes, *merged, *(f"left out {name}: {reason}" for name, reason in photos.skipped.items())]
    leaks = None if pairs is None else across_parts(pairs, parts)
    if leaks is not None and len(leaks):
        notes.append(duplicates_message(photos.table.images, parts, leaks))
    if moves_color(config.augment):
        notes.append(_color_note(config, photos, np.flatnonzero(parts == "train")[:400]))
    return Prepared(config, folder, photos, parts, splits, bins, notes, device, start, leaks)


def splits_today(config: Config) -> str:
    """The splits.csv that these options would give today; nothing is written but the store.

    Raises:
        NotThereError: The table is not there, or photographs of it are not.
        DataError: The photographs, or their table, cannot be used.
    """
    photos = _loaded(config)
    pairs = _near_duplicates(config, photos) if config.split.duplicates == "group" else None
    photos, parts = _split(config, photos, pairs)
    return splits_table(photos.table, parts, photos.digests, photos.skipped)


def _loaded(config: Config) -> Photographs:
    """The photographs, which the first process brings to the store for all."""
    cache, runtime = given_path(config.runtime.cache_dir, "runtime.cache_dir"), config.runtime
    with first_process_first():
        progress = runtime.progress and is_first_process()
        return load_photographs(config.data, config.image, config.split, config.seed, cache, progress, runtime.threads)


def _near_duplicates(config: Config, photos: Photographs) -> np.ndarray | None:
    """Pairs of near-duplicates (M,2), or None where they are not looked for.

    It is all that is done with the test photographs before the end, and nothing that is trained depends on it.
    """
    if config.split.duplicates == "ignore" or not config.data.scenes_repeat:
        return None
    pairs = once(near_duplicates)(photos.pixels)  # for all must split alike
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
        log.info("split.duplicates=group: %d pairs of near-duplicates leave %d groups", len(pairs), count)
    try:
        parts = split_table(
            table,
            validation=config.split.validation,
            calibration=config.split.calibration,
            test=config.split.test,
            seed=config.seed,
            split_column=config.data.split_column,
            test_column=config.split.column,
            test_values=config.split.test_values,
            folds=config.split.folds,
            fold=config.split.fold,
            train_share=config.split.train_share,
        )
    except DataError as error:
        raise DataError(f"{error}{hint}") from error
    return replace(photos, table=table), parts


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly from the first to the last, for what needs no more."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _color_note(config: Config, photos: Photographs, rows: np.ndarray) -> str:
    """By how many units the augmentation moves what a simple colour model reads in these photographs."""
    pixels = photos.pixels[rows]
    moved = augment(to_srgb(pixels, torch.device("cpu")), config.augment, torch.Generator().manual_seed(0))
    changed = (moved.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    model = color_ridge().fit(pixels.mean((1, 2)), photos.table.targets[rows])
    by = rmse(model.predict(changed.mean((1, 2))) - model.predict(pixels.mean((1, 2))))
    return (
        f"augment.brightness, gamma or noise move the colour: to a regression on mean colour the training photographs "
        f"shift by {f'{by:.3g} {config.data.unit}'.rstrip()} (RMS); colour is the signal, so leave them at 0 unless "
        f"your light varies that much"
    )
