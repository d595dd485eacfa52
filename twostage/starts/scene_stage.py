"""What a network is taught on random scenes: where the reagent is and what surrounds it, and how dense it is."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.data.camera import Photographed
from twostage.stages.network import Network
from twostage.stages.stage import Learner, MeanOfBatch

__all__ = ["CELLS", "SceneStage", "targets_of"]

CELLS = 32
"""Side of the maps of zones and surroundings."""
FULL_DENSITY = 1.0
"""Optical density in which errors are counted."""


class SceneStage(Learner):
    """Masks 0 to 2 learn to lie on the zones, on what surrounds them and on the largest zone; the others are free.

    Two linear heads read the pooled vector, so that the free masks and the features learn what that takes: the mean
    density of the zones, and their density in each channel beyond that of what surrounds them.
    """

    name = "start"

    def __init__(self, network: Network, bins: Bins, dense: float = 0.03) -> None:
        """`dense` is the weight of the masks in the loss, against densities."""
        super().__init__(network, bins)
        self.dense = dense
        self.densities = nn.Linear(network.pooled_width, 3)

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Huber losses of the densities plus the cross entropy of three masks against the maps, scalar.

        Args:
            images: (N,C,H,W).
            targets: As `targets_of` gives them, (N,4 + 3*CELLS*CELLS).
        """
        network = self.network
        feature_map, images = network.features(images)
        pooled = network.pooling(feature_map, images)
        mean, relative, maps = targets[:, :1], targets[:, 1:4], targets[:, 4:].view(len(targets), 3, -1)
        error = F.huber_loss(network.estimate(pooled) / 100, mean, delta=0.1)
        known = relative.isfinite()
        beyond = F.huber_loss(self.densities(pooled)[known], relative[known], delta=0.1) if known.any() else 0.0
        looked = network.pooling.look(feature_map, images)
        if looked is None:
            raise ValueError("a start is taught through its masks: pooling=masks")
        masks = looked[0][:, :3]
        masks = F.adaptive_avg_pool2d(masks, (CELLS, CELLS)).flatten(2)
        shown = maps.sum(2, keepdim=True)
        wanted = maps / shown.clamp_min(1e-6)
        missed = wanted * (torch.log(wanted.clamp_min(1e-9)) - torch.log(masks / masks.sum(2, keepdim=True) + 1e-9))
        there = shown[..., 0] > 0.003 * maps.shape[2]
        return error + beyond + self.dense * (missed.sum(2) * there).mean()

    @torch.no_grad()
    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """100 times the mean density of the zones, (N,)."""
        return self.network.estimate(self.network.pooled(images))[:, 0]


def targets_of(targets: np.ndarray, scenes: Photographed) -> Tensor:
    """What `SceneStage.loss` takes, float32 (N,4 + 3*CELLS*CELLS): densities, then maps; `targets` (N,) of scenes."""
    flat = scenes.maps.reshape(len(scenes.maps), -1).astype(np.float32)
    return torch.from_numpy(np.concatenate([targets[:, None] / 100, scenes.densities, flat], 1)).float()
