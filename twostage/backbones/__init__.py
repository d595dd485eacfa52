"""Backbones: images (N,C,H,W) -> feature map (N,F,h,w), chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from twostage.backbones.compact import Compact
from twostage.backbones.group_equivariant import GroupEquivariant
from twostage.backbones.inception import Inception
from twostage.backbones.mixed_scale import MixedScale
from twostage.backbones.steerable import Steerable
from twostage.backbones.timm_models import TimmBackbone
from twostage.backbones.vgg import Vgg
from twostage.errors import BackboneError

__all__ = ["build_backbone", "check_size", "map_shape", "symmetry"]


def _group(in_channels: int, options: Any) -> nn.Module:
    return GroupEquivariant(in_channels, options.name, options.widths, options.strides, options.dilations)


BUILDERS: dict[str, Callable[[int, Any], nn.Module]] = {
    "compact": lambda c, o: Compact(c, o.widths, o.strides, o.dilations),
    "vgg": lambda c, o: Vgg(c, o.widths, o.depth, o.dropout),
    "inception": lambda c, o: Inception(c, o.width),
    "p4": _group,
    "p4m": _group,
    "steerable": lambda c, o: Steerable(c, o.widths, o.strides, o.frequencies, o.kernel_size, o.reflections),
    "mixed_scale": lambda c, o: MixedScale(c, o.width, o.depth),
}


def build_backbone(config: Any, in_channels: int) -> nn.Module:
    """The network that turns images of C channels into a feature map.

    Raises:
        BackboneError: The name is unknown or the options contradict each other.
    """
    if config.name in BUILDERS:
        return BUILDERS[config.name](in_channels, config)
    return TimmBackbone(in_channels, config.name, config.freeze)


def symmetry(backbone: nn.Module) -> str:
    """What leaves the features, averaged over positions, unchanged: "p4", "p4m", "SO(2)", "O(2)", or "none"."""
    return str(getattr(backbone, "symmetry", "none"))


def check_size(backbone: nn.Module, size: int, name: str) -> None:
    """Raise BackboneError for an image size with which a backbone would lose its symmetry, naming the nearest good."""
    multiple = int(getattr(backbone, "size_multiple", 1))
    if size % multiple:
        near = [good for good in (size // multiple * multiple, -(-size // multiple) * multiple) if 32 <= good <= 512]
        choose = " or ".join(map(str, near)) or "fewer backbone.strides of 2"
        raise BackboneError(
            f"backbone={name} keeps its symmetry {symmetry(backbone)} only at multiples of {multiple} pixels, which "
            f"image.size={size} is not: choose {choose}"
        )


def map_shape(backbone: nn.Module, in_channels: int, size: int, name: str) -> tuple[int, int, int]:
    """(F,h,w) of the feature map for square images of `size` pixels, found by trying.

    Raises:
        BackboneError: The images are too small for the network, or its output is no feature map.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            shape = tuple(backbone(torch.zeros(1, in_channels, size, size)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        if isinstance(error, BackboneError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise BackboneError(
            f"backbone={name} cannot take image.size={size} ({reason}): choose a larger size"
        ) from error
    finally:
        backbone.train(training)
    if min(shape) < 1:
        raise BackboneError(f"backbone={name} leaves nothing of image.size={size}: choose a larger size")
    return shape[1], shape[2], shape[3]
