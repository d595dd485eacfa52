"""Both stages together: photographs -> a reading."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.data.store import Pixels
from twostage.stages.classifier import Classifier
from twostage.stages.encoded import Encoded
from twostage.stages.reading import BATCH, Reading, batches, different_views
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
        probabilities, offsets = images.new_ones(len(images), 1), images.new_zeros(len(images), self.bins.count)
        log_scales = torch.full_like(offsets, torch.nan)
        if self.classifier is not None:
            probabilities = self.classifier.probabilities(images)
            offsets = self.classifier.offsets.expand(len(images), -1)
        if self.regressor is not None:
            offsets, log_scales = self.regressor(images)
        return probabilities, offsets, log_scales

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
        networks = [stage.network for stage in self.stages]
        for number, images in enumerate(batches(pixels, self.color, device)):
            images = images.to(self.dtype)
            seen = zip(*(self(view) for view in different_views(images, networks, views)), strict=True)
            means = (torch.stack([one.cpu().double() for one in said]).mean(0).numpy() for said in seen)
            reading.put(slice(number * BATCH, number * BATCH + len(images)), Reading(*means))
        return reading
