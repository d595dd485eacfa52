"""The options of the commands that take others than a run's, and which command takes which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from twostage.options.field import option, part
from twostage.options.run import Config, ImageConfig

__all__ = [
    "BASELINE_METHODS",
    "COMMANDS",
    "NETWORK_METHODS",
    "BackbonesConfig",
    "BackbonesRuntimeConfig",
    "CompareConfig",
    "ComparisonConfig",
    "LearningCurveConfig",
    "PredictConfig",
    "PredictRuntimeConfig",
]

BASELINE_METHODS = ("mean", "ridge", "boosting", "extra_trees")
"""What compare can do without a network."""

NETWORK_METHODS = (
    "classifier", "fine_bins", "direct", "two_stage_argmax", "two_stage_top2", "two_stage_mixture",
)  # fmt: skip
"""What compare can train, with the backbone of the options or, as METHOD@BACKBONE, with another."""


@dataclass
class ComparisonConfig:
    """Which methods are compared, and on what terms."""

    methods: list[str] = option(
        [*BASELINE_METHODS, *NETWORK_METHODS],
        f"what is compared: {', '.join((*BASELINE_METHODS, *NETWORK_METHODS))}; the last six also as METHOD@BACKBONE",
    )
    minutes: float | None = option(
        2.0, "training time of each method, once per seed and fold; null: train.epochs instead", 0.01, 100_000
    )
    seeds: list[int] | None = option(None, "each method once per seed; null: seed alone")


@dataclass
class CompareConfig(Config):
    """Options of `twostage compare`."""

    compare: ComparisonConfig = part(ComparisonConfig)


@dataclass
class LearningCurveConfig(Config):
    """Options of `twostage learning-curve`: those of train, and with how many photographs."""

    shares: list[float] = option(
        [0.125, 0.25, 0.5, 1.0], "shares of the training photographs, three or more, each a training of its own"
    )


@dataclass
class PredictRuntimeConfig:
    """Where and how to compute predictions."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: int = option(0, "processor threads; 0: one per core", 0, 4096)
    progress: bool = option(True, "show progress")
    precision: str = option("float32", "of the backbone", choices="float32 bfloat16")


@dataclass
class PredictConfig:
    """Options of `twostage predict`."""

    run: str = option("latest", "the run (or model folder) that predicts")
    input: str = option(MISSING, "a photograph, a folder, a glob in quotes, or a table (.csv, .tsv)")
    output: str | None = option(None, "the table to write; without it the rows are printed")
    image_column: str | None = option(None, "column of a table with the paths; default: as in training")
    target_column: str | None = option(None, "column of a table with known concentrations; default: as in training")
    runtime: PredictRuntimeConfig = part(PredictRuntimeConfig)


@dataclass
class BackbonesRuntimeConfig:
    """Where and how to measure backbones."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: int = option(0, "processor threads; 0: one per core", 0, 4096)
    precision: str = option(
        "auto", "of the backbone in training; auto: what is fastest here, measured", choices="auto float32 bfloat16"
    )


@dataclass
class BackbonesConfig:
    """Options of `twostage backbones`."""

    names: list[str] = option(
        "compact vgg resnet10t resnet18 inception p4 p4m steerable mixed_scale".split(),
        "backbones to be shown, timm's included",
    )
    backbone: Any = field(default=None, metadata={"meaning": "one with options of its own instead: backbone=NAME"})
    image: ImageConfig = part(ImageConfig)
    pooling: str = option("masks", "from feature map to vector", choices="mean flatten masks")
    batch_size: int = option(16, "images per step", 2, 65_536)
    json: bool = option(False, "print JSON instead of a table; --json is short for it")
    runtime: BackbonesRuntimeConfig = part(BackbonesRuntimeConfig)


COMMANDS: dict[str, type] = {
    "train": Config,
    "train-classifier": Config,
    "train-regressor": Config,
    "evaluate": Config,
    "crossval": Config,
    "compare": CompareConfig,
    "learning-curve": LearningCurveConfig,
    "predict": PredictConfig,
    "backbones": BackbonesConfig,
}
