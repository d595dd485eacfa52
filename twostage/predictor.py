"""Read new photographs with a trained model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from tqdm import tqdm

from twostage.data.photographs import decode_photographs
from twostage.data.store import Pixels
from twostage.decoding.boxes import boxes_of, same_photograph, windows
from twostage.decoding.decoder import Source
from twostage.decoding.inputs import Photograph, Photographs, chunks_of, count_of, one_of
from twostage.errors import ConfigError, ImageError, suggest
from twostage.hub.models import HUB, download
from twostage.model_folder import TrainedModel, load_model
from twostage.training.device import resolve_device
from twostage.training.precision import set_precision
from twostage.trust.explanation import Explanation, explain
from twostage.trust.prediction import Prediction, predict
from twostage.trust.trust import Trust

__all__ = ["Predictor"]

CHUNK, CHUNK_OF_DEVICE = 32, 128
"""Photographs that are read at a time: on the processor by each thread, on a device by all of it."""
WINDOW = 16_384
"""Boxes among which those of one photograph are brought together, so that it is decoded once."""
AHEAD = 2
"""Chunks that are decoded, or being decoded, while a device reads one."""

_Chunk = tuple[list[Source] | np.ndarray, np.ndarray | None]
"""Photographs, and what to read of each."""


def _pictures(images: list[Source] | np.ndarray) -> list[Source]:
    """Photographs of which those of an array are pictures."""
    if isinstance(images, np.ndarray):
        return [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in images]
    return images


class Predictor:
    """A trained model, ready to read photographs.

    Threads may share one: reading changes nothing of it. The networks are in evaluation mode, in which they keep
    nothing of what passes; what decoding and trust keep from call to call holds for all photographs; an open file or
    image that several threads give is read by one after another. Numbers are those of a predictor of one's own.

    Examples:
        ```python
        from twostage import Predictor

        predictor = Predictor.load("outputs/first", device="cpu")
        prediction = predictor.predict(["a.jpg", "b.jpg"])
        print(prediction.to_frame(["a.jpg", "b.jpg"]))
        prediction.plot(0).savefig("reading.png")
        predictor.explain("a.jpg").save("explained.png")
        ```
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    @classmethod
    def load(
        cls, folder: str | Path, device: str = "auto", precision: str = "float32", confidence: float | None = None
    ) -> Predictor:
        """Load the model of a run ("outputs/latest"), a model folder, or one of the hub ("hf://OWNER/NAME").

        Args:
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            precision: Of the backbones, "float32" or "bfloat16", which some machines compute faster.
            confidence: Of the intervals, between 0 and 1, instead of that of the training (0.9).

        Raises:
            ModelFolderError: There is no complete model.
            DeviceError: No such device.
            ConfigError: No such precision or confidence.
            HubError: The hub has no such model, or cannot be reached.
        """
        if precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision={precision} is not known: {suggest(precision, ('float32', 'bfloat16'))}")
        folder = download(str(folder)) if str(folder).startswith(HUB) else folder
        model = load_model(folder, resolve_device(device))
        if confidence is not None:
            model = replace(model, trust=model.trust.at(confidence))
        if precision == "bfloat16":
            set_precision(model.network.float(), torch.bfloat16)
        return cls(model)

    @property
    def unit(self) -> str:
        """Unit of the concentrations, as given in training; may be empty."""
        return str(self.model.config.data.unit)

    def predict(self, images: Photographs, boxes: ArrayLike | None = None, progress: bool = False) -> Prediction:
        """Read photographs: paths, bytes, open binary files, PIL images, arrays uint8 (H,W,C); or (N,H,W,C) at once.

        They may come in a list, a Series, an array or a generator, of which no more are taken than are read at a time.
        Arrays are sRGB with C = 1, 3 or 4. A photograph that cannot be decoded is refused with its reason; no row is
        left out.

        Args:
            boxes: What to read of each, (N,4): left, top, width and height in pixels of the upright photograph; or
                (N,5), with degrees by which the box is turned about its middle, counter-clockwise. A photograph may
                come many times; it is decoded once: ``predict(["plate.jpg"] * len(boxes), boxes)``. With boxes all
                photographs are taken before the first is read.

        Raises:
            ConfigError: `images` or `boxes` are none of these, or not as many.
        """
        count = count_of(images)
        hidden = None if progress else True  # None: where there is no terminal
        parts = []
        with tqdm(total=count, desc="reading", unit="photo", leave=False, disable=hidden) as bar:
            for part in self.stream(images, boxes):
                parts.append(part)
                bar.update(len(part))
        return Prediction.joined(parts)

    def stream(self, images: Photographs, boxes: ArrayLike | None = None) -> Generator[Prediction, None, None]:
        """Read photographs as `predict` does, and give predictions as they come: some photographs each, in order.

        So any number can be read in the memory of a few: of a generator no more are taken than are being read, 32 for
        each thread. Photographs are decoded while others are read: on the processor every thread decodes and reads its
        own, on a device the threads decode ahead of it.

        Args:
            boxes: As in `predict`; a photograph is decoded once where its boxes are no more than 16,384 rows apart.

        Raises:
            ConfigError: As `predict`, before anything is read, or when a generator gives what is no photograph.
        """
        size = CHUNK if self._on_processor else CHUNK_OF_DEVICE
        if self._on_processor and (count := count_of(images)):
            size = min(size, math.ceil(count / torch.get_num_threads()))  # of few, every thread has its share
        if boxes is None:
            return self._in_order((chunk, None) for chunk in chunks_of(images, size))
        sources, found = [one for chunk in chunks_of(images, CHUNK) for one in _pictures(chunk)], boxes_of(boxes)
        if len(found) != len(sources):
            raise ConfigError(f"{len(sources)} photographs and {len(found)} boxes: give each box its photograph")
        return self._by_photograph(sources, found, size)

    def _by_photograph(self, sources: list[Source], boxes: np.ndarray, size: int) -> Generator[Prediction, None, None]:
        """Photograph after photograph, so that each is decoded once, and brought back into the given order."""
        found = [list(rows) for rows in windows(same_photograph(sources), size, WINDOW)] or [[np.arange(0)]]
        readings = self._in_order(([sources[i] for i in rows], boxes[rows]) for window in found for rows in window)
        for window in found:
            order = np.argsort(np.concatenate(window))
            yield Prediction.joined([next(readings) for _ in window]).select(order)

    @property
    def _on_processor(self) -> bool:
        return next(self.model.network.parameters()).device.type == "cpu"

    def _in_order(self, chunks: Iterable[_Chunk]) -> Generator[Prediction, None, None]:
        """What is read of each chunk, while others are decoded and read."""
        threads = torch.get_num_threads()  # as many as the networks may use, which runtime.threads sets
        if not self._on_processor:
            with ThreadPoolExecutor(1, "decoding") as pool:
                for decoded in _ahead(pool, lambda chunk: self._decode(*chunk, threads=threads), chunks, AHEAD):
                    yield self.read(*decoded)
            return
        # Threads that read each its own chunk wait for nobody. Threads that share a network's every step wait at its
        # end for the last, turning, and on a machine with other work lose a factor of two to five.
        try:
            with ThreadPoolExecutor(threads, "reading", torch.set_num_threads, (1,)) as pool:
                yield from _ahead(pool, lambda chunk: self.read(*self._decode(*chunk, threads=1)), chunks, threads)
        finally:
            torch.set_num_threads(threads)

    def read(self, pixels: Pixels, failed: Mapping[int, str] | None = None) -> Prediction:
        """Read photographs that are brought to the network's size: uint8 sRGB (N,size,size,3).

        This is the one road from pixels to a prediction, for evaluation and for users alike.

        Args:
            failed: Rows that could not be decoded, with the reason; they are refused.
        """
        model, config = self.model, self.model.config
        reading = model.network.read(pixels, views=config.views)
        return predict(
            model.bins,
            pixels,
            reading,
            config.combine.method,
            model.trust,
            failed,
            model.limits,
            recalibration=model.recalibration,
            unit=self.unit,
        )

    def explain(self, photograph: Photograph, box: Sequence[float] | None = None, detail: int = 8) -> Explanation:
        """Show what a reading comes from: the masks, and by how much it moves when parts of the photograph are covered.

        The photograph is read once for each of detail x detail squares.

        Args:
            box: What to read of it, as in `predict`.

        Raises:
            ImageError: The photograph cannot be decoded.
            ConfigError: It is no photograph, or several; or box or detail are none.
        """
        pixels, failed = self._decode(one_of(photograph), None if box is None else boxes_of([box]))
        if failed:
            raise ImageError(failed[0])
        model = replace(self.model, trust=Trust())  # what is covered is unlike the training, and read all the same
        masks = self.masks(pixels)
        looks = None if masks is None else masks[0]
        return explain(pixels[0], looks, self.read(pixels), Predictor(model).read, detail)

    def masks(self, pixels: Pixels) -> np.ndarray | None:
        """Where the model looks in photographs that are brought to the network's size, uint8 sRGB (N,size,size,3).

        Float32 (N,M,h,w), each mask with sum one: the mean over the views with which the model reads, turned back; of
        the regressor, or of the classifier where there is no regressor; of the first of several members. None where the
        pooling has no masks.
        """
        return self.model.network.masks(pixels, views=self.model.config.views)

    def _decode(
        self, images: list[Source] | np.ndarray, boxes: np.ndarray | None = None, threads: int | None = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        settings = self.model.config.image
        if boxes is None and isinstance(images, np.ndarray) and images.shape[1:] == (settings.size, settings.size, 3):
            return np.require(images, requirements=["C", "W"]), {}
        threads = threads or torch.get_num_threads()
        return decode_photographs(_pictures(images), settings.size, settings.fit, boxes=boxes, threads=threads)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[_Chunk], Any], chunks: Iterable[_Chunk], ahead: int
) -> Iterator[Any]:
    """The work on each chunk, in order, while that on so many more is going on or waits; no more of them are taken."""
    waiting: deque[Future[Any]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for one in waiting:  # who stops is not made to wait for them
            one.cancel()
