"""Build both stages from the options."""

from __future__ import annotations

from typing import Any

import torch

from twostage.backbones import Backbone, build_backbone
from twostage.bins import Bins
from twostage.data.color import channels
from twostage.options.choices import ALIGNMENTS
from twostage.options.family import resolve
from twostage.options.run import Config
from twostage.stages.aligned import AlignedRegressor
from twostage.stages.classifier import CircularClassifier, Classifier
from twostage.stages.encoded import Encoded, LabelCodes, SoftBins
from twostage.stages.limits import Limits
from twostage.stages.network import Network
from twostage.stages.regressor import Regressor
from twostage.stages.stage import Stage

__all__ = [
    "backbone_config_of",
    "backbone_of",
    "build_classifier",
    "build_limits",
    "build_regressor",
    "build_stage",
    "is_refitted",
    "starts_from_own_weights",
    "warm_start",
]

MOST_COLUMNS = 2048
"""Longer pooled vectors (pooling=flatten) are not refitted: more columns than photographs, and minutes to solve."""


def backbone_config_of(config: Config, stage: str) -> Any:
    """The options of a stage's backbone: its own, or those of both."""
    return getattr(config, stage).backbone or config.backbone


def backbone_of(config: Config, stage: str) -> Backbone:
    """An untrained backbone of a stage."""
    return build_backbone(backbone_config_of(config, stage), channels(config.image.color))


def _network(config: Config, stage: str, bins: Bins, backbone: Backbone | None) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Network(
            backbone_of(config, stage) if backbone is None else backbone,
            bins,
            size=config.image.size,
            channels=channels(config.image.color),
            pooling=config.pooling,
            name=backbone_config_of(config, stage).name,
            disc=config.sees_disc,
            limit=config.combine.limit,
        )


def build_classifier(config: Config, bins: Bins, backbone: Backbone | None = None) -> Classifier | Encoded:
    """An untrained classifier; its weights depend on the seed alone, unless its backbone is given."""
    network, options = _network(config, "classifier", bins, backbone), config.classifier
    if options.encoding == "soft_bins":
        return SoftBins(network, bins, options.smoothing)
    if options.encoding == "codes":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return LabelCodes(network, bins)
    kind = Classifier if bins.period is None else CircularClassifier
    return kind(network, bins, options.smoothing)


def build_limits(config: Config, bins: Bins) -> Limits:
    """Beyond which concentrations nothing is said."""
    ends = None if config.combine.limit == "none" else (float(bins.edges[0]), float(bins.edges[-1]))
    return Limits(config.data.minimum, ends)


def build_regressor(config: Config, bins: Bins, backbone: Backbone | None = None) -> Regressor:
    """An untrained regressor; its weights depend on the seed alone, unless its backbone is given."""
    options = config.regressor
    learns = (options.loss, options.huber_delta, options.overlap)
    if options.align == "none":
        return Regressor(_network(config, "regressor", bins, backbone), bins, *learns)
    alignment = resolve(ALIGNMENTS.member(options.align))(bins)
    network = _network(config, "regressor", alignment.left(options.overlap), backbone)
    return AlignedRegressor(network, bins, alignment, options.align_by, *learns)


def build_stage(name: str, config: Config, bins: Bins, backbone: Backbone | None = None) -> Stage:
    """An untrained stage, by its name; it counts concentrations from `bins.origin`.

    Args:
        backbone: The one to stand on; None: one that is made for it.
    """
    return (build_classifier if name == "classifier" else build_regressor)(config, bins.moved(), backbone)


def is_refitted(network: Network, config: Config) -> bool:
    """Is the last layer of a stage to be solved after its training?"""
    return config.train.refit and network.pooled_width <= MOST_COLUMNS


def starts_from_own_weights(config: Config) -> bool:
    """Has stage 2 a backbone of its own with trained weights, which the classifier's must not replace?"""
    own = config.regressor.backbone
    return bool(own and own.trained_weights)


def warm_start(regressor: Stage, classifier: Stage, *, keep_backbone: bool = False) -> list[str]:
    """Let the regressor start where the classifier ended: backbone, pooling, and the readout of the shared estimate.

    Args:
        keep_backbone: Leave the regressor's own.

    Returns:
        The parts that were not copied because the two networks differ.
    """
    parts = ["pooling"] if keep_backbone else ["backbone", "pooling"]
    if not isinstance(regressor, AlignedRegressor):  # which tells something else
        parts.append("readout")
    return regressor.network.copy_from(classifier.network, parts)
