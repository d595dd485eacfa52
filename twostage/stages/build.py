"""Build both stages from the options."""

from __future__ import annotations

from typing import Any

import torch

from twostage.backbones import build_backbone
from twostage.bins import Bins
from twostage.data.color import channels
from twostage.options.run import Config
from twostage.stages.classifier import Classifier
from twostage.stages.network import Network
from twostage.stages.regressor import Regressor

__all__ = ["backbone_config_of", "build_classifier", "build_regressor", "starts_from_own_weights", "warm_start"]


def backbone_config_of(config: Config, stage: str) -> Any:
    """The options of a stage's backbone: its own, or those of both."""
    return getattr(config, stage).backbone or config.backbone


def _network(config: Config, stage: str, bins: Bins) -> Network:
    backbone_config = backbone_config_of(config, stage)
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


def starts_from_own_weights(config: Config) -> bool:
    """Has stage 2 a backbone of its own with trained weights, which the classifier's must not replace?"""
    own = config.regressor.backbone
    return bool(own and (getattr(own, "weights", None) or getattr(own, "pretrained", False)))


def warm_start(regressor: Regressor, classifier: Classifier, *, keep_backbone: bool = False) -> list[str]:
    """Let the regressor start where the classifier ended: backbone, pooling, and the readout of the shared estimate.

    Args:
        keep_backbone: Leave the regressor's own.

    Returns:
        The parts that were not copied because the two networks differ.
    """
    parts = ("pooling", "readout") if keep_backbone else ("backbone", "pooling", "readout")
    return regressor.network.copy_from(classifier.network, parts)
