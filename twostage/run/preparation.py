"""What every stage of a run starts from: photographs, their split, the bins over the training targets."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from twostage.data.augment import Motion
from twostage.data.splits import splits_table
from twostage.data.store import Rows
from twostage.files import as_bytes
from twostage.options.choices import METHODS
from twostage.options.flat import options_that_count
from twostage.options.run import Config
from twostage.run.data import RunData, load_data
from twostage.run.folder import RunFolder
from twostage.run.start import Start, try_networks
from twostage.stages.reading import batches
from twostage.stages.stage import Stage
from twostage.training.course import Examples
from twostage.training.device import resolve_device, use_threads
from twostage.training.distributed import my_device
from twostage.training.threads import Threads

__all__ = ["Prepared", "prepare", "spread"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Prepared(RunData):
    """What every stage of a run starts from; the same for the same options."""

    folder: RunFolder
    splits: str
    device: torch.device
    start: Start | None
    """What the stages that are still to be trained start from; None: from nothing, or from the stage before."""
    threads: Threads

    @property
    def learned_targets(self) -> np.ndarray:
        """Concentrations (N,) as stages count them."""
        return self.bins.move(self.photos.table.targets)

    @property
    def gently(self) -> bool:
        """Are few specimens to change a network that has been taught already?

        Then closed forms come first, chosen by leaving out each specimen, and none is set aside for validation. Weights
        of timm are so used where nothing more is learned: trained on, with a last layer that is not solved anew in the
        end, they read nitrite nearly four times worse.
        """
        train = self.config.train
        taught = self.start is not None or self.folder.start.is_file() or train.epochs == 0
        return self.few and taught and train.refit and not train.patience  # which needs photographs to judge by

    @property
    def training_rows(self) -> np.ndarray:
        """Rows of the photographs that are trained on."""
        parts = ["train", "validation"] if self.gently else ["train"]
        return np.flatnonzero(np.isin(self.parts, parts))

    @property
    def views(self) -> str:
        """What combine.views means for this run: with auto as it was settled when the last layer was solved."""
        asked = self.config.combine.views
        if asked != "auto":
            return asked
        solved = self.folder.stage(METHODS[self.config.method][-1]).refit
        return "1" if solved.is_file() and json.loads(solved.read_text())["views"] == 1 else "8"

    def examples(self, part: str, stage: Stage) -> Examples:
        """Photographs for training or validation with what a stage is to learn of them.

        Where angles move with the photographs, training knows the targets when it has turned them.
        """
        rows = self.training_rows if part == "train" else self.part(part)
        names = [self.photos.table.images[i] for i in rows]
        learned = self.learned_targets[rows]
        scale = self.bins.moved().scale
        examples = Examples(names, self.pixels(rows), learned, stage.targets(learned), scale=scale)
        if part != "train" or not self.config.augment.moves_target:
            return examples
        upright, angles = self.photos.upright, self.photos.table.targets[rows]
        if upright is not None:
            pixels = Rows(upright.array, upright.rows[rows])
            finer = upright.array.shape[1] // self.config.image.size
            examples, angles = replace(examples, pixels=pixels, finer=finer), np.zeros(len(rows))

        def moved(some: np.ndarray, motion: Motion) -> Tensor:
            return stage.targets(self.bins.move(motion.moved(angles[some])))

        return replace(examples, moved=moved)

    def identity(self) -> dict[str, str]:
        """What is trained on what: the options that count, and digests of the photographs and their splits."""
        options = {key: str(value) for key, value in options_that_count(self.config).items()}
        splits = hashlib.blake2b(as_bytes(self.splits), digest_size=8).hexdigest()
        return options | {"photographs": splits, "decoded": self.photos.store.path.name}

    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each channel (C,) over up to 2,000 training photographs, as the networks see them."""
        pixels, sums, count = self.pixels(spread(self.training_rows, 2000)), [], 0
        for batch in batches(pixels, self.config.image.color, torch.device("cpu")):
            images = batch.double()
            sums.append(torch.stack([images.sum((0, 2, 3)), images.square().sum((0, 2, 3))]))
            count += images.numel() // images.shape[1]
        total, squares = torch.stack(sums).sum(0)
        variance = (squares - total.square() / count) / max(1, count - 1)
        return (total / count).float(), variance.clamp_min(0).sqrt().clamp_min(1e-3).float()


def prepare(config: Config, folder: RunFolder) -> Prepared:
    """Load and split the photographs, lay the bins, and try the networks before anything takes long.

    Nothing is written but the store.
    """
    use_threads(config.runtime.threads)
    threads = Threads(config.runtime.threads)
    device = my_device(resolve_device(config.runtime.device))
    start, notes = try_networks(config, folder)
    data = load_data(config)
    splits = splits_table(data.photos.table, data.parts, data.photos.digests, data.photos.skipped)
    notes += [] if start is None else start.refuse_seen(splits, config)
    known = {field.name: getattr(data, field.name) for field in fields(data)} | {"notes": [*notes, *data.notes]}
    return Prepared(**known, folder=folder, splits=splits, device=device, start=start, threads=threads)


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly from the first to the last, for what needs no more."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
