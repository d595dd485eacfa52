"""Colour spaces of the input: sRGB, linear light, optical density, grayscale (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from twostage.decoding.spaces import linear_to_srgb

__all__ = ["COLORS", "channels", "exposed", "linear_to_srgb", "to_color", "to_srgb"]

DARKEST = 1.0 / 255.0
"""sRGB below this is one grey level from black; its optical density (3.5) is where the scale ends."""


def _linear(srgb: Tensor) -> Tensor:
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def _optical_density(srgb: Tensor) -> Tensor:
    """-log10 of linear light, without the detour over the power function: one logarithm a pixel."""
    srgb = srgb.clamp_min(DARKEST)
    low, power = srgb <= 0.04045, torch.where(srgb <= 0.04045, srgb / 12.92, (srgb + 0.055) / 1.055)
    return torch.log10(power) * torch.where(low, -1.0, -2.4)


def _grayscale(srgb: Tensor) -> Tensor:
    """Luminance (Rec. 709 weights on linear light) as optical density, one channel."""
    weights = srgb.new_tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    luminance = (_linear(srgb) * weights).sum(1, keepdim=True)
    return -torch.log10(luminance.clamp_min(DARKEST / 12.92))


COLORS = {
    "srgb": lambda srgb: srgb,
    "linear": _linear,
    "optical_density": _optical_density,
    "grayscale": _grayscale,
}


def exposed(srgb: Tensor, density: Tensor) -> Tensor:
    """Photographs, sRGB (N,3,H,W), as if behind a grey or coloured filter of that optical density (N,3).

    A longer exposure is a filter of negative density; what gets brighter than white stays so.
    """
    linear = _linear(srgb) * 10 ** (-density[:, :, None, None])
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def channels(color: str) -> int:
    """Number of channels C of the network's input in that colour space."""
    return 1 if color == "grayscale" else 3


def to_color(srgb: Tensor, color: str) -> Tensor:
    """Convert sRGB (N,3,H,W) in [0, 1] to the colour space named `color`: (N,C,H,W).

    Optical density is -log10 of linear light, so that by the Beer-Lambert law it is linear in concentration.
    """
    return COLORS[color](srgb)


def to_srgb(pixels: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 photographs (N,H,W,3) -> sRGB in [0, 1], float32 (N,3,H,W) on the device."""
    images = torch.as_tensor(pixels).to(device)
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255.0).contiguous()
