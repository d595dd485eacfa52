"""Is a photograph like those of the training? Its colours on rings around the middle, and its sharpness, tell.

No network is asked: one that has seen nothing but reactions calls everything a reaction. The numbers do not change
when a photograph is turned by quarters or mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from twostage.data.color import to_color, to_srgb
from twostage.data.store import Pixels
from twostage.trust.dispersion import parts_by_specimen

__all__ = ["Typicality", "describe", "described", "upper_limit"]

RINGS = 8
PARTS = 5
AT_A_TIME = 256
LEAST_SPREAD = 0.02
"""Of a number, in optical density or its logarithm: photographs of one lamp differ by less than those of tomorrow."""
LEAST_VARIANCE = 1e-3
"""In any direction, of what is divided by the spread: photographs may all be the same."""
DIMMEST = 0.003
"""Spread within a ring, and difference of neighbours, that is as good as none, optical density."""


@dataclass(frozen=True)
class Typicality:
    """Mean, spread and precision matrix of what describes training photographs, and how far one of their kind may lie.

    A distance is the logarithm of the squared Mahalanobis distance over the number of numbers, so that about zero is
    usual. Beyond `threshold` lies a share `false_alarm` of specimens of the right kind.
    """

    mean: np.ndarray
    spread: np.ndarray
    precision: np.ndarray
    threshold: float
    false_alarm: float

    @classmethod
    def fit(cls, pixels: Pixels, groups: np.ndarray, false_alarm: float) -> tuple[Typicality, np.ndarray]:
        """Learn from N photographs, uint8 (N,H,W,3), of specimens (N,).

        The threshold comes of specimens that are left out in turn, by the farthest photograph of each: the quantile
        where they are enough for one, else the prediction limit for a new one from a normal distribution.

        Returns:
            It, and the distance (N,) of each photograph from those of other specimens.

        Sources: Chen, Wiesel, Eldar and Hero 2010, "Shrinkage algorithms for MMSE covariance estimation" (OAS); Hahn
        and Meeker 1991, "Statistical intervals", section 4.7 (prediction limit).
        """
        numbers, parts = described(pixels), parts_by_specimen(groups, PARTS)
        whole = _described_by(numbers)
        left_out = whole.of_numbers(numbers)
        for part in range(parts.max() + 1) if parts.max() else ():
            kept = parts != part
            left_out[~kept] = _described_by(numbers[kept]).of_numbers(numbers[~kept])
        farthest = np.array([left_out[groups == one].max() for one in np.unique(groups)])
        threshold = upper_limit(farthest, false_alarm)
        return cls(whole.mean, whole.spread, whole.precision, threshold, false_alarm), left_out

    def distance(self, pixels: Pixels) -> np.ndarray:
        """How far photographs (N,H,W,3) lie from those of the training, (N,)."""
        return self.of_numbers(described(pixels))

    def of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """The same of what describes them, (N,D)."""
        standard = (numbers - self.mean) / self.spread
        squares = ((standard @ self.precision) * standard).sum(1)
        return np.log(np.maximum(squares / standard.shape[1], 1e-12))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs; of the symmetric precision matrix the lower triangle."""
        lower = self.precision[np.tril_indices(len(self.mean))]
        arrays = {"mean": self.mean, "spread": self.spread, "precision": lower}
        written = {name: [float(f"{value:.9g}") for value in values] for name, values in arrays.items()}
        return {**written, "threshold": self.threshold, "false_alarm": self.false_alarm}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Typicality:
        """The same as it was fitted, but for what JSON rounds.

        Raises:
            ValueError: The numbers are not as many as belong together.
        """
        mean, spread, lower = (np.array(content[name], float) for name in ("mean", "spread", "precision"))
        count = len(mean)
        if mean.shape != spread.shape or len(lower) != count * (count + 1) // 2 or not (spread > 0).all():
            raise ValueError("mean, spread and precision do not belong together")
        precision = np.zeros((count, count))
        precision[np.tril_indices(count)] = lower
        precision = precision + np.tril(precision, -1).T
        return cls(mean, spread, precision, float(content["threshold"]), float(content["false_alarm"]))


def described(pixels: Pixels) -> np.ndarray:
    """Numbers that describe photographs uint8 (N,H,W,3): (N,6 RINGS + 4).

    Mean optical density of each channel on rings around the middle and the logarithm of its spread there; logarithms of
    the mean difference of neighbours, and of the mean second difference of each channel.
    """
    parts = (torch.from_numpy(np.asarray(pixels[i : i + AT_A_TIME])) for i in range(0, len(pixels), AT_A_TIME))
    found = [describe(part).numpy() for part in parts]
    return np.concatenate(found) if found else np.empty((0, 6 * RINGS + 4))


def describe(pixels: Tensor) -> Tensor:
    """The same of a few photographs, as tensors."""
    density = _densities()[pixels.permute(0, 3, 1, 2).long()]
    count, (height, width) = density.shape[0], density.shape[2:]
    rings = torch.from_numpy(_rings(height, width))
    mean = density.flatten(2) @ rings
    spread = (((density.flatten(2) ** 2) @ rings) - mean**2).clamp_min(0).sqrt()
    across, along = density.diff(dim=3), density.diff(dim=2)
    neighbours = across.abs().mean((1, 2, 3)) + along.abs().mean((1, 2, 3))
    bend = across.diff(dim=3).abs().mean((2, 3)) + along.diff(dim=2).abs().mean((2, 3))
    logs = [(values + DIMMEST).log().reshape(count, -1) for values in (spread, neighbours, bend)]
    return torch.cat([mean.reshape(count, -1), *logs], 1)


@cache
def _densities() -> Tensor:
    """Optical density of each of 256 levels."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None, None], (1, 256, 1, 3))
    return to_color(to_srgb(levels.copy(), torch.device("cpu")), "optical_density")[0, 0, :, 0].double()


@cache
def _rings(height: int, width: int) -> np.ndarray:
    """Share of each pixel in the mean over each ring, (H*W,RINGS); the last holds the corners."""
    y, x = np.meshgrid(*((np.arange(side) * 2 + 1) / side - 1 for side in (height, width)), indexing="ij")
    ring = np.minimum(np.hypot(x, y) / np.sqrt(2) * RINGS, RINGS - 1).astype(int).reshape(-1, 1)
    inside = (ring == np.arange(RINGS)).astype(np.float64)
    return inside / np.maximum(inside.sum(0), 1)


def _described_by(numbers: np.ndarray) -> Typicality:
    """Without a threshold."""
    from sklearn.covariance import OAS  # late: reading needs no scikit-learn

    mean, spread = numbers.mean(0), numbers.std(0) + LEAST_SPREAD
    standard = (numbers - mean) / spread
    covariance = OAS(assume_centered=True).fit(standard).covariance_ + LEAST_VARIANCE * np.eye(len(mean))
    return Typicality(mean, spread, np.linalg.inv(covariance), np.inf, 0.0)


def upper_limit(values: np.ndarray, false_alarm: float) -> float:
    """What a new value exceeds with probability `false_alarm`, from values (S,) of specimens.

    The quantile where they are enough for one, else the prediction limit of a normal distribution; infinite for fewer
    than two. Source: Hahn and Meeker 1991, "Statistical intervals", section 4.7.
    """
    count = len(values)
    rank = int(np.ceil((count + 1) * (1 - false_alarm)))
    if rank <= count:
        return float(np.sort(values)[rank - 1])
    if count < 2:
        return float("inf")
    t = stdtrit(count - 1, 1 - false_alarm)
    return float(values.mean() + t * values.std(ddof=1) * np.sqrt(1 + 1 / count))
