"""Build both stages from the options."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twostage.backbones import build_backbone
from twostage.backbones.pretrained import load_pretrained
from twostage.backbones.timm_models import TimmBackbone
from twostage.bins import Bins
from twostage.config import Config
from twostage.data.color import channels
from twostage.errors import BackboneError
from twostage.stages.classifier import Classifier
from twostage.stages.network import Network
from twostage.stages.regressor import Regressor

__all__ = ["build_classifier", "build_regressor", "initialize", "starts_from_own_weights", "warm_start"]


def _backbone_config(config: Config, stage: str) -> Any:
    return getattr(config, stage).backbone or config.backbone


def _network(config: Config, stage: str, bins: Bins) -> Network:
    backbone_config = _backbone_config(config, stage)
    count = channels(config.image.color)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Network(
            build_backbone(backbone_config, count),
            bins,
            size=config.image.size,
            channels=count,
            pooling=config.pooling,
            name=backbone_config.name,
        )


def build_classifier(config: Config, bins: Bins) -> Classifier:
    """An untrained classifier; its weights depend on the seed alone."""
    return Classifier(_network(config, "classifier", bins), bins, config.classifier.smoothing)


def build_regressor(config: Config, bins: Bins) -> Regressor:
    """An untrained regressor; its weights depend on the seed alone."""
    network = _network(config, "regressor", bins)
    return Regressor(network, bins, config.regressor.loss, config.regressor.huber_delta)


def initialize(network: Network, config: Config, stage: str, mean: Tensor, std: Tensor) -> list[str]:
    """Give the untrained network of a stage what it starts from: trained weights if so wished, and the normalisation.

    Weights trained on sRGB get their own normalisation with ``image.color=srgb``; else it is `mean` and `std`, each
    (C,), of the training images.

    Returns:
        What is to be said about the weights.

    Raises:
        BackboneError: The weights cannot be had, or are of another network.
    """
    network.normalize(mean, std)
    options = _backbone_config(config, stage)
    if not isinstance(network.backbone, TimmBackbone):
        return []
    notes = load_pretrained(network.backbone, pretrained=options.pretrained, weights=options.weights)
    if options.freeze and not notes:
        raise BackboneError(
            "backbone.freeze keeps weights as they are: give trained ones, with backbone.weights=FILE or "
            "backbone.pretrained=true"
        )
    if notes and config.image.color == "srgb":
        network.normalize(*map(torch.tensor, network.backbone.input_statistics))
    elif notes:
        notes.append(
            f"image.color={config.image.color} is not what these weights were trained on: image.color=srgb takes their "
            f"own normalisation"
        )
    return notes


def starts_from_own_weights(config: Config) -> bool:
    """Has stage 2 a backbone of its own with trained weights, which the classifier's must not replace?"""
    own = config.regressor.backbone
    return bool(own and (getattr(own, "weights", None) or getattr(own, "pretrained", False)))


def warm_start(regressor: Regressor, classifier: Classifier, *, keep_backbone: bool = False) -> list[str]:
    """Let the regressor start where the classifier ended: backbone, pooling, and the readout of the shared estimate.

    With its backbone goes the normalisation of the input that it has learned with.

    Args:
        keep_backbone: Leave the regressor's own.

    Returns:
        The parts that were not copied because the two networks differ.
    """
    different = []
    for name in ("pooling", "readout") if keep_backbone else ("backbone", "pooling", "readout"):
        source: nn.Module = getattr(classifier.network, name)
        target: nn.Module = getattr(regressor.network, name)
        old, new = source.state_dict(), target.state_dict()
        if {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in new.items()}:
            target.load_state_dict(old)
            if name == "backbone":
                regressor.network.normalize(classifier.network.mean, classifier.network.std)
        else:
            different.append(name)
    return different
