"""Stage 1: which bin? Soft targets, cross entropy, a temperature fitted after training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.network import Network

__all__ = ["Classifier", "fit_temperature"]


class Classifier(nn.Module):
    """Bin logits (N,K) from images (N,C,H,W)."""

    temperature: Tensor
    center: Tensor

    def __init__(self, network: Network, bins: Bins) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("center", torch.from_numpy(bins.center).float())

    def forward(self, images: Tensor) -> Tensor:
        """Raw logits (N,K), before the temperature."""
        logits: Tensor = self.network(images)
        return logits

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


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises cross entropy of softmax(logits / temperature) against soft targets, both (N,K).

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = torch.from_numpy(logits).double() / float(np.exp(log_temperature))
        return float(F.cross_entropy(scaled, torch.from_numpy(targets).double()))

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
