"""Stages in series: what stage 1 says of a photograph -> what stage 2 is shown of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.bins import Bins

__all__ = ["Alignment", "Turned", "turned"]


class Alignment(nn.Module, ABC):
    """Puts photographs right by the bin that stage 1 names. A member of the family `ALIGNMENTS`, built over the bins.

    Stage 2 then has to tell the rest alone: how far the concentration lies from what was put right.
    """

    @abstractmethod
    def forward(self, images: Tensor, bin_index: Tensor) -> Tensor:
        """What stage 2 is shown of images (N,C,H,W) of which stage 1 names the bins (N,): (N,C,H,W)."""

    @abstractmethod
    def reference(self, bin_index: Tensor) -> Tensor:
        """How much of the concentration that leaves out, (N,1), in its unit."""


class Turned(Alignment):
    """Turned back by the center of the bin, degrees: what is left is the angle from there.

    Source: Fischer, Dosovitskiy and Brox 2015, "Image orientation estimation with convolutional networks".
    """

    center: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        self.register_buffer("center", torch.from_numpy(bins.center).float(), persistent=False)

    def forward(self, images: Tensor, bin_index: Tensor) -> Tensor:
        """Images (N,C,H,W), turned clockwise by the centers of their bins (N,)."""
        return turned(images, -self.center[bin_index])

    def reference(self, bin_index: Tensor) -> Tensor:
        """The centers, (N,1)."""
        return self.center[bin_index][:, None]


def turned(images: Tensor, angle: Tensor) -> Tensor:
    """Images (N,C,H,W), each turned about its middle by its angle (N,), degrees, counter-clockwise.

    In one bilinear interpolation; what comes from outside is the nearest pixel of the rim.
    """
    radians = angle * (math.pi / 180)
    cos, sin, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
    # the grid says where in the photograph, whose y points down, each pixel of the turned one lies
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
