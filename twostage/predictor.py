"""Read new photographs with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from twostage.data.boxes import boxes_of, pieces, same_photograph
from twostage.data.images import decode_photograph
from twostage.data.photographs import decode_photographs
from twostage.data.store import Pixels
from twostage.errors import ConfigError, suggest
from twostage.model_folder import TrainedModel, load_model
from twostage.training.device import resolve_device
from twostage.training.precision import set_precision
from twostage.trust.prediction import Prediction, predict

__all__ = ["Predictor"]

CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""


def _is_list_of_photographs(images: object) -> bool:
    return isinstance(images, Sequence) and all(isinstance(image, str | Path | Image.Image) for image in images)


class Predictor:
    """A trained model, ready to read photographs."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", precision: str = "float32") -> Predictor:
        """Load the model of a run ("outputs/latest") or a model folder.

        Args:
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            precision: Of the backbones, "float32" or "bfloat16", which some machines compute faster.

        Raises:
            ModelFolderError: There is no complete model.
            DeviceError: No such device.
            ConfigError: No such precision.
        """
        if precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision={precision} is not known: {suggest(precision, ('float32', 'bfloat16'))}")
        model = load_model(folder, resolve_device(device))
        if precision == "bfloat16":
            set_precision(model.network.float(), torch.bfloat16)
        return cls(model)

    @property
    def unit(self) -> str:
        """Unit of the concentrations, as given in training; may be empty."""
        return str(self.model.config.data.unit)

    def predict(
        self,
        images: Sequence[str | Path | Image.Image] | np.ndarray,
        boxes: np.ndarray | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Read photographs: paths, PIL images, or an array uint8 (N,H,W,C) with C = 1, 3 or 4 in sRGB.

        A photograph that cannot be decoded is refused with its reason; no row is left out.

        Args:
            boxes: What to read of each, (N,4): left, top, width and height in pixels of the upright photograph; or
                (N,5), with degrees by which the box is turned about its middle, counter-clockwise. A photograph may
                come many times; it is decoded once: ``predict(["plate.jpg"] * len(boxes), boxes)``.

        Raises:
            ConfigError: `images` or `boxes` are none of these, or not as many.
        """
        if isinstance(images, str | Path | Image.Image):
            raise ConfigError("predict takes a list of photographs, not one: write [photograph]")
        if not isinstance(images, np.ndarray) and not _is_list_of_photographs(images):
            raise ConfigError("predict takes a list of paths or PIL images, or an array uint8 (N,H,W,C)")
        if boxes is not None:
            return self._predict_boxes(list(images), boxes, progress)
        parts = []
        bar = tqdm(total=len(images), desc="reading", unit="photo", leave=False, disable=None if progress else True)
        # in chunks, so that a million photographs need no more memory than these; one chunk even of none
        for start in range(0, max(1, len(images)), CHUNK):
            parts.append(self.read(*self._decode(images[start : start + CHUNK])))
            bar.update(len(parts[-1]))
        bar.close()
        return Prediction.joined(parts)

    def _predict_boxes(self, images: list[Any], boxes: np.ndarray, progress: bool) -> Prediction:
        """Photograph after photograph, so that each is decoded once, and brought back into the given order."""
        boxes = boxes_of(boxes)
        if len(boxes) != len(images):
            raise ConfigError(f"{len(images)} photographs and {len(boxes)} boxes: give each box its photograph")
        images = [Image.fromarray(image) if isinstance(image, np.ndarray) else image for image in images]
        order = list(pieces(same_photograph(images), CHUNK)) or [np.arange(0)]
        settings, parts = self.model.config.image, []
        bar = tqdm(total=len(images), desc="reading", unit="box", leave=False, disable=None if progress else True)
        for rows in order:
            sources, threads = [images[i] for i in rows], torch.get_num_threads()
            pixels = decode_photographs(sources, settings.size, settings.fit, boxes=boxes[rows], threads=threads)
            parts.append(self.read(*pixels))
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
        return predict(model.bins, pixels, reading, config.combine.method, model.intervals, failed)

    def _decode(self, images: Sequence[str | Path | Image.Image] | np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        if isinstance(images, np.ndarray):
            return self._from_array(images), {}
        settings = self.model.config.image
        # as many threads as the networks may use, which runtime.threads sets
        return decode_photographs(images, settings.size, settings.fit, threads=torch.get_num_threads())

    def _from_array(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape[1:]:
            raise ConfigError(f"an array of photographs must be uint8 (N,H,W,C), not {images.dtype} {images.shape}")
        settings = self.model.config.image
        if images.shape[1:] == (settings.size, settings.size, 3):
            return np.require(images, requirements=["C", "W"])
        pictures = [Image.fromarray(image[..., 0] if images.shape[-1] == 1 else image) for image in images]
        squares = [decode_photograph(picture, settings.size, settings.fit) for picture in pictures]
        return np.stack(squares) if squares else np.zeros((0, settings.size, settings.size, 3), np.uint8)
