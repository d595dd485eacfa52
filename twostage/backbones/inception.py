"""A small Inception: filters of several sizes side by side, at the resolution of a small photograph.

Sources: Szegedy et al. 2015, "Going deeper with convolutions", for the four branches; Szegedy et al. 2016, "Rethinking
the Inception architecture", for the 5x5 filter as two of 3x3 and batch norm after each convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["Inception", "InceptionBlock"]

STEM = (32, 32)
BLOCKS = (64, 96, 128)


def _conv(in_channels: int, channels: int, side: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, side, stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class InceptionBlock(nn.Module):
    """Four branches, 1x1, 3x3, 5x5 and a pooling, side by side: (N,C,H,W) -> (N,4*channels,H,W)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        """`channels` is what each branch gives."""
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _conv(in_channels, channels, 1),
                nn.Sequential(_conv(in_channels, channels, 1), _conv(channels, channels, 3)),
                nn.Sequential(
                    _conv(in_channels, channels, 1), _conv(channels, channels, 3), _conv(channels, channels, 3)
                ),
                nn.Sequential(
                    nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), _conv(in_channels, channels, 1)
                ),
            ]
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The branches' maps, one after another."""
        return torch.cat([branch(maps) for branch in self.branches], 1)


class Inception(Backbone, nn.Sequential):
    """Two convolutions, a pooling and three Inception blocks: (N,C,H,W) -> (N,128*width,H/4,W/4)."""

    def __init__(self, in_channels: int, width: float) -> None:
        """`width` multiplies the number of filters of every layer alike.

        Raises BackboneError if no filter were left.
        """
        if round(min(STEM) * width / 4) < 1:
            raise BackboneError(f"backbone.width={width:g} leaves no filters: choose 0.125 or more")
        first, second = (4 * round(channels * width / 4) for channels in STEM)
        layers: list[nn.Module] = [_conv(in_channels, first, 3, stride=2), _conv(first, second, 3), nn.MaxPool2d(2)]
        channels = second
        for block in BLOCKS:
            layers.append(InceptionBlock(channels, round(block * width / 4)))
            channels = 4 * round(block * width / 4)
        super().__init__(*layers)
