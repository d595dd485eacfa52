"""The founding question's own network: VGG-like blocks with batch norm (after Simonyan and Zisserman 2014)."""

from __future__ import annotations

from torch import nn

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["Vgg"]


class Vgg(Backbone, nn.Sequential):
    """Blocks of `depth` 3x3 convolutions and a pooling, then dropout, 1x1 to 128, dropout, 1x1 to 32 channels.

    (N,C,H,W) -> (N,32,H/2^b,W/2^b) for b blocks. With three blocks of three, and ``pooling=flatten`` and its dense
    readout, this is the network of the founding question.
    """

    def __init__(self, in_channels: int, widths: list[int], depth: int, dropout: float) -> None:
        """Raises BackboneError for an empty or non-positive list of widths, or blocks of no convolution."""
        if not widths or min(widths) < 1 or depth < 1:
            raise BackboneError("backbone.widths must be a list of positive numbers of channels, and depth 1 or more")
        layers: list[nn.Module] = []
        for width in widths:
            for _ in range(depth):
                layers += [
                    nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Dropout(dropout), nn.Conv2d(in_channels, 128, 1), nn.ReLU(inplace=True)]
        layers += [nn.Dropout(dropout), nn.Conv2d(128, 32, 1), nn.ReLU(inplace=True)]
        super().__init__(*layers)
