"""Which options the photographs and their concentrations ask for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

from twostage.errors import ConfigError, DataError, number_of
from twostage.run.bins import lay_bins, spanned_decades
from twostage.run.data import RunData
from twostage.tables.table import specimen_columns

__all__ = ["MANY_GROUPS", "Suggestion", "suggestions"]

MANY_GROUPS = 50
"""With fewer specimens one test set is a matter of luck."""


class Suggestion(NamedTuple):
    """An option as it is written on the command line, and why."""

    option: str
    why: str


def suggestions(data: RunData) -> list[Suggestion]:
    """What to add to the options."""
    on_scale = [*_targets(data)]
    log = any(one.option == "data.scale=log" for one in on_scale)
    bins = [] if log else [*_bins(data)]  # another scale lays other bins
    return [*_unit(data), *on_scale, *_groups(data), *bins, *_shapes(data)]


def _unit(data: RunData) -> Iterator[Suggestion]:
    if data.photos.table.unit and not data.config.data.unit:
        yield Suggestion(f"data.unit={data.photos.table.unit}", "the concentrations are written with it")


def _targets(data: RunData) -> Iterator[Suggestion]:
    config, targets = data.config, data.photos.table.targets
    given = config.bins.edges or config.bins.range or [1.0]
    if config.is_angle:
        return
    decades = spanned_decades(config, targets)
    if decades and min(given) > 0:
        yield Suggestion("data.scale=log", f"concentrations span {decades:.1f} decades: judge them in percent")
    elif config.data.minimum is None and config.data.scale == "linear" and targets.min() == 0:
        yield Suggestion("data.minimum=0", "the least concentration is 0: no reading should lie below")


def _shapes(data: RunData) -> Iterator[Suggestion]:
    if data.cut:
        yield Suggestion("image.fit=stretch", "it keeps all of the photographs that are not square")


def _groups(data: RunData) -> Iterator[Suggestion]:
    config, groups = data.config, data.photos.table.groups
    named = specimen_columns(data.photos.table.header)
    if groups is None and len(named) == 1:
        yield Suggestion(
            f"data.group_column={named[0]}", "photographs of one specimen must stay on one side of the split"
        )
    elif data.leaks is not None and len(data.leaks) and config.split.duplicates == "warn":
        yield Suggestion("split.duplicates=group", "near-duplicates lie on both sides of the split")


def _bins(data: RunData) -> Iterator[Suggestion]:
    """Equal counts where bins of equal width are mostly empty, and no bins where one is left."""
    config, table = data.config, data.photos.table.select(data.part("train"))
    if config.method == "direct" or config.bins.edges:
        return
    quantile = copy.deepcopy(config)
    quantile.bins.scheme = "quantile"
    try:
        count = lay_bins(quantile, table.targets, table.groups)[0].count
    except (ConfigError, DataError):
        return
    if config.bins.scheme == "uniform" and count >= data.bins.count + 2:
        yield Suggestion(
            "bins.scheme=quantile", f"it keeps {number_of(count, 'bin', 'bins')}, bins of equal width {data.bins.count}"
        )
    elif data.bins.count == 1:
        yield Suggestion("method=direct", "one bin is left, where a classifier has nothing to learn")
