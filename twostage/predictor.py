"""Read new photographs with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from twostage.bins import Bins
from twostage.data.images import decode_photograph
from twostage.data.photographs import decode_photographs
from twostage.errors import ConfigError, suggest
from twostage.model_folder import TrainedModel, load_model
from twostage.stages.two_stage import combine
from twostage.training.device import resolve_device
from twostage.training.precision import set_precision

__all__ = ["BEYOND", "Prediction", "Predictor", "make_prediction"]

BEYOND = 0.1
"""A concentration this many widths of the end bin beyond the range is out of range; less is within the error."""
CHUNK = 256
"""Photographs decoded, and held in memory, at a time."""


@dataclass(frozen=True)
class Prediction:
    """What was read from N photographs, in the unit of the training table.

    `concentration`, `lower`, `upper` float64 (N,), NaN where refused; lower and upper are NaN throughout for a model
    without intervals. `bin_index` (N,) int64, -1 where refused; `bin_probabilities` (N,K); `offsets` (N,K);
    `status` (N,) of "ok", "out_of_range", "refused"; `reason` (N,) says why a status is not ok.
    """

    bins: Bins
    concentration: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bin_index: np.ndarray
    bin_probabilities: np.ndarray
    offsets: np.ndarray
    status: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.concentration)

    def to_frame(self, images: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per photograph, in order, with the columns of predictions.csv."""
        refused = self.bin_index < 0
        index = np.where(refused, 0, self.bin_index)
        rows = np.arange(len(self))

        def unless_refused(values: np.ndarray) -> np.ndarray:
            return np.where(refused, np.nan, values)

        return pd.DataFrame(
            {
                "image": [str(i) for i in rows] if images is None else list(images),
                "concentration": self.concentration,
                "lower": self.lower,
                "upper": self.upper,
                "bin_index": pd.array([None if i < 0 else int(i) for i in self.bin_index], "Int64"),
                "bin_low": unless_refused(self.bins.edges[index]),
                "bin_high": unless_refused(self.bins.edges[index + 1]),
                "bin_probability": unless_refused(self.bin_probabilities[rows, index]),
                "status": self.status,
                "reason": self.reason,
            }
        )


def make_prediction(
    bins: Bins, probabilities: np.ndarray, offsets: np.ndarray, method: str, failed: dict[int, str] | None = None
) -> Prediction:
    """Combine both stages' outputs (N,K) into a Prediction; `failed` maps rows that could not be read to the reason."""
    count = len(probabilities)
    concentration = combine(bins, probabilities, offsets, method)
    bin_index = probabilities.argmax(1)
    status, reason = np.full(count, "ok", dtype=object), np.full(count, "", dtype=object)
    low = bins.edges[0] - BEYOND * 2 * bins.half_width[0]
    high = bins.edges[-1] + BEYOND * 2 * bins.half_width[-1]
    for i in np.flatnonzero((concentration < low) | (concentration > high)).tolist():
        status[i] = "out_of_range"
        reason[i] = f"outside {bins.edges[0]:g}..{bins.edges[-1]:g}, the range of the training data"
    nothing = ~(np.isfinite(probabilities) & np.isfinite(offsets)).all(1) | ~np.isfinite(concentration)
    no_number = dict.fromkeys(np.flatnonzero(nothing).tolist(), "the network gave no finite number for it")
    probabilities, offsets = probabilities.copy(), offsets.copy()
    for i, why in (no_number | (failed or {})).items():
        status[i], reason[i], concentration[i], bin_index[i] = "refused", why, np.nan, -1
        probabilities[i] = offsets[i] = np.nan
    empty = np.full(count, np.nan)
    return Prediction(
        bins, concentration, empty, empty.copy(), bin_index, probabilities, offsets,
        status.astype(str), reason.astype(str),
    )  # fmt: skip


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
        set_precision(model.network, getattr(torch, precision))
        return cls(model)

    @property
    def unit(self) -> str:
        """Unit of the concentrations, as given in training; may be empty."""
        return str(self.model.config.data.unit)

    def predict(self, images: Sequence[str | Path | Image.Image] | np.ndarray, progress: bool = False) -> Prediction:
        """Read photographs: paths, PIL images, or an array uint8 (N,H,W,C) with C = 1, 3 or 4 in sRGB.

        A photograph that cannot be decoded is refused with its reason; no row is left out.

        Raises:
            ConfigError: `images` is none of these.
        """
        if isinstance(images, str | Path | Image.Image):
            raise ConfigError("predict takes a list of photographs, not one: write [photograph]")
        if not isinstance(images, np.ndarray) and not _is_list_of_photographs(images):
            raise ConfigError("predict takes a list of paths or PIL images, or an array uint8 (N,H,W,C)")
        config, bins = self.model.config, self.model.bins
        probabilities, offsets = np.empty((2, len(images), bins.count))
        failed: dict[int, str] = {}
        bar = tqdm(total=len(images), desc="reading", unit="photo", leave=False, disable=None if progress else True)
        for start in range(0, len(images), CHUNK):  # so that a million photographs need no more memory than these
            rows = slice(start, start + CHUNK)
            pixels, bad = self._decode(images[rows])
            failed |= {start + i: why for i, why in bad.items()}
            probabilities[rows], offsets[rows] = self.model.network.predict(pixels, views=config.combine.views)
            bar.update(len(pixels))
        bar.close()
        return make_prediction(bins, probabilities, offsets, config.combine.method, failed)

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
