"""What every stage of a run starts from: photographs, their split, the bins over the training targets."""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from twostage.bins import Bins
from twostage.data.augment import augment, moves_color
from twostage.data.color import channels, to_color
from twostage.data.duplicates import across_parts, duplicates_message, joined_groups, near_duplicates
from twostage.data.photographs import Photographs, load_photographs
from twostage.data.splits import changed_photographs, split_table, splits_table
from twostage.data.store import Rows
from twostage.errors import DataError, RunError, some
from twostage.evaluation.baselines import color_ridge
from twostage.evaluation.metrics import rmse
from twostage.files import write_atomically
from twostage.options.flat import options_that_count
from twostage.options.run import METHODS, Config
from twostage.run.folder import begin_run, weights_file
from twostage.run.start import Start, initialize, load_start
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.two_stage import to_srgb
from twostage.training.course import Examples
from twostage.training.device import resolve_device, use_threads
from twostage.training.distributed import first_process_first, from_first_process, is_first_process, my_device

__all__ = ["Prepared", "lay_bins", "prepare", "settle", "spread", "try_networks"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Prepared:
    """What every stage of a run starts from; the same for the same options."""

    config: Config
    folder: Path
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

    def examples(self, part: str, targets: Tensor) -> Examples:
        """Photographs of one part with what to learn of them, targets (all N,...)."""
        rows = self.part(part)
        return Examples(
            [self.photos.table.images[i] for i in rows],
            self.pixels(rows),
            self.photos.table.targets[rows],
            targets[torch.from_numpy(rows)],
        )

    def identity(self) -> dict[str, str]:
        """What is trained on what: the options that count, and digests of the photographs and their splits."""
        options = {key: str(value) for key, value in options_that_count(self.config).items()}
        splits = hashlib.blake2b(self.splits.encode(), digest_size=8).hexdigest()
        return options | {"photographs": splits, "decoded": self.photos.store.path.name}

    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each channel (C,) over up to 2,000 training photographs, as the networks see them."""
        pixels, sums, count = self.pixels(spread(self.part("train"), 2000)), [], 0
        for start in range(0, len(pixels), 64):  # all at once would be gigabytes
            srgb = to_srgb(pixels[start : start + 64], torch.device("cpu"))
            images = to_color(srgb, self.config.image.color).double()
            sums.append(torch.stack([images.sum((0, 2, 3)), images.square().sum((0, 2, 3))]))
            count += images.numel() // images.shape[1]
        total, squares = torch.stack(sums).sum(0)
        variance = (squares - total.square() / count) / max(1, count - 1)
        return (total / count).float(), variance.clamp_min(0).sqrt().clamp_min(1e-3).float()

    def pixels(self, rows: np.ndarray) -> Rows:
        """Photographs of the given rows, read from the store when they are asked for."""
        return Rows(self.photos.pixels.array, self.photos.pixels.rows[rows])


def prepare(config: Config, folder: Path) -> Prepared:
    """Load and split the photographs, lay the bins, and try the networks before anything takes long.

    Nothing is written but the store.
    """
    use_threads(config.runtime.threads)
    device = my_device(resolve_device(config.runtime.device))
    start, notes = try_networks(config, folder)
    cache = Path(config.runtime.cache_dir).expanduser()
    with first_process_first():
        progress = config.runtime.progress and is_first_process()
        photos = load_photographs(
            config.data, config.image, config.split, config.seed, cache, progress, config.runtime.threads
        )
    pairs = _near_duplicates(config, photos)
    photos, parts = _split(config, photos, pairs)
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


def _near_duplicates(config: Config, photos: Photographs) -> np.ndarray | None:
    """Pairs of near-duplicates (M,2), or None where they are not looked for.

    It is all that is done with the test photographs before the end, and nothing that is trained depends on it.
    """
    # each simulated photograph is drawn from random numbers of its own: no scene is there twice
    if config.split.duplicates == "ignore" or config.data.kind == "simulated":
        return None
    # found once, for all must split alike
    found: np.ndarray = from_first_process(near_duplicates(photos.pixels) if is_first_process() else None)
    return found


def _split(config: Config, photos: Photographs, pairs: np.ndarray | None) -> tuple[Photographs, np.ndarray]:
    """The photographs, near-duplicates (M,2) in one group where that is wished for, and the part (N,) of each."""
    table, hint = photos.table, ""
    if pairs is not None and len(pairs) and config.split.duplicates == "group":
        groups = joined_groups(table.images, table.groups, pairs)
        table, count = replace(table, groups=groups), len(np.unique(groups))
        hint = "; near-duplicates are one group: set split.duplicates=warn to leave them apart"
        if is_first_process():
            log.info("split.duplicates=group: %d pairs of near-duplicates leave %d groups", len(pairs), count)
    try:
        parts = split_table(
            table,
            validation=config.split.validation,
            calibration=config.split.calibration,
            test=config.split.test,
            seed=config.seed,
            split_column=getattr(config.data, "split_column", None),
            test_column=config.split.column,
            test_values=config.split.test_values,
            folds=config.split.folds,
            fold=config.split.fold,
            train_share=config.split.train_share,
        )
    except DataError as error:
        raise DataError(f"{error}{hint}") from error
    return replace(photos, table=table), parts


def _needs_start(config: Config, untrained: list[str]) -> bool:
    """Is a stage still to be trained that does not start from the one before?"""
    warm = config.method == "two_stage" and config.regressor.warm_start and not config.regressor.backbone
    return bool(set(untrained) - {"regressor" if warm else ""})


def try_networks(config: Config, folder: Path) -> tuple[Start | None, list[str]]:
    """Build the stages, with what those still to be trained start from; returns that, and what there is to say."""
    untrained = [name for name in METHODS[config.method] if not weights_file(folder, name).is_file()]
    start = load_start(config) if _needs_start(config, untrained) else None
    builders: dict[str, Any] = {"classifier": build_classifier, "regressor": build_regressor}
    mean, std = torch.zeros(channels(config.image.color)), torch.ones(channels(config.image.color))
    bins = Bins([0.0, 1.0])
    networks = {name: builders[name](config, bins).network for name in METHODS[config.method]}
    notes = [initialize(networks[name], config, name, mean, std, start) for name in untrained]
    return start, list(dict.fromkeys(chain(*notes)))


def settle(prepared: Prepared) -> None:
    """Write the options, and which photograph is in which part; a run that goes on must find them as they were.

    Then say what there is to be said about them.

    Raises:
        RunError: Photographs or concentrations changed; the message names them.
    """
    path, config = prepared.folder / "splits.csv", prepared.config
    before = path.read_text() if path.is_file() else prepared.splits
    if before != prepared.splits:
        changed = some(changed_photographs(prepared.splits, before))
        if config.resume != "force":
            raise RunError(
                f"photographs or concentrations changed since {path} was written: {changed}; choose another run=NAME, "
                f"or go on all the same with resume=force"
            )
        _refuse_other_bins(prepared, before)
        log.warning("resume=force: the run goes on with other photographs or concentrations: %s", changed)
    if prepared.start is not None:
        _keep_start(prepared.start, prepared)
    begin_run(prepared.folder, config)
    write_atomically(path, prepared.splits.encode())
    log.info("photographs: %s", prepared.photos.store)
    for note in prepared.notes:
        log.warning("%s", note)


def _keep_start(start: Start, prepared: Prepared) -> None:
    """Note in start.csv which photographs the run has learned from before it began."""
    path, now = prepared.folder / "start.csv", start.learned.to_csv(index=False)
    if path.is_file() and path.read_text() != now and prepared.config.resume != "force":
        raise RunError(
            f"{start.folder}, from which run '{prepared.folder.name}' started, was trained anew since: choose another "
            f"run=NAME, or go on all the same with resume=force"
        )
    write_atomically(path, now.encode())


def _refuse_other_bins(prepared: Prepared, before: str) -> None:
    """What is trained already knows the bins, which other photographs may move."""
    splits = pd.read_csv(io.StringIO(before), dtype=str, keep_default_na=False)
    train = splits[splits["split"] == "train"]
    groups = train["group"].to_numpy(str) if "group" in train else None
    edges = lay_bins(prepared.config, train["target"].to_numpy(np.float64), groups)[0].edges
    if not np.array_equal(edges, prepared.bins.edges):
        raise RunError(
            f"these photographs or concentrations move the edges of the bins, from {edges.tolist()} to "
            f"{prepared.bins.edges.tolist()}: choose another run=NAME"
        )


def lay_bins(config: Config, targets: np.ndarray, groups: np.ndarray | None = None) -> tuple[Bins, list[str]]:
    """The bins over the training targets (N,) and their groups, and what was merged.

    Raises:
        DataError: All targets are equal, or there are fewer images than bins.
    """
    options = config.bins
    if np.ptp(targets) == 0:
        raise DataError(f"all {len(targets)} training targets are {targets[0]:g}: there is nothing to learn")
    low, high = options.range or (float(targets.min()), float(targets.max()))
    if config.method == "direct":
        edges = options.edges or [low, high]
        return Bins([edges[0], edges[-1]]), []
    if options.edges:
        bins = Bins(options.edges)
    elif options.scheme == "quantile":
        bins = Bins.quantile(targets, options.count, low, high)
    else:
        bins = Bins.uniform(low, high, options.count)
    if len(targets) < bins.count and options.min_images:
        raise DataError(
            f"{len(targets)} training images are fewer than {bins.count} bins: lower bins.count or add data"
        )
    outside = int(((targets < bins.edges[0]) | (targets > bins.edges[-1])).sum())
    bins, merged = bins.merged(targets, options.min_images)
    if groups is not None:
        bins, more = bins.merged(targets, options.min_groups, groups)
        merged += more
    if bins.count == 1:
        merged.append("one bin is left, where a classifier has nothing to learn: method=direct does without it")
    if outside:
        merged.append(
            f"{outside} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: they "
            f"belong to the end bins, with offsets beyond 1; bins.range=null takes the range from the data"
        )
    return bins, merged


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly from the first to the last, for what needs no more."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _color_note(config: Config, photos: Photographs, rows: np.ndarray) -> str:
    """By how many units the augmentation moves what a simple colour model reads in these photographs."""
    pixels, targets = photos.pixels[rows], photos.table.targets[rows]
    moved = augment(to_srgb(pixels, torch.device("cpu")), config.augment, torch.Generator().manual_seed(0))
    changed = (moved.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    model = color_ridge().fit(pixels.mean((1, 2)), targets)
    by = rmse(model.predict(pixels.mean((1, 2))), model.predict(changed.mean((1, 2))))
    return (
        f"augment.brightness, gamma or noise move the colour: to a regression on mean colour the training photographs "
        f"shift by {f'{by:.3g} {config.data.unit}'.rstrip()} (RMS); colour is the signal, so leave them at 0 unless "
        f"your light varies that much"
    )
