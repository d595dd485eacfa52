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

    Where that changes what there is to tell, as turning does, `reference` and `left` say by how much, and what is left.
    """

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        self.bins = bins

    @abstractmethod
    def forward(self, images: Tensor, bin_index: Tensor) -> Tensor:
        """What stage 2 is shown of images (N,C,H,W) of which stage 1 names the bins (N,): (N,C,H,W)."""

    def reference(self, bin_index: Tensor) -> Tensor:
        """How much of the concentration that leaves out, (N,1), in its unit: here nothing."""
        return torch.zeros(len(bin_index), 1, device=bin_index.device)

    def left(self, overlap: float) -> Bins:
        """Over which concentrations the rest goes, where bins are named that are wrong by `overlap` bin widths."""
        return self.bins


class Turned(Alignment):
    """Turned back by the center of the bin, degrees: what is left is the angle from there.

    Source: Fischer, Dosovitskiy and Brox 2015, "Image orientation estimation with convolutional networks".
    """

    center: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__(bins)
        self.register_buffer("center", torch.from_numpy(bins.center).float(), persistent=False)

    def forward(self, images: Tensor, bin_index: Tensor) -> Tensor:
        """Images (N,C,H,W), turned clockwise by the centers of their bins (N,)."""
        return turned(images, -self.center[bin_index])

    def reference(self, bin_index: Tensor) -> Tensor:
        """The centers, (N,1)."""
        return self.center[bin_index][:, None]

    def left(self, overlap: float) -> Bins:
        """One bin to both sides of upright, as wide as a bin and its overlap. Beyond that stage 1 was wrong."""
        reach = float(self.bins.half_width.max() * (1 + 2 * overlap))
        return Bins([-reach, reach])


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
