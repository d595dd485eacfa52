"""Backbones: images (N,C,H,W) -> feature map (N,F,h,w), chosen by name."""

from __future__ import annotations

from dataclasses import asdict

import torch

from twostage.backbones.base import Backbone
from twostage.errors import BackboneError
from twostage.options.backbones import BACKBONES, BackboneConfig, backbone_named
from twostage.options.family import resolve

__all__ = ["Backbone", "build_backbone", "check_size", "map_shape"]


def build_backbone(config: BackboneConfig, in_channels: int) -> Backbone:
    """The network that turns images of C channels into a feature map.

    Raises:
        BackboneError: The name is unknown or the options contradict each other.
    """
    options = asdict(config)
    if config.name in BACKBONES and config.name != "timm":  # one of timm's is told by its name which it is
        del options["name"]
    built: Backbone = resolve(backbone_named(config.name).network)(in_channels, **options)
    return built


def check_size(backbone: Backbone, size: int, name: str) -> None:
    """Raise BackboneError for an image size with which a backbone would lose its symmetry, naming the nearest good."""
    multiple = backbone.size_multiple
    if size % multiple:
        near = [good for good in (size // multiple * multiple, -(-size // multiple) * multiple) if 32 <= good <= 512]
        choose = " or ".join(map(str, near)) or "fewer backbone.strides of 2"
        raise BackboneError(
            f"backbone={name} keeps its symmetry {backbone.symmetry} only at multiples of {multiple} pixels, which "
            f"image.size={size} is not: choose {choose}"
        )


def map_shape(backbone: Backbone, in_channels: int, size: int, name: str) -> tuple[int, int, int]:
    """(F,h,w) of the feature map for square images of `size` pixels, found by trying.

    Raises:
        BackboneError: The images are too small for the network, or its output is no feature map.
    """
    training = backbone.training
    backbone.eval()
    device = next((one.device for one in backbone.parameters()), torch.get_default_device())
    try:
        with torch.no_grad(), device:
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
