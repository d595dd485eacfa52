"""The bins of a run, over its training targets."""

from __future__ import annotations

import numpy as np

from twostage.bins import Bins
from twostage.errors import DataError
from twostage.options.run import Config

__all__ = ["lay_bins"]


def lay_bins(config: Config, targets: np.ndarray, groups: np.ndarray | None = None) -> tuple[Bins, list[str]]:
    """The bins over the training targets (N,) and their groups, and what was merged.

    Raises:
        DataError: All targets are equal, or there are fewer images than bins.
    """
    options = config.bins
    if np.ptp(targets) == 0:
        raise DataError(f"all {len(targets)} training targets are {targets[0]:g}: there is nothing to learn")
    low, high = options.range or (float(targets.min()), float(targets.max()))
    if config.method == "direct":
        edges = options.edges or [low, high]
        return Bins([edges[0], edges[-1]]), []
    if options.edges:
        bins = Bins(options.edges)
    elif options.scheme == "quantile":
        bins = Bins.quantile(targets, options.count, low, high)
    else:
        bins = Bins.uniform(low, high, options.count)
    if len(targets) < bins.count and options.min_images:
        raise DataError(
            f"{len(targets)} training images are fewer than {bins.count} bins: lower bins.count or add data"
        )
    outside = int(((targets < bins.edges[0]) | (targets > bins.edges[-1])).sum())
    bins, merged = bins.merged(targets, options.min_images)
    if groups is not None:
        bins, more = bins.merged(targets, options.min_groups, groups)
        merged += more
    if bins.count == 1:
        merged.append("one bin is left, where a classifier has nothing to learn: method=direct does without it")
    if outside:
        merged.append(
            f"{outside} of {len(targets)} training targets lie outside {bins.edges[0]:g}..{bins.edges[-1]:g}: they "
            f"belong to the end bins, with offsets beyond 1; bins.range=null takes the range from the data"
        )
    return bins, merged
