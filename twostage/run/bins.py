"""The bins of a run, over its training targets."""

from __future__ import annotations

import numpy as np

from twostage.bins import Bins
from twostage.errors import DataError, number_of, some
from twostage.options.run import BinsConfig, Config
from twostage.scale import Scale
from twostage.stages.left_out import FEW
from twostage.tables.parts import PARTS

__all__ = ["beyond_training", "is_few", "lay_bins", "never_said", "rows_of_bins", "spanned_decades"]

MOST_LEVELS = 4
"""Different targets per bin; more are no levels, and no edge need avoid them."""
DECADES = 2
"""Concentrations that span so many are asked about in percent, not in units."""
MOST_OF_THEM = 0.75
BEYOND_TRAINING = 0.05
"""Share of the training range; less beyond it comes of drawing parts at random."""


def lay_bins(config: Config, targets: np.ndarray, groups: np.ndarray | None = None) -> tuple[Bins, list[str]]:
    """The bins over the training targets (N,) and their groups, and what is to be said of them.

    Raises:
        DataError: All targets are equal.
    """
    options, scale = config.bins, config.data.scale
    if np.ptp(targets) == 0:
        raise DataError(f"all {len(targets)} training targets are {targets[0]:g}: there is nothing to learn")
    low, high = options.range or _span(targets, options.period)
    if config.method == "direct":
        edges = options.edges or [low, high]
        bins = Bins([edges[0], edges[-1]], scale, options.period)
        return bins, _outside(bins, targets)
    laid, notes = _laid(options, targets, low, high, scale)
    bins = laid.merged(targets, options.min_images)
    if groups is not None:
        bins = bins.merged(targets, options.min_groups, groups)
    notes += _merged(laid, bins, options, groups is not None)
    return bins, notes + _outside(bins, targets)


def _span(targets: np.ndarray, period: float | None) -> tuple[float, float]:
    """From where to where bins go that take it from the targets (N,): on a circle around it, from half a period below
    zero if there are targets below zero, else from zero.
    """
    if period is None:
        return float(targets.min()), float(targets.max())
    low = -period / 2 if targets.min() < 0 else 0.0
    return low, low + period


def _merged(laid: Bins, bins: Bins, options: BinsConfig, grouped: bool) -> list[str]:
    if laid.count == bins.count:
        return []
    needs = f"{options.min_images} training images (bins.min_images)"
    needs += f" of {options.min_groups} groups (bins.min_groups)" if grouped else ""
    if bins.count == 1:
        left = "one is left, where a classifier has nothing to learn: method=direct does without it"
    else:
        left = f"{bins.count} are left, with edges at {_listed(bins)}"
    return [f"a bin needs {needs}: of {laid.count} bins those with fewer were merged with a neighbour, and {left}"]


def _listed(bins: Bins) -> str:
    return some((f"{edge:.4g}" for edge in bins.edges), 12)


def _outside(bins: Bins, targets: np.ndarray) -> list[str]:
    count = int(((targets < bins.edges[0]) | (targets > bins.edges[-1])).sum())
    if count and bins.period is not None:
        return [
            f"{count} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: with "
            f"bins.period={bins.period:g} they are the same as others inside, and are read as these"
        ]
    note = (
        f"{count} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: they belong to "
        f"the end bins, with offsets beyond 1; bins.range=null takes the range from the data"
    )
    return [note] if count else []


def is_few(parts: np.ndarray, groups: np.ndarray | None) -> bool:
    """Are the specimens for training and validation so few that none should be set aside to choose by?

    Args:
        groups: The specimen of each photograph (N,); where none is known, each photograph is one.
    """
    learned = np.isin(parts, ["train", "validation"])
    return (int(learned.sum()) if groups is None else len(np.unique(groups[learned]))) < FEW


def rows_of_bins(parts: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Rows of the photographs whose concentrations bins are laid over: of few specimens, those for validation too."""
    return np.flatnonzero(np.isin(parts, ["train", "validation"] if is_few(parts, groups) else ["train"]))


def beyond_training(scale: Scale, targets: np.ndarray, parts: np.ndarray) -> list[str]:
    """A sentence where concentrations (N,) of other parts (N,) lie beyond those that are learned from."""
    if scale.period is not None:  # a circle has no end
        return []
    places = scale.to(targets)
    train = places[parts == "train"]
    slack = BEYOND_TRAINING * np.ptp(train)
    beyond = (places < train.min() - slack) | (places > train.max() + slack)
    found = [f"{count} in {part}" for part in PARTS[1:] if (count := int((beyond & (parts == part)).sum()))]
    if not found:
        return []
    low, high = targets[parts == "train"].min(), targets[parts == "train"].max()
    return [
        f"photographs with concentrations beyond {low:g}..{high:g}, those that are learned from: {', '.join(found)}; a "
        f"network reads them badly, so train on more levels, or split otherwise"
    ]


def never_said(limit: str, bins: Bins, targets: np.ndarray) -> list[str]:
    """A sentence where `combine.limit` keeps readings from concentrations that photographs have, (N,)."""
    low, high = bins.edges[[0, -1]]
    beyond = int(((targets < low) | (targets > high)).sum())
    if limit == "none" or not beyond:
        return []
    return [
        f"{number_of(beyond, 'photograph has a concentration', 'photographs have concentrations')} beyond "
        f"{low:g}..{high:g}, which combine.limit={limit} never says: set a wider bins.range, or combine.limit=none"
    ]


def spanned_decades(config: Config, targets: np.ndarray) -> float:
    """How many decades concentrations (N,) span that are to be read on a linear scale; 0 for too few.

    All of them `DECADES`, and nine tenths most of these: of a uniform spread all but a few lie in the last decade.
    """
    if config.data.scale != "linear" or targets.min() <= 0:
        return 0.0
    low, fifth, upper, high = np.log10(np.quantile(targets, [0, 0.05, 0.95, 1]))
    return float(high - low) if high - low >= DECADES and upper - fifth >= MOST_OF_THEM * DECADES else 0.0


def _laid(options: BinsConfig, targets: np.ndarray, low: float, high: float, scale: str) -> tuple[Bins, list[str]]:
    """The bins as the options say, with edges between levels where targets are few levels."""
    if options.edges:
        return Bins(options.edges, scale, options.period), []
    bins = Bins.uniform(low, high, options.count, scale, options.period)
    targets = bins.scale.home(targets)
    if options.scheme == "quantile":
        bins = Bins.quantile(targets, options.count, low, high, scale, options.period)
    levels = np.unique(targets)
    if len(levels) > min(MOST_LEVELS * options.count, len(targets) / 2):
        return bins, []
    between = bins.between(levels)
    note = (
        f"the {len(targets)} training targets are {len(levels)} levels: the edges of the bins were moved to the middle "
        f"between levels ({_listed(between)}); bins.edges=[...] sets others"
    )
    return between, [] if between == bins else [note]
