"""What the backbones cost and promise, side by side: ``twostage backbones``."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from twostage.backbones import build_backbone, check_size, map_shape
from twostage.bins import Bins
from twostage.data.color import channels
from twostage.errors import BackboneError, ConfigError
from twostage.options.backbones import backbone_config
from twostage.options.commands import BackbonesConfig
from twostage.options.data import SimulatedConfig
from twostage.options.run import Config, ImageConfig
from twostage.stages.build import build_regressor
from twostage.stages.network import Network
from twostage.training.device import resolve_device, use_threads
from twostage.training.precision import choose_plan, least_time, seconds_per_step

__all__ = ["backbone_table", "print_backbones", "smallest_size", "text_table"]

log = logging.getLogger("twostage")

BINS = Bins.uniform(80, 350, 9)


def backbone_table(config: BackbonesConfig) -> pd.DataFrame:
    """One row per backbone, each as the network of one stage: with pooling and readout.

    Columns: name, parameters, multiply_adds (of one image alone, counted by torch), train_ms and predict_ms (per image
    on this machine: a training step; one view of a prediction, which takes 8 of each stage by default), precision
    (with which training was fastest), symmetry, smallest_size (pixels, from 32 up).

    Raises:
        ConfigError: No names.
        BackboneError: A name is unknown, or does not go with the image size or the pooling.
    """
    if not config.names:
        raise ConfigError("names=[] shows nothing: name backbones, as names=[compact,resnet18]")
    use_threads(config.runtime.threads)
    device = resolve_device(config.runtime.device)
    shown = [config.backbone] if config.backbone else [backbone_config(name) for name in dict.fromkeys(config.names)]
    rows = []
    for options in shown:
        log.info("%s:", options.name)
        rows.append(_row(options, config, device))
    return pd.DataFrame(rows)


def print_backbones(config: BackbonesConfig) -> str:
    """The table as text, or as JSON where that is wished for."""
    table = backbone_table(config)
    return str(table.to_json(orient="records", indent=2)) if config.json else text_table(table)


def text_table(table: pd.DataFrame) -> str:
    """The table as a person reads it."""
    shown = table.assign(
        parameters=table["parameters"].map("{:,}".format),
        multiply_adds=table["multiply_adds"].map(lambda count: f"{count / 1e6:,.1f} M"),
        train_ms=table["train_ms"].map("{:.2f}".format),
        predict_ms=table["predict_ms"].map("{:.2f}".format),
    )
    return shown.to_string(index=False)


def smallest_size(options: Any, color: str) -> int | None:
    """The smallest allowed image.size, pixels, that a backbone can take; None if there is none."""
    in_channels = channels(color)
    backbone = build_backbone(options, in_channels)
    for size in range(32, 513):
        try:
            check_size(backbone, size, options.name)
            map_shape(backbone, in_channels, size, options.name)
            return size
        except BackboneError:
            continue
    return None


def _row(options: Any, config: BackbonesConfig, device: torch.device) -> dict[str, Any]:
    stage = _regressor(options, config)
    network = stage.network
    images = torch.randn(config.batch_size, channels(config.image.color), config.image.size, config.image.size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _estimate(network.eval(), images[:1])
    stage, images = stage.to(device), images.to(device)
    targets = stage.targets(np.linspace(BINS.edges[0], BINS.edges[-1], len(images))).to(device)
    plan = choose_plan(stage, images, targets, config.runtime.precision)
    train = seconds_per_step(plan, stage, images, targets)
    predict = _seconds_of_prediction(network.to(memory_format=torch.channels_last), images)
    return {
        "name": options.name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
        "train_ms": train * 1000 / config.batch_size,
        "predict_ms": predict * 1000 / config.batch_size,
        "precision": plan.precision,
        "symmetry": network.backbone.symmetry,
        "smallest_size": smallest_size(options, config.image.color),
    }


def _regressor(options: Any, config: BackbonesConfig) -> Any:
    whole = Config(
        run="",
        data=SimulatedConfig(),
        backbone=options,
        pooling=config.pooling,
        image=ImageConfig(size=config.image.size, color=config.image.color),
    )
    return build_regressor(whole, BINS)


def _estimate(network: Network, images: torch.Tensor) -> torch.Tensor:
    return network.estimate(network.pooled(images))


def _seconds_of_prediction(network: Network, images: torch.Tensor) -> float:
    """For a batch, one view of each image, float32 as predictions are."""

    @torch.no_grad()
    def predict() -> None:
        _estimate(network, images).cpu()

    predict()
    return least_time(predict)
