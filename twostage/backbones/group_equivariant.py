"""Group-equivariant convolutions over quarter turns (p4), and over quarter turns and mirrorings (p4m).

Source: Cohen and Welling 2016, "Group equivariant convolutional networks". A filter is used in all its 4 or 8
positions; the maps that these give are permuted, and turned, when the photograph is turned, so what is pooled over
them does not change at all. Here the convolutions of a layer are one: its filters are written out in all positions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError

__all__ = ["GROUPS", "P4", "GroupBatchNorm", "GroupConv", "GroupEquivariant", "P4m"]

GROUPS = {"p4": 4, "p4m": 8}
"""Number of elements: the quarter turns, and those of the mirror image."""


def _positions(order: int, side: int) -> np.ndarray:
    """Where each element moves the pixels of a square: (G,side*side), row g holds the source of every pixel."""
    square = np.arange(side * side).reshape(side, side)
    turned = [np.rot90(plane, k) for plane in (square, square[:, ::-1]) for k in range(4)]
    return np.stack(turned[:order]).reshape(order, -1)


def _quotients(order: int) -> np.ndarray:
    """The element g^-1 h for every pair: (G,G), found by moving the pixels of a 2x2 square."""
    moves = _positions(order, 2)
    number = {tuple(row): g for g, row in enumerate(moves)}
    return np.array([[number[tuple(h[np.argsort(g)])] for h in moves] for g in moves])


class GroupConv(nn.Module):
    """Convolution of functions on the group: (N,C*G,H,W) -> (N,F*G,H',W'), or from an image (N,C,H,W) where `lifts`.

    With stride 2 the filters are 4x4, so that the positions they are applied at stay those of a turned image, which
    with 3x3 they do not.
    """

    index: Tensor

    def __init__(
        self, in_channels: int, channels: int, order: int, *, stride: int = 1, dilation: int = 1, lifts: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.padding = 1 if stride == 2 else dilation
        side = 4 if stride == 2 else 3
        moves, pixels = _positions(order, side), side * side
        sources = np.zeros((order, 1), int) if lifts else _quotients(order)
        # filter of output g, input h: the pixels of the filter for g^-1 h, moved by g
        index = sources[:, :, None] * pixels + moves[:, None, :]
        self.register_buffer("index", torch.from_numpy(index.reshape(order, -1)), persistent=False)
        self.shape = (channels * order, in_channels * sources.shape[1], side, side)
        self.weight = nn.Parameter(torch.empty(channels, in_channels, sources.shape[1] * pixels))
        nn.init.normal_(self.weight, std=(2.0 / (in_channels * sources.shape[1] * pixels)) ** 0.5)  # He et al. 2015

    def filters(self) -> Tensor:
        """The filters in all positions, (F*G,C*G,k,k)."""
        return self.weight[:, :, self.index].transpose(1, 2).reshape(self.shape)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of all elements, (N,F*G,H',W')."""
        return F.conv2d(maps, self.filters(), None, self.stride, self.padding, self.dilation)


class GroupBatchNorm(nn.Module):
    """Batch norm with one mean, variance, scale and bias for all elements of the group: (N,F*G,H,W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalised maps."""
        count, _, _, width = maps.shape
        normal: Tensor = self.norm(maps.reshape(count, self.norm.num_features, -1, width))
        return normal.reshape(maps.shape)


class GroupEquivariant(Backbone, nn.Sequential):
    """Layers of group convolution, batch norm and ReLU, then mean and maximum over the group.

    (N,C,H,W) -> (N,2*widths[-1],H/s,W/s), s the product of the strides; a turned (and for p4m, mirrored) image has the
    turned map with the same features.
    """

    def __init__(
        self, in_channels: int, group: str, widths: list[int], strides: list[int], dilations: list[int]
    ) -> None:
        """Raises BackboneError unless the lists are equally long and positive, and strides 1 or 2."""
        equal = len(widths) == len(strides) == len(dilations)
        if not equal or not widths or min(widths + strides + dilations) < 1 or max(strides) > 2:
            raise BackboneError(
                "backbone.widths, .strides and .dilations must be equally long lists of positive numbers, and strides "
                "1 or 2"
            )
        if any(stride == 2 and dilation > 1 for stride, dilation in zip(strides, dilations, strict=True)):
            raise BackboneError("backbone.dilations must be 1 where backbone.strides is 2")
        layers: list[nn.Module] = []
        for i, (width, stride, dilation) in enumerate(zip(widths, strides, dilations, strict=True)):
            conv = GroupConv(in_channels, width, GROUPS[group], stride=stride, dilation=dilation, lifts=i == 0)
            layers += [conv, GroupBatchNorm(width), nn.ReLU(inplace=True)]
            in_channels = width
        super().__init__(*layers)
        self.order, self.symmetry, self.size_multiple = GROUPS[group], group, int(np.prod(strides))

    def forward(self, images: Tensor) -> Tensor:
        """Feature map of images (N,C,H,W)."""
        maps = super().forward(images).unflatten(1, (-1, self.order))
        return torch.cat([maps.mean(2), maps.amax(2)], 1)


class P4(GroupEquivariant):
    """Unchanged by quarter turns."""

    def __init__(self, in_channels: int, widths: list[int], strides: list[int], dilations: list[int]) -> None:
        super().__init__(in_channels, "p4", widths, strides, dilations)


class P4m(GroupEquivariant):
    """Unchanged by quarter turns and mirroring."""

    def __init__(self, in_channels: int, widths: list[int], strides: list[int], dilations: list[int]) -> None:
        super().__init__(in_channels, "p4m", widths, strides, dilations)
