"""TensorBoard: event files in the run's folder, one subfolder for each stage and one for the test set."""

from __future__ import annotations

from typing import Any

import pandas as pd

from twostage.tracking.tracker import Record, Tracker

__all__ = ["TensorBoard"]


class TensorBoard(Tracker):
    """Files cannot be taken back in part, so each command writes those of the run anew, from its first epoch on."""

    def __init__(self) -> None:
        super().__init__()
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter
        self.writers: dict[str, Any] = {}

    def begin(self, record: Record, anew: bool) -> dict[str, int]:
        """Remove the files of earlier commands."""
        self.close()
        self.folder = record.folder / "tensorboard"
        for file in self.folder.glob("*/events.out.tfevents.*"):
            file.unlink()
        return {}

    def add(self, stage: str, rows: pd.DataFrame) -> None:
        """A curve for each column."""
        for row in rows.to_dict("records"):
            epoch = row.pop("epoch")
            for name, value in row.items():
                self._part(stage).add_scalar(str(name), value, epoch)
        self._part(stage).flush()

    def complete(self, record: Record) -> None:
        """A point for each figure."""
        for name, value in record.figures.items():
            self._part("test").add_scalar(f"test/{name}", value, 0)
        self._part("test").flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self.writers.values():
            writer.close()
        self.writers = {}

    def _part(self, name: str) -> Any:
        if name not in self.writers:
            self.writers[name] = self.writer(self.folder / name)
        return self.writers[name]
