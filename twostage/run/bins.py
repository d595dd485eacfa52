"""The bins of a run, over its training targets."""

from __future__ import annotations

import numpy as np

from twostage.bins import Bins
from twostage.errors import DataError, some
from twostage.options.run import BinsConfig, Config

__all__ = ["lay_bins"]

MOST_LEVELS = 4
"""Different targets per bin; more are no levels, and no edge need avoid them."""


def lay_bins(config: Config, targets: np.ndarray, groups: np.ndarray | None = None) -> tuple[Bins, list[str]]:
    """The bins over the training targets (N,) and their groups, and what is to be said of them.

    Raises:
        DataError: All targets are equal, or there are fewer images than bins.
    """
    options = config.bins
    if np.ptp(targets) == 0:
        raise DataError(f"all {len(targets)} training targets are {targets[0]:g}: there is nothing to learn")
    low, high = options.range or (float(targets.min()), float(targets.max()))
    if config.method == "direct":
        edges = options.edges or [low, high]
        bins = Bins([edges[0], edges[-1]])
        return bins, _outside(bins, targets)
    bins, notes = _laid(options, targets, low, high)
    if len(targets) < bins.count and options.min_images:
        raise DataError(
            f"{len(targets)} training images are fewer than {bins.count} bins: lower bins.count or add data"
        )
    bins, merged = bins.merged(targets, options.min_images)
    notes += merged
    if groups is not None:
        bins, merged = bins.merged(targets, options.min_groups, groups)
        notes += merged
    if bins.count == 1:
        notes.append("one bin is left, where a classifier has nothing to learn: method=direct does without it")
    return bins, notes + _outside(bins, targets)


def _outside(bins: Bins, targets: np.ndarray) -> list[str]:
    count = int(((targets < bins.edges[0]) | (targets > bins.edges[-1])).sum())
    note = (
        f"{count} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: they belong to "
        f"the end bins, with offsets beyond 1; bins.range=null takes the range from the data"
    )
    return [note] if count else []


def _laid(options: BinsConfig, targets: np.ndarray, low: float, high: float) -> tuple[Bins, list[str]]:
    """The bins as the options say, with edges between levels where targets are few levels."""
    if options.edges:
        return Bins(options.edges), []
    if options.scheme == "quantile":
        bins = Bins.quantile(targets, options.count, low, high)
    else:
        bins = Bins.uniform(low, high, options.count)
    levels = np.unique(targets)
    if len(levels) > min(MOST_LEVELS * options.count, len(targets) / 2):
        return bins, []
    between = bins.between(levels)
    note = (
        f"the {len(targets)} training targets are {len(levels)} levels: the edges of the bins were moved to the middle "
        f"between levels ({some((f'{edge:g}' for edge in between.edges), 12)}); bins.edges=[...] sets others"
    )
    return between, [] if between == bins else [note]
