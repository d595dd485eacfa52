"""What the stages say, as a graph: `TwoStage.read` for all views at once, which pass the networks as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from twostage.data.augment import dihedral_view, undone_view
from twostage.stages.network import Network
from twostage.stages.reading import different_views
from twostage.stages.two_stage import TwoStage

__all__ = ["Said", "Seen", "Stages"]


class Said(NamedTuple):
    """A `Reading` in tensors, float64: `probabilities`, `offsets`, `log_scales` (N,K) and `first` (N,)."""

    probabilities: Tensor
    offsets: Tensor
    log_scales: Tensor
    first: Tensor


class Seen(nn.Module):
    """Pooled vectors of views of images (N,C,H,W).

    `together`: what is fitted to the photograph is fitted once for all its views, as `Network.seen` does, and there is
    one vector for each photograph, (N,P); else one for each view, (V*N,P), view after view, as `Network.pooled`.
    """

    def __init__(self, network: Network, numbers: Sequence[int], together: bool) -> None:
        super().__init__()
        self.network, self.numbers, self.together = network, list(numbers), together
        self.fitted = network.pooling.fitted if network.reads_fitted else 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled vectors, and the masks (N,M,h,w): means over the views, turned back; None where there are none."""
        pooling = self.network.pooling
        feature_map, normal = self.network.features(torch.cat([dihedral_view(images, n) for n in self.numbers]))
        vectors, looked = pooling(feature_map, normal), pooling.look(feature_map, normal)
        masks = None if looked is None else self._turned_back(looked[0])
        if self.together:
            vectors = self._mean(vectors.double())
        if self.fitted and looked is not None and masks is not None:
            under, seen = (masks, self.network.normal(images)) if self.together else (looked[0], normal)
            vectors = torch.cat([vectors[:, : -self.fitted], pooling.fit(under, seen).to(vectors)], 1)
        return vectors.to(self.network.mean), masks

    def _mean(self, values: Tensor) -> Tensor:
        """Over the views, (V*N,...) -> (N,...)."""
        return values.unflatten(0, (len(self.numbers), -1)).mean(0)

    def _turned_back(self, masks: Tensor) -> Tensor:
        views = masks.unflatten(0, (len(self.numbers), -1)).unbind(0)
        return torch.stack([undone_view(view, n) for view, n in zip(views, self.numbers, strict=True)]).mean(0)

    def said(self, values: Tensor) -> Tensor:
        """What was said of the vectors, as float64 (N,...): over the views, where each had its own."""
        return values.double() if self.together else self._mean(values.double())


class Stages(nn.Module):
    """One `TwoStage`: images in the network's colour space (N,C,H,W) -> what it says, and the last stage's masks."""

    def __init__(self, member: TwoStage, views: Sequence[int]) -> None:
        super().__init__()
        self.member = member
        numbers = different_views([stage.network for stage in member.stages], views)
        self.classifier, self.regressor = None, None
        if member.classifier is not None:
            network = member.classifier.network
            self.classifier = Seen(network, numbers, member.regressor is None and network.reads_fitted)
        if member.regressor is not None:
            network = member.regressor.network
            self.regressor = Seen(network, numbers, network.reads_fitted)

    def forward(self, images: Tensor) -> tuple[Said, Tensor | None]:
        """As `TwoStage.read` says it, and the masks (N,M,h,w) of the last stage, None without."""
        count, member = images.shape[0], self.member
        probabilities, first = images.new_ones(count, 1).double(), images.new_full((count,), torch.nan).double()
        offsets, masks = probabilities.new_zeros(count, member.bins.count), None
        log_scales = torch.full_like(offsets, torch.nan)
        if self.classifier is not None and member.classifier is not None:
            pooled, masks = self.classifier(images)
            probabilities, first = map(self.classifier.said, member.classified(member.classifier, pooled))
            offsets = member.classifier.offsets.double().expand(count, -1)
        if self.regressor is not None and member.regressor is not None:
            pooled, masks = self.regressor(images)
            offsets, log_scales = map(self.regressor.said, member.regressor.read(pooled))
        return Said(probabilities, offsets, log_scales, first), masks
