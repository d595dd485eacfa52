"""Stage 2: where in the bin? One shared estimate with a small correction for each bin."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twostage.bins import Bins
from twostage.stages.left_out import LeftOut
from twostage.stages.network import Network
from twostage.stages.refit import (
    PENALTIES,
    Seen,
    if_better,
    like,
    ridge,
    solve_few,
    solve_shared,
    specimens,
    with_one,
)
from twostage.stages.stage import MeanOfBatch, Stage

__all__ = ["Regressor"]

SOLVED_LATER = 0.9
"""Share of a batch's mean error that the loss leaves out where the last layer is solved anew: solving removes it, and
while rates are high it hides from the trunk which photographs are read wrong."""


class Regressor(Stage):
    """Offsets (N,K) and their log-scales (N,K) from images (N,C,H,W).

    ``offset_k = (s(x) - center_k) / half_width_k + correction_k(x)``: all bins share the estimate s, so each learns
    from all the data, and a bin adds only what is particular to it. Outputs are linear, never clipped. Corrections and
    log-scales read the pooled vector linearly but do not shape it. After training, s and the corrections are solved in
    closed form; the log-scales remain those of training.
    """

    name = "regressor"
    measure = "RMSE"

    center: Tensor
    half_width: Tensor

    def __init__(
        self,
        network: Network,
        bins: Bins,
        loss: str = "huber",
        huber_delta: float = 0.03,
        overlap: float = 1.0,
    ) -> None:
        """`huber_delta` is a share of the whole range, so that it means the same for every number of bins.

        Args:
            overlap: Bin k also learns from images this far outside it, bin widths.
        """
        super().__init__(network, bins)
        self.kind, self.overlap, self.solved_later = loss, overlap, False
        self.huber_delta = huber_delta * float((bins.edges[-1] - bins.edges[0]) / bins.half_width.mean())
        self.corrections = network.per_bin(bins.count)
        self.log_scale = network.per_bin(bins.count)
        for name, values in (("center", bins.center), ("half_width", bins.half_width)):
            self.register_buffer(name, torch.from_numpy(values.copy()).float())

    def forward(self, images: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Offsets (N,K) and log-scales (N,K), both in units of the bin's half width.

        Args:
            probabilities: What stage 1 says of the images, (N,K), for a regressor that sees them put right.
        """
        images, reference = self.shown(images, probabilities)
        return self.read(self.network.pooled(images), reference)

    def shown(self, images: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What the network sees of images (N,C,H,W), and by how much of the concentration that falls, (N,1).

        Of this regressor the images themselves, and by nothing, None.
        """
        return images, None

    def read(self, pooled: Tensor, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same as `forward` from pooled vectors (N,P), and what `shown` has told beside the images."""
        corrections, log_scales = self._of_bins(pooled.detach())
        place = self.network.estimate(pooled)
        place = place if reference is None else place + reference
        return self._apart(place, self.center) / self.half_width + corrections, log_scales

    def _apart(self, place: Tensor, other: Tensor) -> Tensor:
        """How far places lie above others, on a circle by the shorter way."""
        if self.bins.period is None:
            return place - other
        return torch.remainder(place - other + self.bins.period / 2, self.bins.period) - self.bins.period / 2

    def _of_bins(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What each bin adds to the shared estimate's offset, and its log-scale, (N,K) each."""
        return self.corrections(seen) * self._correction_scale, self.log_scale(seen).clamp(-8, 4)

    @property
    def _correction_scale(self) -> float:
        """Adam moves each of the P weights by about the learning rate: this keeps a step of their sum small."""
        return 0.5 / self.network.pooled_width

    @torch.no_grad()
    def set_corrections(self, solution: Tensor) -> None:
        """Let the corrections be these linear functions of the pooled vector: (K,P + 1), constants last, in offsets."""
        scaled = solution.double() / self._correction_scale
        self.corrections.weight.copy_(scaled[:, :-1])
        self.corrections.bias.copy_(scaled[:, -1])

    def targets(self, concentration: np.ndarray) -> Tensor:
        """True offset in every bin and membership of every bin, (N,2,K), of concentrations (N,)."""
        membership = self.bins.membership(concentration, self.overlap)
        return torch.from_numpy(np.stack([self.bins.offsets(concentration), membership], 1)).float()

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Mean over images of what the shared estimate and the bins are wrong by, scalar.

        Huber: the shared estimate learns from its own error, each image alike, and each bin's correction from what that
        leaves, weighted by membership; sizes are in mean half widths, so that a unit costs as much in a wide bin as in
        a narrow one. Gaussian: both learn from the likelihood of the offsets.
        """
        true, weight = targets.unbind(1)
        pooled, concentration = self.network.pooled(images), self.center[:1] + self.half_width[:1] * true[:, :1]
        error = self.network.estimate(pooled) - concentration
        if self.solved_later:
            error = error - SOLVED_LATER * mean_of_batch(error)
        corrections, log_scales = self._of_bins(pooled.detach())
        if self.kind == "gaussian":
            each = _negative_log_likelihood(error / self.half_width + corrections, log_scales)
            return (each * weight).sum(1).mean()
        left = error.detach() / self.half_width + corrections
        each = self._huber(left * self.half_width) + _negative_log_likelihood(left.detach(), log_scales)
        way = error if self.bins.period is None else self._way(pooled, concentration)
        return (self._huber(way).sum(1) + (each * weight).sum(1)).mean()

    def _way(self, pooled: Tensor, concentration: Tensor) -> Tensor:
        """On a circle: from where the arrow should point, (N,1), to its tip, (N,2), in the unit of the concentration.

        The direction alone would have no slope to learn by where the arrow is short.
        """
        radius = float(self.bins.period or 1) / (2 * math.pi)
        angle = concentration / radius
        return radius * (self.network.arrow(pooled) - torch.cat([angle.cos(), angle.sin()], 1))

    def _huber(self, error: Tensor) -> Tensor:
        sizes = error / self.half_width.mean()
        return F.huber_loss(sizes, torch.zeros_like(sizes), reduction="none", delta=self.huber_delta)

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentration (N,) with the true bin given, for validation during training."""
        offsets, _ = self(images)
        inside = self._true_bin(targets[:, 0])
        rows = torch.arange(len(inside), device=offsets.device)
        return self.center[inside] + self.half_width[inside] * offsets[rows, inside]

    def _true_bin(self, true: Tensor) -> Tensor:
        """The bin (N,) that `Bins.index` names, from the true offsets (N,K): the upper of two that share an edge."""
        outside = (true.abs() - 1).clamp_min(0) * self.half_width
        return self.bins.count - 1 - outside.flip(1).argmin(1)  # the first of equals, counted from above

    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Solve the shared estimate and the corrections, in place, where that is better on validation.

        Returns:
            RMSE on validation, before and after.

        Source: Hoerl and Kennard 1970, "Ridge regression"; the weights of a bin are those of its training.
        """

        def solve() -> None:
            solve_shared(self.network, train, validation, PENALTIES)
            self.set_corrections(torch.zeros(self.bins.count, self.network.pooled_width + 1))
            if self.bins.count > 1:
                self._solve_corrections(train, validation)

        return if_better(self, solve, lambda: self._rmse(validation))

    def refit_few(self, seen: Seen) -> LeftOut:
        """Solve the shared estimate, in place, and leave the bins without corrections of their own."""
        return solve_few(self.network, self.corrections, seen)

    def _solve_corrections(self, train: Seen, validation: Seen) -> None:
        """In each bin, a correction of what s leaves; one penalty for all bins, or no correction at all.

        It is chosen by the mixture, which is what will be read: what a bin says of photographs of another counts as far
        as the classifier takes them for its own. Where the law turns back, it says anything of these.

        A bin with fewer specimens than columns is left as it is: what fits them may say anything of another, and a few
        for validation may not show it.
        """
        left = self._left_by_estimate(train)
        weights = self.bins.membership(train.concentration, self.overlap)
        solutions = np.stack([ridge(train.pooled, left, weight, PENALTIES) for weight in weights.T], 1)
        solutions[:, specimens(weights, train.groups) < train.pooled.shape[1]] = 0.0
        solutions = np.concatenate([np.zeros_like(solutions[:1]), solutions])  # (penalties + 1, K, P + 1)
        said = np.einsum("np,akp,nk->an", with_one(validation.pooled), solutions, self._weights(validation))
        best = ((said - self._left_by_estimate(validation)) ** 2).sum(1).argmin()
        self.set_corrections(torch.from_numpy(solutions[best] / self.bins.half_width[:, None]))

    def _weights(self, seen: Seen) -> np.ndarray:
        """Of what each bin says in the mixture, (N,K); without a classifier the true bin alone counts."""
        if seen.probabilities is not None:
            return seen.probabilities
        return np.eye(self.bins.count)[self.bins.index(seen.concentration)]

    @torch.no_grad()
    def _left_by_estimate(self, seen: Seen) -> np.ndarray:
        """Concentration minus the shared estimate, as the network computes it, (N,)."""
        estimate = self.network.estimate(like(self, seen.pooled))[:, 0].cpu().double().numpy()
        return self.bins.difference(seen.concentration, estimate)

    @torch.no_grad()
    def _rmse(self, seen: Seen) -> float:
        """Of the mixture."""
        reference = None if seen.reference is None else like(self, seen.reference[:, None])
        offsets = self.read(like(self, seen.pooled), reference)[0].cpu().double().numpy()
        said = self.bins.mean(self.bins.candidates(offsets), self._weights(seen))
        return float(np.sqrt(np.mean(self.bins.difference(said, seen.concentration) ** 2)))


def _negative_log_likelihood(error: Tensor, log_scale: Tensor) -> Tensor:
    """Of a normal distribution, without its constant."""
    return 0.5 * (error * torch.exp(-log_scale)) ** 2 + log_scale
