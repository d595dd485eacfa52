"""Both stages together: (bin probabilities, offsets) -> one concentration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from twostage.backbones import symmetry
from twostage.bins import Bins
from twostage.data.augment import dihedral_views
from twostage.data.color import to_color
from twostage.data.store import Pixels
from twostage.stages.classifier import Classifier
from twostage.stages.regressor import Regressor

__all__ = ["COMBINATIONS", "TwoStage", "combine", "different_views", "to_srgb"]


def _mixture(probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    return (probabilities * candidates).sum(1)


def _argmax(probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    return candidates[np.arange(len(candidates)), probabilities.argmax(1)]


def _top2(probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    if probabilities.shape[1] < 2:
        return _argmax(probabilities, candidates)
    smallest = np.partition(probabilities, -2, axis=1)[:, -2, None]
    kept = np.where(probabilities >= smallest, probabilities, 0.0)
    return _mixture(kept / kept.sum(1, keepdims=True), candidates)


COMBINATIONS = {"mixture": _mixture, "argmax": _argmax, "top2": _top2}


def combine(
    bins: Bins,
    probabilities: np.ndarray,
    offsets: np.ndarray,
    method: str = "mixture",
    target: np.ndarray | None = None,
) -> np.ndarray:
    """One concentration per image, float64 (N,).

    Args:
        probabilities: Of each bin, (N,K), rows of sum one.
        offsets: In each bin, (N,K).
        method: "mixture" (sum over bins of probability x concentration there), "argmax" (the likeliest bin alone),
            "top2" (mixture of the two likeliest) or "oracle" (the bin in which `target` (N,) lies).
    """
    candidates = bins.center + bins.half_width * np.asarray(offsets, np.float64)
    if method == "oracle":
        if target is None:
            raise ValueError("oracle needs the true concentrations")
        return candidates[np.arange(len(candidates)), bins.index(target)]
    return COMBINATIONS[method](np.asarray(probabilities, np.float64), candidates)


def to_srgb(pixels: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 photographs (N,H,W,3) -> sRGB in [0, 1], float32 (N,3,H,W) on the device."""
    images = torch.as_tensor(pixels).to(device)
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255.0).contiguous()


def different_views(images: Tensor, networks: Sequence[nn.Module], views: int = 8) -> list[Tensor]:
    """The images alone, or of their 8 turns and flips those that the symmetries of the networks leave to be seen."""
    if views == 1:
        return [images]
    found = {symmetry(network.backbone) for network in networks}  # type: ignore[arg-type]
    step = 8 if found <= {"p4m", "O(2)"} else 4 if "none" not in found else 1
    return dihedral_views(images)[::step]


class TwoStage(nn.Module):
    """A classifier and a regressor over the same bins, or only one of them.

    Without a classifier (the direct method) there is one bin, which is certain; without a regressor every offset is
    zero, the center of its bin.
    """

    def __init__(self, bins: Bins, classifier: Classifier | None, regressor: Regressor | None, color: str) -> None:
        """Raises ValueError without either."""
        if classifier is None and regressor is None:
            raise ValueError("a model needs a classifier, a regressor or both")
        super().__init__()
        self.bins, self.color = bins, color
        self.classifier, self.regressor = classifier, regressor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Bin probabilities (N,K) and offsets (N,K) of images in the network's colour space (N,C,H,W)."""
        probabilities = self.classifier.probabilities(images) if self.classifier else None
        offsets = self.regressor(images)[0] if self.regressor else None
        one_bin, centers = images.new_ones(len(images), 1), images.new_zeros(len(images), self.bins.count)
        return one_bin if probabilities is None else probabilities, centers if offsets is None else offsets

    @torch.no_grad()
    def predict(self, pixels: Pixels, *, views: int = 8, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Bin probabilities and offsets, float64 (N,K), of uint8 photographs (N,H,W,3), averaged over the views."""
        self.eval()
        device = next(self.parameters()).device
        probabilities = np.empty((len(pixels), self.bins.count))
        offsets = np.empty_like(probabilities)
        for start in range(0, len(pixels), batch_size):
            rows = slice(start, start + batch_size)
            images = to_color(to_srgb(pixels[rows], device), self.color)
            networks = [stage.network for stage in (self.classifier, self.regressor) if stage is not None]
            seen = [self(view) for view in different_views(images, networks, views)]
            probabilities[rows] = torch.stack([p.double() for p, _ in seen]).mean(0).cpu().numpy()
            offsets[rows] = torch.stack([o.double() for _, o in seen]).mean(0).cpu().numpy()
        return probabilities, offsets
