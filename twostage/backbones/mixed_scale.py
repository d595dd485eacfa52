"""The mixed-scale dense network: few channels, every dilation, every layer connected to all before it.

Source: Pelt and Sethian 2018, "A mixed-scale dense convolutional neural network for image analysis", PNAS 115.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["MixedScale"]

DILATIONS = 10
"""Channel j of layer i has dilation (i * width + j) mod 10 + 1, as in the paper."""


class MixedScale(Backbone):
    """`depth` layers of `width` channels at full resolution: (N,C,H,W) -> (N,C+depth*width,H,W), the input first.

    Every layer is a 3x3 convolution of the input and of all layers before it, and a ReLU. The paper's last layer, 1x1
    over all of them, is the pooling's. Without batch norm, hence the paper's initialisation. One departure: what lies
    beyond the border is reflected in the paper and zero here, which a convolution does without a copy of its input.
    """

    def __init__(self, in_channels: int, width: int, depth: int) -> None:
        """Raises BackboneError unless width and depth are positive."""
        super().__init__()
        if min(width, depth) < 1:
            raise BackboneError(f"backbone.width={width} and .depth={depth} must be positive")
        self.layers = nn.ModuleList(
            _DenseLayer(in_channels + i * width, [(i * width + j) % DILATIONS + 1 for j in range(width)])
            for i in range(depth)
        )
        connections = 9 * (in_channels + width * (depth - 1)) + 1
        for layer in self.layers:
            for conv in layer.convs:  # type: ignore[union-attr]
                nn.init.normal_(conv.weight, std=(2.0 / connections) ** 0.5)
                nn.init.zeros_(conv.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Feature map of images (N,C,H,W)."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps))
        return torch.cat([part.to(images.dtype) for part in maps], 1)


class _DenseLayer(nn.Module):
    """Channels of one dilation each, from the concatenation of all maps before."""

    def __init__(self, in_channels: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, dilations.count(d), 3, padding=d, dilation=d) for d in dict.fromkeys(dilations)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = tuple(maps)  # the list will have grown when the gradient is computed
        whole = torch.cat(parts, 1)
        shape = whole.shape

        def pack(saved: Tensor) -> Any:
            return saved.dtype if saved.shape == shape else saved

        def unpack(kept: Any) -> Tensor:
            return torch.cat(parts, 1).to(kept) if isinstance(kept, torch.dtype) else kept

        # the concatenations of all layers would take memory quadratic in depth: they are made again when needed
        with saved_tensors_hooks(pack, unpack):
            new = [conv(whole) for conv in self.convs]
        return torch.relu(torch.cat(new, 1))
