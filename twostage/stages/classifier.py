"""Stage 1: which bin? Soft targets, cross entropy, a temperature fitted after training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.network import Network

__all__ = ["Classifier", "fit_temperature", "log_bin_mass"]


class Classifier(nn.Module):
    """Bin logits (N,K) from images (N,C,H,W).

    ``logit_k = log P(bin k | normal distribution around s(x)) + correction_k(x)``: bins are ordered, so the network
    estimates one concentration s and spreads it over the bins with the soft targets' own standard deviation; the
    corrections allow for every other shape. After training s is solved in closed form, without corrections, where that
    is better (see refit).
    """

    temperature: Tensor
    edges: Tensor
    center: Tensor
    sd: Tensor

    def __init__(self, network: Network, bins: Bins, smoothing: float = 0.25) -> None:
        """`smoothing` is the standard deviation of the soft targets in mean bin widths."""
        super().__init__()
        self.network, self.smoothing = network, smoothing
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

    def targets(self, concentration: np.ndarray, bins: Bins, smoothing: float) -> Tensor:
        """Soft targets (N,K) of concentrations (N,)."""
        return torch.from_numpy(bins.soft_targets(concentration, smoothing)).float()

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy against soft targets (N,K), scalar."""
        return F.cross_entropy(self(images), targets)

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentration (N,) from the classifier alone: expected bin center. For validation during training."""
        return self.probabilities(images) @ self.center


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
