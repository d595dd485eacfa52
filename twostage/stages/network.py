"""What both stages are made of: normalisation, backbone, pooling, readout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostage.backbones import map_shape
from twostage.backbones.pooling import Readout, build_pooling

__all__ = ["Network"]


class Network(nn.Module):
    """Images in the network's colour space (N,C,H,W) -> outputs (N,outputs).

    The normalisation is fixed: mean and spread of each channel over the training set, never of the single image,
    because the colour of the single image is the signal.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, *, size: int, channels: int, pooling: str, outputs: int, name: str = "backbone"
    ) -> None:
        """Raises BackboneError if the backbone cannot take square images of `size` pixels."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.backbone = backbone
        self.pooling = build_pooling(pooling, map_shape(backbone, channels, size, name), channels)
        self.readout = Readout(self.pooling.n_colors, self.pooling.n_features, outputs)

    @property
    def pooled_width(self) -> int:
        """Length P of the pooled vector."""
        return int(self.pooling.n_colors + self.pooling.n_features)

    def normalize_like(self, images: Tensor) -> None:
        """Take mean and spread of each channel from training images (N,C,H,W)."""
        self.mean.copy_(images.mean((0, 2, 3)))
        self.std.copy_(images.std((0, 2, 3)).clamp_min(1e-3))

    def pooled(self, images: Tensor) -> Tensor:
        """The vector (N,P) that the readout sees."""
        images = (images - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)
        vector: Tensor = self.pooling(self.backbone(images), images)
        return vector

    def forward(self, images: Tensor) -> Tensor:
        """Outputs of the readout, (N,outputs)."""
        outputs: Tensor = self.readout(self.pooled(images))
        return outputs
