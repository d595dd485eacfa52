"""The default backbone: six 3x3 convolutions, as much as two processor cores can train in minutes."""

from __future__ import annotations

from torch import Tensor, nn

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["Compact"]


class Compact(Backbone, nn.Sequential):
    """3x3 convolutions with batch norm and ReLU: (N,C,H,W) -> (N,widths[-1],H/s,W/s), s the product of the strides.

    The last layers are dilated instead of strided, so that the map stays fine and each position still sees the well
    and the card around it.
    """

    def __init__(self, in_channels: int, widths: list[int], strides: list[int], dilations: list[int]) -> None:
        """Raises BackboneError unless the three lists are equally long and positive."""
        if not len(widths) == len(strides) == len(dilations) or not widths or min(widths + strides + dilations) < 1:
            raise BackboneError(
                "backbone.widths, .strides and .dilations must be equally long lists of positive numbers"
            )
        layers: list[nn.Module] = []
        for width, stride, dilation in zip(widths, strides, dilations, strict=True):
            layers += [
                nn.Conv2d(in_channels, width, 3, stride, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            in_channels = width
        super().__init__(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Feature map of images (N,C,H,W)."""
        return super().forward(images)
