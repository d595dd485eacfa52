"""The options of a run: one typed dataclass per component, with default, range, unit and meaning.

A default is written here once; the files in conf/ hold only what differs. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from twostage.options.choices import ALIGNMENTS, COMBINATIONS, INTERVALS, METHODS, POOLINGS, TRACKERS
from twostage.options.field import option, part

__all__ = [
    "AugmentConfig",
    "BinsConfig",
    "ClassifierConfig",
    "CombineConfig",
    "Config",
    "ImageConfig",
    "IntervalsConfig",
    "RegressorConfig",
    "RuntimeConfig",
    "SplitConfig",
    "TrainConfig",
    "TrustConfig",
]


@dataclass
class ImageConfig:
    """From file to network input."""

    size: int = option(64, "side of the square that the network sees, pixels", 32, 512)
    color: str = option("optical_density", "what the network sees", choices="srgb linear optical_density grayscale")
    fit: str = option(
        "stretch",
        "photographs that are not square: stretch and pad keep all, out of proportion or with a border; crop cuts",
        choices="stretch pad crop",
    )


@dataclass
class SplitConfig:
    """Train, validation, calibration and test; what is left over is for training."""

    validation: float = option(0.125, "share that chooses: epoch, temperature, penalty of the last layer", 0.01, 0.5)
    calibration: float = option(0.125, "share kept for intervals; 0 is allowed", 0.0, 0.5)
    test: float = option(0.125, "share for the final figures; 0: none, and no figures", 0.0, 0.9)
    train_share: float = option(
        1.0, "of the training photographs use this share, whole groups; epochs grow to show as many images", 0.01, 1.0
    )
    folds: int | None = option(None, "the test set is one of so many folds instead; crossval: 5", 2, 1000)
    fold: int = option(0, "which fold, from 0", 0, 999)
    column: str | None = option(None, "split by this column of the table: its test_values are the test set")
    test_values: list[str] = option([], "values of split.column that form the test set")
    sealed: bool = option(False, "leave the test set closed while something is chosen; folds are then of the others")
    duplicates: str = option(
        "warn", "near-duplicates in different parts: warn, group them together, or ignore", choices="warn group ignore"
    )


@dataclass
class BinsConfig:
    """Bins over the concentration."""

    count: int = option(9, "number of bins K", 1, 1000)
    scheme: str = option("uniform", "bins of equal width or of equal count", choices="uniform quantile")
    range: list[float] | None = option([80.0, 350.0], "lowest and highest edge; null: of the training targets")
    edges: list[float] | None = option(None, "explicit edges instead of count, scheme and range")
    period: float | None = option(
        None, "of a target that goes around, as 360 of degrees: the bins fill it, and the last lies beside the first"
    )
    min_images: int = option(5, "a bin with fewer training images is merged with a neighbour", 0, 1_000_000)
    min_groups: int = option(5, "so is one with images of fewer groups, where groups are known", 0, 1_000_000)


@dataclass
class AugmentConfig:
    """What is changed from epoch to epoch in the training photographs."""

    quarter_turns: bool = option(True, "turn by 0, 90, 180 or 270 degrees, exactly")
    flips: bool = option(True, "mirror left and right, and top and bottom, exactly; both together are half a turn")
    mirror: bool = option(False, "mirror left and right alone, exactly: for photographs that have an upper end")
    rotation: float = option(0.0, "turn by any angle up to this, degrees", 0.0, 180.0)
    shift: float = option(0.0, "move by up to this share of the width", 0.0, 0.5)
    scale: float = option(0.0, "enlarge or shrink by up to this share", 0.0, 0.5)
    brightness: float = option(0.0, "add up to this to sRGB in [0, 1]; moves the colour", 0.0, 0.5)
    gamma: list[float] = option([0.0, 0.0], "raise sRGB to 1 + a value from this range; moves the colour")
    noise: float = option(0.0, "largest standard deviation of pixel noise, sRGB in [0, 1]", 0.0, 0.2)
    exposure: float = option(0.0, "standard deviation of a change of exposure, optical density; moves the colour", 0, 1)
    white_balance: float = option(0.0, "the same, of each channel by itself", 0, 1)
    moves_target: bool | None = option(
        None,
        "do turns and mirroring move the target, an angle from upright in degrees, counter-clockwise? true: it moves "
        "with the photograph; false: it stays; null: it stays, and is refused where the target is an angle",
    )

    @property
    def invariant_views(self) -> tuple[int, ...]:
        """The turns and flips, as numbered by `dihedral_views`, that are said to leave the concentration unchanged.

        Training shows them; prediction may average over them, and over no others.
        """
        if self.moves_target:
            return (0,)
        turns = self.quarter_turns or self.rotation >= 180
        if turns and (self.flips or self.mirror):
            return tuple(range(8))
        if turns:
            return (0, 1, 2, 3)
        if self.flips:
            return (0, 2, 4, 6)
        return (0, 4) if self.mirror else (0,)


@dataclass
class ClassifierConfig:
    """Stage 1."""

    share: float | None = option(
        None, "share of train.epochs that goes to the classifier; null: 0.05, with regressor.align 0.4", 0.01, 0.99
    )
    encoding: str = option(
        "bins",
        "what it learns: bins; to compare with, alone (method=classifier): soft_bins, whose places are learned, or "
        "learned codes of the concentration",
        choices="bins soft_bins codes",
    )
    smoothing: float = option(0.25, "standard deviation of the soft targets, bin widths", 0.01, 10.0)
    backbone: Any = field(default=None, metadata={"meaning": "set with +backbone@classifier.backbone=NAME"})


@dataclass
class RegressorConfig:
    """Stage 2."""

    overlap: float = option(1.0, "bin k also learns from images this far outside it, bin widths", 0.0, 10.0)
    loss: str = option("huber", "huber: of the error; gaussian: likelihood of the offsets", choices="huber gaussian")
    huber_delta: float = option(0.03, "where the Huber loss turns linear, share of the range", 1e-6, 10.0)
    warm_start: bool = option(True, "start from the classifier's weights")
    align: str = option(
        "none",
        "what it sees: none, the photograph; turn, the photograph turned back by the center of the likeliest bin",
        choices=ALIGNMENTS,
    )
    align_by: str = option(
        "mix",
        "the bin by which photographs are turned back in training: true, or what the classifier says, or mix, each in "
        "half of them",
        choices="true classifier mix",
    )
    backbone: Any = field(default=None, metadata={"meaning": "set with +backbone@regressor.backbone=NAME"})


@dataclass
class TrainConfig:
    """The training of both stages."""

    epochs: int | None = option(
        None,
        "epochs of both stages together; null: as many as show train.images, but 32 to 400; 0: closed forms alone",
        0,
        1_000_000,
    )
    images: int = option(160_000, "photographs to show, each many times, where epochs is null", 1, 10**12)
    minutes: float | None = option(None, "instead of epochs: training time of both stages together", 0.01, 100_000)
    batch_size: int = option(16, "images per step", 2, 65_536)
    learning_rate: float = option(3e-3, "highest learning rate of AdamW", 1e-8, 10.0)
    weight_decay: float = option(0.01, "weight decay of AdamW", 0.0, 10.0)
    schedule: str = option("one_cycle", "course of the learning rate", choices="one_cycle cosine constant")
    warmup: float = option(0.2, "share of the steps in which one_cycle rises", 0.0, 0.9)
    ema_decay: float = option(0.99, "decay per step of the averaged weights that are kept; 0: none", 0.0, 0.99999)
    patience: int = option(0, "stop after this many epochs without a better validation RMSE; 0: never", 0, 1_000_000)
    refit: bool = option(True, "after training, solve the last layer of a stage in closed form (ridge regression)")
    final: str = option(
        "auto",
        "what is handed out: part leaves out a test set, which gives the figures; folds, which give them, is the mean "
        "of models each trained without a fold; all is one model without a test set beside such folds; auto: folds "
        "for fewer than 60 specimens in files, unless a test set is named",
        choices="auto part all folds",
    )
    retry: bool = option(False, "after a loss that is no finite number, start the stage once more at half the rate")


@dataclass
class CombineConfig:
    """From both stages to one concentration."""

    method: str = option("mixture", "how bins and offsets become one concentration", choices=COMBINATIONS)
    limit: str = option(
        "none",
        "what is said beyond the range of the bins: none, the number as it was read; clip, the nearer end; logistic, "
        "estimates are bent into the range, in training already",
        choices="none clip logistic",
    )
    views: str = option(
        "8",
        "views averaged in prediction; 8: the turns and flips that augment allows; auto: one, where its error is at "
        "most 1.1 times as large",
        choices="1 8 auto",
    )


@dataclass
class IntervalsConfig:
    """Intervals around the readings."""

    method: str = option(
        "distributional",
        "how intervals are found on photographs that nothing has learned from: distributional, as wide as each reading "
        "is uncertain; conformal, as wide everywhere",
        choices=INTERVALS,
    )
    confidence: float = option(0.9, "share of concentrations that shall lie inside", 0.01, 0.999)
    max_width: float | None = option(None, "a longer interval gives low_confidence; in the unit", 0.0, 1e300)


@dataclass
class TrustConfig:
    """Which photographs are not to be believed."""

    false_alarm: float = option(0.01, "share of specimens of the right kind that may be called unlike", 0.0001, 0.5)
    unlike: str = option("flag", "photographs unlike the training: flag or refuse them", choices="flag refuse")


@dataclass
class RuntimeConfig:
    """Where and how to compute. The last digits of the result depend on it, but not what it means."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: Any = option(
        0, "processor threads; 0: one per core; auto: as many as are fastest, measured", 0, 4096, choices="auto"
    )
    progress: bool = option(True, "show progress")
    precision: str = option(
        "auto", "of the backbone in training; auto: what is fastest here, measured", choices="auto float32 bfloat16"
    )
    tracker: list[str] = option([], "where else a run is shown while it trains", choices=TRACKERS)
    cache_dir: str = option(
        "outputs/.cache", "folder of the decoded photographs; it may be deleted at any time", place=True
    )
    checkpoint_seconds: float = option(60.0, "longest time between two checkpoints within an epoch", 0.0, 86_400.0)


@dataclass
class Config:
    """Options of the commands that train and evaluate."""

    run: str = option(MISSING, "name of the run: its folder is outputs/NAME", place=True)
    method: str = option(
        "two_stage", "two_stage; direct: one bin, no classifier; classifier: bin centers alone", choices=METHODS
    )
    seed: int = option(0, "seed of everything random", 0, 2**31 - 1)
    resume: str = option("auto", "an existing run goes on if nothing changed; force: in any case", choices="auto force")
    data: Any = MISSING
    image: ImageConfig = part(ImageConfig)
    split: SplitConfig = part(SplitConfig)
    bins: BinsConfig = part(BinsConfig)
    augment: AugmentConfig = part(AugmentConfig)
    backbone: Any = MISSING
    pooling: str = option("surfaces", "from feature map to vector", choices=POOLINGS)
    start: str = option(
        "auto",
        "what networks begin with: scenes (the start that ships), none, or the folder of a finished run; auto: scenes "
        "where it fits, for photographs from files",
        place=True,
    )
    classifier: ClassifierConfig = part(ClassifierConfig)
    regressor: RegressorConfig = part(RegressorConfig)
    train: TrainConfig = part(TrainConfig)
    combine: CombineConfig = part(CombineConfig)
    intervals: IntervalsConfig = part(IntervalsConfig)
    trust: TrustConfig = part(TrustConfig)
    runtime: RuntimeConfig = part(RuntimeConfig)

    @property
    def views(self) -> tuple[int, ...]:
        """The turns and flips over which readings are averaged, or with combine.views=auto may be."""
        return (0,) if self.combine.views == "1" else self.augment.invariant_views

    @property
    def sees_disc(self) -> bool:
        """Do networks see the disc alone that stays in a photograph however it is turned?"""
        return bool(self.augment.moves_target and self.augment.rotation) or self.regressor.align == "turn"

    @property
    def is_angle(self) -> bool:
        """Does the target go around, or move with a photograph that is turned?"""
        return self.bins.period is not None or bool(self.augment.moves_target)

    @property
    def classifier_share(self) -> float:
        """Share of the training that goes to the classifier."""
        usual = 0.05 if self.regressor.align == "none" else 0.4
        return usual if self.classifier.share is None else self.classifier.share
