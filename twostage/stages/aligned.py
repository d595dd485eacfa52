"""Stage 2 in series with stage 1: a regressor that sees photographs as stage 1 has put them right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from twostage.bins import Bins
from twostage.stages.alignment import Alignment
from twostage.stages.left_out import LeftOut
from twostage.stages.network import Network
from twostage.stages.refit import PENALTIES, Seen, if_better, solve_few, solve_shared
from twostage.stages.regressor import Regressor
from twostage.stages.stage import MeanOfBatch

__all__ = ["AlignedRegressor"]


class AlignedRegressor(Regressor):
    """``offset_k = (reference + rest(x) - center_k) / half_width_k``, where x is the photograph put right.

    All bins share the one estimate that was made with the likeliest. In training, photographs are put right by their
    true bin, by what the classifier says, or by each of them in half the photographs (`align_by`); they count less the
    farther they lie outside that bin, and not at all from `overlap` bin widths on.
    """

    def __init__(
        self,
        network: Network,
        bins: Bins,
        alignment: Alignment,
        align_by: str = "mix",
        loss: str = "huber",
        huber_delta: float = 0.03,
        overlap: float = 1.0,
    ) -> None:
        """`network` estimates the rest: it is built over `alignment.left(overlap)`."""
        super().__init__(network, bins, loss, huber_delta, overlap)
        del self.corrections  # what is put right looks alike in all bins
        self.alignment, self.align_by = alignment, align_by
        self.guides: list[Callable[[Tensor], Tensor]] = []  # in a list, so that it is no part of this stage

    def follow(self, guide: Callable[[Tensor], Tensor]) -> None:
        """Take the bins from what a trained classifier says: images (N,C,H,W) -> probabilities (N,K)."""
        self.guides = [guide]

    @torch.no_grad()
    def guided(self, images: Tensor) -> Tensor:
        """What stage 1 says of images (N,C,H,W), (N,K)."""
        if not self.guides:
            raise ValueError("an aligned regressor reads what stage 1 says: give probabilities, or a guide to follow")
        return self.guides[0](images)

    def _of_bins(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """No corrections, and the log-scales, (N,K) each."""
        log_scales = self.log_scale(seen).clamp(-8, 4)
        return torch.zeros_like(log_scales), log_scales

    def shown(self, images: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Images (N,C,H,W) put right by their likeliest bins, and what of the concentration that leaves out, (N,1)."""
        named = (self.guided(images) if probabilities is None else probabilities).argmax(1)
        return self._by(images, named)

    def _by(self, images: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        return self.alignment(images, named), self.alignment.reference(named).to(self.center)

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Mean over images (N,C,H,W) of what the rest, and the log-scales of all bins, are wrong by; scalar."""
        true, weight = targets.unbind(1)
        named = self._named(images, true)
        shown, reference = self._by(images, named)
        rows = torch.arange(len(named), device=named.device)
        pooled, place = self.network.pooled(shown), self.center[:1] + self.half_width[:1] * true[:, :1]
        error = self._apart(self.network.estimate(pooled) + reference, place)
        _, log_scales = self._of_bins(pooled.detach())
        left = error.detach() / self.half_width
        each = 0.5 * (left * torch.exp(-log_scales)) ** 2 + log_scales
        return (weight[rows, named] * (self._huber(error)[:, 0] + (each * weight).sum(1))).mean()

    def _named(self, images: Tensor, true: Tensor) -> Tensor:
        """The bins (N,) by which photographs are put right in training, from true offsets (N,K)."""
        inside = self._true_bin(true)
        if self.align_by == "true":
            return inside
        said = self.guided(images).argmax(1)
        if self.align_by == "classifier":
            return said
        return torch.where(torch.rand(len(said), device=said.device) < 0.5, inside, said)

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentration (N,), by what the classifier says, or else the true bin, for validation during training."""
        named = self.guided(images).argmax(1) if self.guides else self._true_bin(targets[:, 0])
        shown, reference = self._by(images, named)
        return (self.network.estimate(self.network.pooled(shown)) + reference)[:, 0]

    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Solve the estimate of the rest, in place, if that is better on validation: RMSE there, before and after."""

        def solve() -> None:
            solve_shared(self.network, self._rest(train), self._rest(validation), PENALTIES)

        return if_better(self, solve, lambda: self._rmse(validation))

    def refit_few(self, seen: Seen) -> LeftOut:
        """Solve the estimate of the rest, in place, where specimens are few."""
        return solve_few(self.network, None, self._rest(seen))

    def _rest(self, seen: Seen) -> Seen:
        """The photographs within reach, with what is to be told of them."""
        if seen.reference is None:
            raise ValueError("an aligned regressor is solved over photographs that were put right: give reference")
        rest = self.bins.difference(seen.concentration, seen.reference)
        low, high = self.network.bins.edges[[0, -1]]
        rows = (rest >= low) & (rest <= high)
        groups = None if seen.groups is None else seen.groups[rows]
        return replace(seen, pooled=seen.pooled[rows], concentration=rest[rows], groups=groups, probabilities=None)
