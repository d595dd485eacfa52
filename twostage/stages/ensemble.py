"""Several trained pairs of stages that read as one: the mean of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from twostage.data.store import Pixels
from twostage.stages.classifier import Classifier
from twostage.stages.encoded import Encoded
from twostage.stages.reading import Reading, mean_around
from twostage.stages.regressor import Regressor
from twostage.stages.stage import Stage
from twostage.stages.two_stage import TwoStage

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Members over the same bins; where one is to be shown, or asked for its parts, it is the first."""

    def __init__(self, members: Sequence[TwoStage]) -> None:
        """Raises ValueError without members, or where their bins differ."""
        if not members or any(member.bins != members[0].bins for member in members):
            raise ValueError("an ensemble needs members over the same bins")
        super().__init__()
        self.members = list(members)
        self.weights = nn.ModuleList(members)  # so that they move, and count, as one
        self.first, self.bins, self.color = members[0], members[0].bins, members[0].color

    @property
    def stages(self) -> list[Stage]:
        """Those of the first member."""
        return self.first.stages

    @property
    def classifier(self) -> Classifier | Encoded | None:
        """That of the first member."""
        return self.first.classifier

    @property
    def regressor(self) -> Regressor | None:
        """That of the first member."""
        return self.first.regressor

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.first.dtype

    @torch.no_grad()
    def read(self, pixels: Pixels, *, views: Sequence[int] = range(8)) -> Reading:
        """What the members say of uint8 photographs (N,H,W,3) on average, over views as `TwoStage.read`."""
        said = [list(member.read(pixels, views=views)) for member in self.members]
        probabilities, offsets, log_scales, first = (np.stack(one) for one in zip(*said, strict=True))
        if self.bins.period is None:
            return Reading(*(one.mean(0) for one in (probabilities, offsets, log_scales, first)))
        around = mean_around(offsets, self.bins.period / self.bins.half_width), mean_around(first, self.bins.period)
        return Reading(probabilities.mean(0), around[0], log_scales.mean(0), around[1])

    def masks(self, pixels: Pixels, *, views: Sequence[int] = range(8)) -> np.ndarray | None:
        """Where the first member looks, as `TwoStage.masks`: the third mask of one is not the third of another."""
        return self.first.masks(pixels, views=views)
