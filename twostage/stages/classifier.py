"""Stage 1: which bin? Soft targets, cross entropy, a temperature fitted after training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.network import Network
from twostage.stages.refit import MILD, Seen, if_better, like, solve_shared
from twostage.stages.stage import MeanOfBatch, Stage

__all__ = ["Classifier", "fit_temperature", "log_bin_mass"]


class Classifier(Stage):
    """Bin logits (N,K) from images (N,C,H,W).

    ``logit_k = log P(bin k | normal distribution around s(x)) + correction_k(x)``: bins are ordered, so the network
    estimates one concentration s and spreads it over the bins with the soft targets' own standard deviation; the
    corrections allow for every other shape. After training s is solved in closed form, without corrections, where that
    is better.
    """

    name = "classifier"
    measure = "cross entropy"

    temperature: Tensor
    edges: Tensor
    center: Tensor
    sd: Tensor

    def __init__(self, network: Network, bins: Bins, smoothing: float = 0.25) -> None:
        """`smoothing` is the standard deviation of the soft targets in mean bin widths."""
        super().__init__(network, bins)
        self.smoothing = smoothing
        self.corrections = network.per_bin(bins.count)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("edges", torch.from_numpy(bins.edges.copy()).float())
        self.register_buffer("center", torch.from_numpy(bins.center).float())
        self.register_buffer("sd", torch.tensor(smoothing * 2 * bins.half_width.mean(), dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Raw logits (N,K), before the temperature."""
        return self.read(self.network.pooled(images))

    def read(self, pooled: Tensor) -> Tensor:
        """The same from pooled vectors (N,P)."""
        mass = log_bin_mass((self.edges[1:-1] - self.network.estimate(pooled)) / self.sd)
        return mass + self.corrections(pooled)

    def probabilities(self, images: Tensor) -> Tensor:
        """Bin probabilities (N,K) after the temperature."""
        return (self(images) / self.temperature).softmax(-1)

    def targets(self, concentration: np.ndarray) -> Tensor:
        """Soft targets (N,K) of concentrations (N,)."""
        return torch.from_numpy(self.bins.soft_targets(concentration, self.smoothing)).float()

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Cross entropy against soft targets (N,K), scalar."""
        return F.cross_entropy(self(images), targets)

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentration (N,) from the classifier alone: expected bin center. For validation during training."""
        return self.probabilities(images) @ self.center

    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Solve the estimate and drop the corrections, in place, where that is better on validation.

        The cross entropy is lowest where the estimate is the concentration, so that this is regression as well.

        Returns:
            Cross entropy on validation, before and after.
        """
        targets = torch.from_numpy(self.bins.soft_targets(validation.concentration, self.smoothing))

        @torch.no_grad()
        def cross_entropy() -> float:
            logits = self.read(like(self, validation.pooled))
            return float(F.cross_entropy(logits.double().cpu(), targets))

        def solve() -> None:
            solve_shared(self.network, train, validation, MILD)
            for parameter in self.corrections.parameters():
                nn.init.zeros_(parameter)

        return if_better(self, solve, cross_entropy)

    @torch.no_grad()
    def settle(self, images: Iterable[Tensor], concentration: np.ndarray) -> None:
        """Fit the temperature to images in batches (n,C,H,W) and their concentrations (N,)."""
        self.eval()
        logits = torch.cat([self(batch).cpu() for batch in images])
        self.temperature.fill_(fit_temperature(logits.numpy(), self.targets(concentration).numpy()))


def log_bin_mass(inner: Tensor) -> Tensor:
    """Logarithm of a standard normal's mass in each of K bins with the K-1 inner edges (N,K-1) -> (N,K).

    The outer bins take the tails. In the upper tail the mirrored interval is used, where differences stay exact.
    """
    inner = inner.clamp(-1e3, 1e3)  # beyond, float32 squares lose the difference of two neighbours
    far = inner.new_full((len(inner), 1), 1e4)
    low, high = torch.cat([-far, inner], 1), torch.cat([inner, far], 1)
    upper_tail = low + high > 0
    low, high = torch.where(upper_tail, -high, low), torch.where(upper_tail, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return log_high + torch.log(-torch.expm1(log_low - log_high))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises cross entropy of softmax(logits / temperature) against soft targets, both (N,K).

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = torch.from_numpy(logits).double() / float(np.exp(log_temperature))
        return float(F.cross_entropy(scaled, torch.from_numpy(targets).double()))

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
