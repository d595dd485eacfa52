"""Read new photographs with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from tqdm import tqdm

from twostage.data.photographs import decode_photographs
from twostage.data.store import Pixels
from twostage.decoding.boxes import boxes_of, pieces, same_photograph
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

CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""


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
        chunks = chunks_of(images, CHUNK)  # so that a million photographs need no more memory than these
        if boxes is not None:
            return self._predict_boxes([image for chunk in chunks for image in _pictures(chunk)], boxes, progress)
        hidden = None if progress else True  # None: where there is no terminal
        bar = tqdm(total=count_of(images), desc="reading", unit="photo", leave=False, disable=hidden)
        parts = []
        for chunk in chunks:
            parts.append(self.read(*self._decode(chunk)))
            bar.update(len(parts[-1]))
        bar.close()
        return Prediction.joined(parts)

    def _predict_boxes(self, images: list[Source], given: ArrayLike, progress: bool) -> Prediction:
        """Photograph after photograph, so that each is decoded once, and brought back into the given order."""
        boxes = boxes_of(given)
        if len(boxes) != len(images):
            raise ConfigError(f"{len(images)} photographs and {len(boxes)} boxes: give each box its photograph")
        order = list(pieces(same_photograph(images), CHUNK)) or [np.arange(0)]
        parts = []
        bar = tqdm(total=len(images), desc="reading", unit="box", leave=False, disable=None if progress else True)
        for rows in order:
            parts.append(self.read(*self._decode([images[i] for i in rows], boxes[rows])))
            bar.update(len(rows))
        bar.close()
        return Prediction.joined(parts).select(np.argsort(np.concatenate(order)))

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
            config.data.minimum,
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
        self, images: list[Source] | np.ndarray, boxes: np.ndarray | None = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        settings = self.model.config.image
        if boxes is None and isinstance(images, np.ndarray) and images.shape[1:] == (settings.size, settings.size, 3):
            return np.require(images, requirements=["C", "W"]), {}
        # as many threads as the networks may use, which runtime.threads sets
        threads = torch.get_num_threads()
        return decode_photographs(_pictures(images), settings.size, settings.fit, boxes=boxes, threads=threads)
