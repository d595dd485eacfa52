"""What the stages say, as a graph: `TwoStage.read` for all views at once, which pass the networks as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.data.augment import dihedral_view, undone_view
from twostage.stages.network import Network
from twostage.stages.reading import different_views, mean_around
from twostage.stages.two_stage import TwoStage

__all__ = ["Near", "Said", "Seen", "Stages", "turns_of"]


class Said(NamedTuple):
    """A `Reading` in tensors, float64: `probabilities`, `offsets`, `log_scales` (N,K) and `first` (N,)."""

    probabilities: Tensor
    offsets: Tensor
    log_scales: Tensor
    first: Tensor


def turns_of(bins: Bins) -> dict[str, Tensor]:
    """After how much the fields of `Said` come again that do, on a circle: (K,) or a number."""
    if bins.period is None:
        return {}
    period = torch.tensor(bins.period, dtype=torch.float64)
    return {"offsets": period / torch.from_numpy(bins.half_width), "first": period}


class Near(nn.Module):
    """What a member says (N,...), counted from what the `first` says as the shorter way around leads."""

    def __init__(self, turn: Tensor) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, said: Tensor, first: Tensor) -> dict[str, Tensor]:
        """As "near"."""
        return {"near": first + torch.remainder(said - first + self.turn / 2, self.turn) - self.turn / 2}


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
        return self._views(values).mean(0)

    def _views(self, values: Tensor) -> Tensor:
        return values.unflatten(0, (len(self.numbers), -1))

    def _turned_back(self, masks: Tensor) -> Tensor:
        views = self._views(masks).unbind(0)
        return torch.stack([undone_view(view, n) for view, n in zip(views, self.numbers, strict=True)]).mean(0)

    def said(self, values: Tensor, turn: Tensor | None = None) -> Tensor:
        """What was said of the vectors, as float64 (N,...): over the views, where each had its own.

        Args:
            turn: After which it comes again, on a circle.
        """
        if self.together:
            return values.double()
        return self._mean(values.double()) if turn is None else mean_around(self._views(values.double()), turn)


class Stages(nn.Module):
    """One `TwoStage`: images in the network's colour space (N,C,H,W) -> what it says, and the last stage's masks."""

    def __init__(self, member: TwoStage, views: Sequence[int]) -> None:
        super().__init__()
        self.member = member
        numbers = different_views([stage.network for stage in member.stages], views)
        self.classifier, self.regressor, self.turns = None, None, turns_of(member.bins)
        if member.classifier is not None:
            network = member.classifier.network
            self.classifier = Seen(network, numbers, member.regressor is None and network.reads_fitted)
        if member.regressor is not None:
            network = member.regressor.network
            self.regressor = Seen(network, numbers, network.reads_fitted)

    def forward(self, images: Tensor) -> tuple[Said, Tensor | None]:
        """As `TwoStage.read` says it, and the masks (N,M,h,w) as `TwoStage.masks`, None without."""
        count, member = images.shape[0], self.member
        probabilities, first = images.new_ones(count, 1).double(), images.new_full((count,), torch.nan).double()
        offsets, masks = probabilities.new_zeros(count, member.bins.count), None
        log_scales = torch.full_like(offsets, torch.nan)
        if self.classifier is not None and member.classifier is not None:
            pooled, masks = self.classifier(images)
            likely, place = member.classified(member.classifier, pooled)
            probabilities, first = self.classifier.said(likely), self.classifier.said(place, self.turns.get("first"))
            offsets = member.classifier.offsets.double().expand(count, -1)
        if self.regressor is not None and member.regressor is not None:
            shown, reference = member.regressor.shown(images, probabilities.to(images))
            pooled, looked = self.regressor(shown)
            masks = looked if reference is None else masks  # of what was put right it looks at other places
            away, sizes = member.regressor.read(pooled, reference)
            offsets, log_scales = self.regressor.said(away, self.turns.get("offsets")), self.regressor.said(sizes)
        return Said(probabilities, offsets, log_scales, first), masks
