"""Augmentation of whole batches: exact turns and flips, one fused resampling, and optional changes of light.

Geometry is safe, because the concentration does not depend on it. Brightness, gamma and noise change the colour, and
colour is what is measured: they are off by default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twostage.data.color import exposed
from twostage.options.run import AugmentConfig

__all__ = [
    "Motion",
    "augment",
    "augmented",
    "dihedral_view",
    "dihedral_views",
    "exposures",
    "moves_color",
    "undone_view",
]


def dihedral_views(images: Tensor) -> list[Tensor]:
    """The 8 turns and flips of square images (N,C,H,W): by 0 to 3 quarters, then the same mirrored left and right."""
    return [dihedral_view(images, number) for number in range(8)]


def dihedral_view(images: Tensor, number: int) -> Tensor:
    """One of `dihedral_views`, by its number."""
    turned = torch.rot90(images, number % 4, (2, 3))
    return turned.flip(3) if number >= 4 else turned


def undone_view(view: Tensor, number: int) -> Tensor:
    """What `dihedral_view` has turned and flipped, as it was."""
    return torch.rot90(view.flip(3) if number >= 4 else view, -(number % 4), (2, 3))


def moves_color(options: AugmentConfig) -> bool:
    """Does this augmentation change colours, not only places?"""
    return bool(options.brightness or any(options.gamma) or options.noise or _exposes(options))


def _exposes(options: AugmentConfig) -> bool:
    return bool(options.exposure or options.white_balance)


def exposures(normal: Tensor, options: AugmentConfig) -> Tensor:
    """Optical densities (N,3) by which photographs are exposed otherwise, of normal numbers (N,4)."""
    return normal[:, :1] * options.exposure + normal[:, 1:] * options.white_balance


def augment(
    srgb: Tensor,
    options: AugmentConfig,
    generator: torch.Generator,
    whole: int | None = None,
    share: slice = slice(None),
) -> Tensor:
    """Augment square images, sRGB (N,3,H,W) in [0, 1], each in its own way; the arguments are those of `augmented`."""
    return augmented(srgb, options, generator, whole, share)[0]


@dataclass
class Motion:
    """How an angle from upright moves with each of N photographs: degrees become ``sign * degrees + turn``, (N,) each.

    Angles are counted counter-clockwise. A mirror that swaps left and right negates them.
    """

    sign: Tensor
    turn: Tensor

    def then(self, where: Tensor, sign: float, turn: Tensor | float) -> None:
        """Move on, the photographs named in `where` (N,), by another motion."""
        self.sign = torch.where(where, sign * self.sign, self.sign)
        self.turn = torch.where(where, sign * self.turn + turn, self.turn)

    def moved(self, degrees: np.ndarray) -> np.ndarray:
        """Angles (N,) after the motion."""
        return np.asarray(self.sign.cpu().double().numpy() * degrees + self.turn.cpu().double().numpy())


def augmented(
    srgb: Tensor,
    options: AugmentConfig,
    generator: torch.Generator,
    whole: int | None = None,
    share: slice = slice(None),
) -> tuple[Tensor, Motion]:
    """Augment square images, sRGB (N,3,H,W) in [0, 1], each in its own way, and tell how angles in them have moved.

    Args:
        generator: A CPU generator; with the same state the result is the same on every device.
        whole: Where the images are the `share` of a larger batch: its size. Each is changed as it would be there.
    """
    draws = _Draws(generator, len(srgb) if whole is None else whole, share, srgb.device)
    motion = Motion(srgb.new_ones(len(srgb)), srgb.new_zeros(len(srgb)))
    srgb = _turn_and_flip(srgb, options, draws, motion)
    if options.rotation or options.shift or options.scale:
        srgb = _resample(srgb, options, draws, motion)
    if options.brightness or any(options.gamma) or options.noise:
        srgb = _change_light(srgb, options, draws)
    return (exposed(srgb, exposures(draws.normal(4), options)) if _exposes(options) else srgb), motion


@dataclass(frozen=True)
class _Draws:
    """Random numbers for a whole batch, of which the images at hand get their share."""

    generator: torch.Generator
    whole: int
    share: slice
    device: torch.device

    def uniform(self, low: float, high: float) -> Tensor:
        """One number per image, (N,)."""
        numbers = low + (high - low) * torch.rand(self.whole, generator=self.generator)
        return numbers[self.share].to(self.device)

    def coins(self, count: int) -> Tensor:
        """`count` times yes or no per image, (count,N,1,1,1)."""
        coins = torch.rand(count, self.whole, 1, 1, 1, generator=self.generator) < 0.5
        return coins[:, self.share].to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers per image, (N,*shape)."""
        return torch.randn(self.whole, *shape, generator=self.generator)[self.share].to(self.device)


def _turn_and_flip(images: Tensor, options: AugmentConfig, draws: _Draws, motion: Motion) -> Tensor:
    """Transposition and the two mirrorings generate all 8 symmetries of the square."""
    coin = draws.coins(3)
    if options.quarter_turns and (options.flips or options.mirror):
        transpose, vertical, horizontal = coin
    elif options.quarter_turns:
        transpose, vertical, horizontal = coin[0], coin[1], coin[0] ^ coin[1]
    elif options.flips:
        transpose, vertical, horizontal = torch.zeros_like(coin[0]), coin[1], coin[2]
    elif options.mirror:
        transpose, vertical, horizontal = torch.zeros_like(coin[0]), torch.zeros_like(coin[0]), coin[2]
    else:
        return images
    for mirrored, turn in ((transpose, 90.0), (vertical, 180.0), (horizontal, 0.0)):
        motion.then(mirrored.flatten(), -1.0, turn)
    images = torch.where(transpose, images.transpose(2, 3), images)
    images = torch.where(vertical, images.flip(2), images)
    return torch.where(horizontal, images.flip(3), images)


def _resample(images: Tensor, options: AugmentConfig, draws: _Draws, motion: Motion) -> Tensor:
    """Rotation, shift and scale in one bilinear interpolation; what comes from outside is reflected."""
    degrees = draws.uniform(-options.rotation, options.rotation)
    motion.then(torch.ones_like(degrees, dtype=torch.bool), 1.0, degrees)
    angle = degrees * (math.pi / 180)
    zoom = 1 + draws.uniform(-options.scale, options.scale)
    # affine_grid's coordinates run from -1 to 1, so a shift by a share of the width is twice that share
    shift_x, shift_y = (2 * draws.uniform(-options.shift, options.shift) for _ in range(2))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack([torch.stack([cos, -sin, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _change_light(srgb: Tensor, options: AugmentConfig, draws: _Draws) -> Tensor:
    """Brightness is added, gamma is an exponent 1 + value, noise is normal; all on sRGB in [0, 1]."""

    def each(low: float, high: float) -> Tensor:
        return draws.uniform(low, high).view(-1, 1, 1, 1)

    srgb = (srgb + each(-options.brightness, options.brightness)).clamp(0, 1)
    srgb = srgb.clamp_min(1e-6) ** (1 + each(options.gamma[0], options.gamma[1]))
    noise = draws.normal(*srgb.shape[1:])
    return (srgb + each(0, options.noise) * noise).clamp(0, 1)
