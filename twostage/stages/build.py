"""Build both stages from the options."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from twostage.backbones import build_backbone
from twostage.bins import Bins
from twostage.config import Config
from twostage.data.color import channels
from twostage.stages.classifier import Classifier
from twostage.stages.network import Network
from twostage.stages.regressor import Regressor

__all__ = ["build_classifier", "build_regressor", "warm_start"]


def _network(config: Config, own: Any, bins: Bins) -> Network:
    backbone_config = own or config.backbone
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
    return Classifier(_network(config, config.classifier.backbone, bins), bins, config.classifier.smoothing)


def build_regressor(config: Config, bins: Bins) -> Regressor:
    """An untrained regressor; its weights depend on the seed alone."""
    network = _network(config, config.regressor.backbone, bins)
    return Regressor(network, bins, config.regressor.loss, config.regressor.huber_delta)


def warm_start(regressor: Regressor, classifier: Classifier) -> list[str]:
    """Let the regressor start where the classifier ended: backbone, pooling, and the readout of the shared estimate.

    Returns:
        The parts that could not be copied because the two networks differ.
    """
    different = []
    for name in ("backbone", "pooling", "readout"):
        source: nn.Module = getattr(classifier.network, name)
        target: nn.Module = getattr(regressor.network, name)
        old, new = source.state_dict(), target.state_dict()
        if {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in new.items()}:
            target.load_state_dict(old)
        else:
            different.append(name)
    return different
