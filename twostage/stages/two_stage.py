"""Both stages together: photographs -> a reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.data.augment import dihedral_view
from twostage.data.store import Pixels
from twostage.stages.aligned import AlignedRegressor
from twostage.stages.classifier import Classifier
from twostage.stages.encoded import Encoded
from twostage.stages.reading import BATCH, Reading, batches, different_views, mean_around
from twostage.stages.regressor import Regressor
from twostage.stages.stage import Stage

__all__ = ["TwoStage"]


class TwoStage(nn.Module):
    """A classifier and a regressor over the same bins, or only one of them.

    Without a classifier (the direct method) there is one bin, which is certain; without a regressor the classifier says
    the offsets, zero or what it has learned.
    """

    def __init__(
        self, bins: Bins, classifier: Classifier | Encoded | None, regressor: Regressor | None, color: str
    ) -> None:
        """Raises ValueError without either."""
        if classifier is None and regressor is None:
            raise ValueError("a model needs a classifier, a regressor or both")
        super().__init__()
        self.bins, self.color = bins, color
        self.classifier, self.regressor = classifier, regressor

    @property
    def stages(self) -> list[Stage]:
        """Those that are there, in the order in which they are trained."""
        return [stage for stage in (self.classifier, self.regressor) if stage is not None]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bin probabilities, offsets and log-scales, (N,K) each, of images in the network's colour space (N,C,H,W)."""
        probabilities, offsets, log_scales, _ = self._said(images)
        return probabilities, offsets, log_scales

    def _said(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same, and the place (N,) that the classifier alone estimates, NaN without."""
        probabilities, place = images.new_ones(len(images), 1), images.new_full((len(images),), torch.nan)
        offsets = images.new_zeros(len(images), self.bins.count)
        log_scales = torch.full_like(offsets, torch.nan)
        if self.classifier is not None:
            probabilities, place = self.classified(self.classifier, self.classifier.network.pooled(images))
            offsets = self.classifier.offsets.expand(len(images), -1)
        if self.regressor is not None:
            offsets, log_scales = self.regressor(images, probabilities)
        return probabilities, offsets, log_scales, place

    def classified(self, classifier: Classifier | Encoded, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N,K) and the place that it estimates (N,), from its pooled vectors (N,P)."""
        probabilities = (classifier.read(pooled) / classifier.temperature).softmax(-1)
        place = classifier.network.estimate(pooled)[:, 0].double() + self.bins.origin
        return probabilities, place if isinstance(classifier, Classifier) else torch.full_like(place, torch.nan)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return next(self.parameters()).dtype

    @torch.no_grad()
    def read(self, pixels: Pixels, *, views: Sequence[int] = range(8)) -> Reading:
        """What both stages say of uint8 photographs (N,H,W,3), averaged over `dihedral_views` by number."""
        self.eval()
        device = next(self.parameters()).device
        reading = Reading.nothing(len(pixels), self.bins.count)
        numbers = different_views([stage.network for stage in self.stages], views)
        for number, images in enumerate(batches(pixels, self.color, device)):
            images = images.to(self.dtype)
            means = (said.numpy() for said in self._over_views(images, numbers))
            reading.put(slice(number * BATCH, number * BATCH + len(images)), Reading(*means))
        return reading

    @torch.no_grad()
    def masks(self, pixels: Pixels, *, views: Sequence[int] = range(8)) -> np.ndarray | None:
        """Where its last stage looks in uint8 photographs (N,H,W,3): float32 (N,M,h,w), each mask with sum one.

        The mean over `dihedral_views` by number, turned back. None where the pooling has no masks. A stage that sees
        photographs put right looks at other places: then it is the stage before.
        """
        looking = self.classifier if isinstance(self.regressor, AlignedRegressor) else self.stages[-1]
        if looking is None:
            return None
        network, device = looking.network, next(self.parameters()).device
        numbers, found = different_views([network], views), []
        for images in batches(pixels, self.color, device):
            masks = network.masks(images.to(self.dtype), numbers)
            found += [] if masks is None else [masks.float().cpu().numpy()]
        return np.concatenate(found) if found else None

    def _over_views(self, images: Tensor, numbers: Sequence[int]) -> list[Tensor]:
        """Means of what `_said` says of views of the images, float64 on the CPU."""
        regressor, classifier = self.regressor, self.classifier
        if regressor is None and classifier is not None and classifier.network.reads_fitted:
            pooled = classifier.network.seen(images, numbers).to(classifier.network.mean)
            probable, place = self.classified(classifier, pooled)
            centers = classifier.offsets.expand(len(images), -1)
            return _doubles(probable, centers, torch.full_like(centers, torch.nan), place)
        if regressor is None or not regressor.network.reads_fitted:
            return self._mean_of([_doubles(*self._said(dihedral_view(images, number))) for number in numbers])
        first = _doubles(images.new_ones(len(images), 1), images.new_full((len(images),), torch.nan))
        if classifier is not None:
            views = (classifier.network.pooled(dihedral_view(images, number)) for number in numbers)
            first = self._mean_of([_doubles(*self.classified(classifier, pooled)) for pooled in views])
        shown, reference = regressor.shown(images, first[0].to(images))
        said = regressor.read(regressor.network.seen(shown, numbers).to(regressor.network.mean), reference)
        return [first[0], *_doubles(*said), first[1]]

    def _mean_of(self, views: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Means over views of what `_said` says of each, or `classified`."""
        each = [torch.stack(list(said)) for said in zip(*views, strict=True)]
        if self.bins.period is None:
            return [said.mean(0) for said in each]
        means = [said.mean(0) for said in each[:-1]]
        if len(each) > 2:  # with offsets
            means[1] = mean_around(each[1], self.bins.period / torch.from_numpy(self.bins.half_width))
        return [*means, mean_around(each[-1], self.bins.period)]


def _doubles(*said: Tensor) -> list[Tensor]:
    return [one.cpu().double() for one in said]
