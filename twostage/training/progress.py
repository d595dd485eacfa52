"""What a training tells while it runs, and the table of its epochs."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields

import pandas as pd
from tqdm import tqdm

__all__ = ["Epoch", "Progress", "history_table"]

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv; `validation_rmse` in the unit of the concentration, or in decades."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_rmse: float
    best_rmse: float
    seconds: float
    images_per_second: float


def history_table(history: list[Epoch]) -> str:
    """The history as CSV, one row per epoch."""
    columns = [field.name for field in fields(Epoch)]
    return str(pd.DataFrame([asdict(row) for row in history], columns=columns).to_csv(index=False))


class Progress:
    """A bar with time left on a terminal, about ten lines with it elsewhere, nothing if not wanted."""

    def __init__(self, label: str, epochs: int, images: int, done: int, wanted: bool) -> None:
        self.label, self.epochs, self.wanted = label, epochs, wanted
        self.bar = tqdm(
            total=epochs * images,
            initial=done,
            desc=label,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=None if wanted else True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def images(self, count: int) -> None:
        """So many more were trained on."""
        self.bar.update(count)

    def epoch(self, row: Epoch) -> None:
        """An epoch ended."""
        text = f"epoch {row.epoch}/{self.epochs}, validation RMSE {row.validation_rmse:.4g}"
        self.bar.set_postfix_str(text)
        due = row.epoch == self.epochs or row.epoch % max(1, self.epochs // 10) == 0
        if self.wanted and self.bar.disable and due:
            left = (self.epochs - row.epoch) * row.seconds
            log.info("%s: %s, %.0f images/s, about %.0f s left", self.label, text, row.images_per_second, left)
