"""The model that is served: photographs are decoded side by side, and one thread reads all that wait at a time."""

from __future__ import annotations

import asyncio
import base64
import io
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from twostage.data.images import decode_photograph
from twostage.errors import ImageError
from twostage.predictor import Predictor
from twostage.report.masks_figure import masks_over
from twostage.terminal import printable
from twostage.trust.status import Status

__all__ = ["AT_ONCE", "Reader", "data_url"]

AT_ONCE = 64
"""Photographs after which a batch takes in no further request."""
SHOWN = 256
"""Pixels that the side of a picture has at least, so that outlines are thin."""


@dataclass(frozen=True)
class _Waiting:
    """The photographs of one request, uint8 (N,size,size,3), and where their rows are to go."""

    pixels: np.ndarray
    pictures: bool
    rows: Future[list[dict[str, Any]]] = field(default_factory=Future)


class Reader:
    """Reads photographs for many requests at a time with one model."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._threads = max(1, torch.get_num_threads())
        self._decoders = ThreadPoolExecutor(self._threads, "decode")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="read", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """End the threads, after what is waiting has been read."""
        self._queue.put(None)
        self._worker.join()
        self._decoders.shutdown()

    async def read(self, files: Sequence[tuple[str, IO[bytes]]], pictures: bool = False) -> list[dict[str, Any]]:
        """One row for each file, given with its name, in order; a file that cannot be decoded is refused.

        Args:
            pictures: Each row says what the model saw.
        """
        decoded: list[np.ndarray | str] = []
        for start in range(0, len(files), self._threads):  # not all at once: other requests take turns
            some = files[start : start + self._threads]
            decoded += await asyncio.gather(*(self._decoded(file) for _, file in some))
        good = [one for one in decoded if not isinstance(one, str)]
        read = iter(await self._rows(np.stack(good), pictures) if good else ())
        rows = [self._refused(one) if isinstance(one, str) else next(read) for one in decoded]
        return [row | {"image": printable(name)} for row, (name, _) in zip(rows, files, strict=True)]

    async def _decoded(self, file: IO[bytes]) -> np.ndarray | str:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, file)

    def _decode(self, file: IO[bytes]) -> np.ndarray | str:
        """The pixels, or why there are none."""
        image = self.predictor.model.config.image
        try:
            return decode_photograph(file.read(), image.size, image.fit)
        except ImageError as error:
            return printable(str(error)).removeprefix("image: ")

    async def _rows(self, pixels: np.ndarray, pictures: bool) -> list[dict[str, Any]]:
        waiting = _Waiting(pixels, pictures)
        self._queue.put(waiting)
        return await asyncio.wrap_future(waiting.rows)

    def _refused(self, why: str) -> dict[str, Any]:
        nothing = [None] * self.predictor.model.bins.count
        return {"status": Status.REFUSED.value, "reason": why, "bin_probabilities": nothing}

    def _work(self) -> None:
        """Whoever comes while a batch is read is in the next one, so nobody waits for a batch to fill."""
        goes_on = True
        while goes_on:
            batch: list[_Waiting] = []
            while goes_on and sum(len(one.pixels) for one in batch) < AT_ONCE and not (batch and self._queue.empty()):
                waiting = self._queue.get()
                goes_on = waiting is not None
                if waiting is not None and waiting.rows.set_running_or_notify_cancel():
                    batch.append(waiting)
            self._answer(batch)

    def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            rows = self._read(np.concatenate([one.pixels for one in batch]))
            for one in batch:
                mine, rows = rows[: len(one.pixels)], rows[len(one.pixels) :]
                shown = self._pictures(one.pixels) if one.pictures else [None] * len(mine)
                one.rows.set_result([row | {"picture": url} for row, url in zip(mine, shown, strict=True)])
        except Exception as error:  # of one, or of being many: the others get their answer
            if len(batch) == 1:
                batch[0].rows.set_exception(error)
                return
            for one in batch:
                if not one.rows.done():
                    self._answer([one])

    def _read(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        prediction = self.predictor.predict(pixels)  # each thread its own, so that none waits for another
        frame = prediction.to_frame()
        rows: list[Any] = frame.astype(object).where(frame.notna(), None).to_dict("records")
        said = [[None if np.isnan(p) else float(p) for p in one] for one in prediction.bin_probabilities]
        return [row | {"bin_probabilities": one} for row, one in zip(rows, said, strict=True)]

    def _pictures(self, pixels: np.ndarray) -> list[str]:
        masks = self.predictor.masks(pixels)
        larger = -(-SHOWN // pixels.shape[1])
        shown = pixels.repeat(larger, 1).repeat(larger, 2)
        return [data_url(one if masks is None else masks_over(one, masks[i])) for i, one in enumerate(shown)]


def data_url(pixels: np.ndarray) -> str:
    """A picture uint8 (H,W,3) as a text that a page can show."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
