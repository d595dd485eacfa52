"""What every stage of a run starts from: photographs, their split, the bins over the training targets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostage.bins import Bins
from twostage.config import Config
from twostage.data.augment import augment, moves_color
from twostage.data.splits import split_table, splits_table
from twostage.data.store import Photographs, load_photographs
from twostage.errors import DataError, RunError
from twostage.evaluation.baselines import color_ridge
from twostage.evaluation.metrics import rmse
from twostage.files import write_atomically
from twostage.runs import begin_run
from twostage.stages.build import build_classifier, build_regressor
from twostage.stages.two_stage import to_srgb
from twostage.training.device import resolve_device, use_threads
from twostage.training.fit import Examples

__all__ = ["Prepared", "lay_bins", "prepare"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Prepared:
    """What every stage of a run starts from; the same for the same options."""

    config: Config
    folder: Path
    photos: Photographs
    parts: np.ndarray
    bins: Bins
    device: torch.device

    def part(self, name: str) -> np.ndarray:
        """Rows of one part of the split."""
        return np.flatnonzero(self.parts == name)

    def examples(self, part: str, targets: Tensor) -> Examples:
        """Photographs of one part with what to learn of them, targets (all N,...)."""
        rows = self.part(part)
        return Examples(
            [self.photos.table.images[i] for i in rows],
            self.photos.pixels[rows],
            self.photos.table.targets[rows],
            targets[torch.from_numpy(rows)],
        )


def prepare(config: Config, folder: Path) -> Prepared:
    """Load and split the photographs, lay the bins, and try the networks before anything takes long."""
    use_threads(config.runtime.threads)
    device = resolve_device(config.runtime.device)
    build_regressor(config, Bins([0.0, 1.0]))
    if config.method == "two_stage":
        build_classifier(config, Bins([0.0, 1.0]))
    photos = load_photographs(config.data, config.image, config.split, config.seed, config.runtime.progress)
    parts = split_table(
        photos.table,
        validation=config.split.validation,
        calibration=config.split.calibration,
        test=config.split.test,
        seed=config.seed,
        split_column=getattr(config.data, "split_column", None),
        test_column=config.split.column,
        test_values=config.split.test_values,
    )
    targets = photos.table.targets[parts == "train"]
    bins, merged = lay_bins(config, targets)
    for note in (*photos.notes, *merged):
        log.warning("%s", note)
    for name, reason in photos.skipped.items():
        log.warning("left out %s: %s", name, reason)
    begin_run(folder, config)
    _keep_splits(folder / "splits.csv", splits_table(photos.table, parts, photos.skipped))
    prepared = Prepared(config, folder, photos, parts, bins, device)
    _warn_of_color(prepared)
    return prepared


def _keep_splits(path: Path, table: str) -> None:
    """Write which photograph is in which part; a run that goes on must find them as they were."""
    if path.is_file() and path.read_text() != table:
        raise RunError(f"photographs or concentrations changed since {path} was written: choose another run=NAME")
    write_atomically(path, table.encode())


def lay_bins(config: Config, targets: np.ndarray) -> tuple[Bins, list[str]]:
    """The bins over the training targets (N,), and what was merged.

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
    if len(targets) < bins.count:
        raise DataError(
            f"{len(targets)} training images are fewer than {bins.count} bins: lower bins.count or add data"
        )
    outside = int(((targets < bins.edges[0]) | (targets > bins.edges[-1])).sum())
    bins, merged = bins.merged(targets, options.min_images)
    if outside:
        merged.append(
            f"{outside} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: they "
            f"belong to the end bins, with offsets beyond 1; bins.range=null takes the range from the data"
        )
    return bins, merged


def _warn_of_color(prepared: Prepared) -> None:
    """Say by how many units an augmentation moves what a simple colour model reads."""
    options = prepared.config.augment
    if not moves_color(options):
        return
    rows = prepared.part("train")[:400]
    pixels, targets = prepared.photos.pixels[rows], prepared.photos.table.targets[rows]
    moved = augment(to_srgb(pixels, torch.device("cpu")), options, torch.Generator().manual_seed(0))
    changed = (moved.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    model = color_ridge().fit(pixels.mean((1, 2)), targets)
    by = rmse(model.predict(pixels.mean((1, 2))), model.predict(changed.mean((1, 2))))
    log.warning(
        "augment.brightness, gamma or noise move the colour: to a regression on mean colour the training photographs "
        "shift by %.3g%s (RMS); colour is the signal, so leave them at 0 unless your light varies that much",
        by, f" {prepared.config.data.unit}" if prepared.config.data.unit else "",
    )  # fmt: skip
