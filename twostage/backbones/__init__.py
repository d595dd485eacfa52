"""Backbones: images (N,C,H,W) -> feature map (N,F,h,w), chosen by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from twostage.backbones.compact import Compact
from twostage.backbones.timm_models import TimmBackbone
from twostage.backbones.vgg import Vgg
from twostage.config import CompactConfig, VggConfig
from twostage.errors import BackboneError

__all__ = ["build_backbone", "map_shape"]


def build_backbone(config: Any, in_channels: int) -> nn.Module:
    """The network that turns images of C channels into a feature map.

    Raises:
        BackboneError: The name is unknown or the options contradict each other.
    """
    if isinstance(config, CompactConfig):
        return Compact(in_channels, config.widths, config.strides, config.dilations)
    if isinstance(config, VggConfig):
        return Vgg(in_channels, config.widths, config.dropout)
    return TimmBackbone(in_channels, config.name)


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
