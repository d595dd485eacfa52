"""Stage 1: which bin? Soft targets, cross entropy, a temperature fitted after training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.left_out import LeftOut
from twostage.stages.network import Network
from twostage.stages.refit import MILD, Seen, if_better, like, solve_few, solve_shared
from twostage.stages.stage import MeanOfBatch, Stage

__all__ = ["CircularClassifier", "Classifier", "fit_temperature", "log_bin_mass"]

FARTHEST = 1e15
"""Standard deviations from an edge; the square of more is no float32."""
PROBIT = 1.702
"""A normal distribution function is nearly the logistic one of so many times its argument."""
FAR_OUT = 1e3
LEAST_DIFFERENCE = -1e-6
"""Of the logarithms at both ends of a bin."""


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
    stretch: Tensor
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
        # of the bins alone, so not among the weights; zero in models of before, which did not stretch
        self.register_buffer("stretch", torch.from_numpy(bins.stretch).float(), persistent=False)
        self.register_buffer("sd", torch.tensor(smoothing * 2 * bins.half_width.mean(), dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Raw logits (N,K), before the temperature."""
        return self.read(self.network.pooled(images))

    def read(self, pooled: Tensor) -> Tensor:
        """The same from pooled vectors (N,P)."""
        return self._spread(self.network.estimate(pooled)) + self.corrections(pooled)

    def _spread(self, code: Tensor) -> Tensor:
        """Logits (N,K) of estimated concentrations (N,1), without corrections."""
        inner = self._stretched(self.edges[1:-1])
        return log_bin_mass((inner - self._stretched(code[:, 0])[:, None]) / self.sd)

    def _stretched(self, concentration: Tensor) -> Tensor:
        """As `Bins.stretched`: (N,) -> (N,)."""
        beyond = concentration[:, None] - self.edges[:-1]
        low, high = torch.zeros_like(self.stretch), self.edges[1:] - self.edges[:-1]
        low[0], high[-1] = -torch.inf, torch.inf
        return concentration + (self.stretch * beyond.clamp(low, high)).sum(1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Bin probabilities (N,K) after the temperature."""
        return (self(images) / self.temperature).softmax(-1)

    @property
    def offsets(self) -> Tensor:
        """Every bin says its center: zeros, (K,)."""
        return torch.zeros_like(self.center)

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
            return float(F.cross_entropy(logits.cpu().double(), targets))

        def solve() -> None:
            solve_shared(self.network, train, validation, MILD)
            for parameter in self.corrections.parameters():
                nn.init.zeros_(parameter)

        return if_better(self, solve, cross_entropy)

    def refit_few(self, seen: Seen) -> LeftOut:
        """Solve the estimate, in place, without corrections, and fit the temperature to what was left out."""
        found = solve_few(self.network, self.corrections, seen)
        code = self.bins.scale.code(found.estimate)
        logits = self._spread(torch.from_numpy(code).float().to(self.edges.device))
        self.temperature.fill_(fit_temperature(logits.cpu().numpy(), self.targets(seen.concentration).numpy()))
        return found

    @torch.no_grad()
    def settle(self, images: Iterable[Tensor], concentration: np.ndarray) -> None:
        """Fit the temperature to images in batches (n,C,H,W) and their concentrations (N,)."""
        self.eval()
        logits = torch.cat([self(batch).cpu() for batch in images])
        self.temperature.fill_(fit_temperature(logits.numpy(), self.targets(concentration).numpy()))


class CircularClassifier(Classifier):
    """The same on a circle: ``logit_k = sharpness * arrow(x) . (cos, sin)(center_k) + correction_k(x)``.

    That is a von Mises distribution, as sharp for an arrow of length one that two neighbours share the probability as
    in the soft targets. A network that does not know the direction gives a shorter arrow, and so bins that are alike.
    Source: Mardia and Jupp 2000, "Directional statistics", section 3.5.4.
    """

    directions: Tensor

    def __init__(self, network: Network, bins: Bins, smoothing: float = 0.25) -> None:
        super().__init__(network, bins, smoothing)
        self.register_buffer("directions", torch.from_numpy(bins.scale.code(bins.center)).float(), persistent=False)

    def read(self, pooled: Tensor) -> Tensor:
        """Raw logits (N,K) from pooled vectors (N,P)."""
        return self._spread(self.network.arrow(pooled)) + self.corrections(pooled)

    def _spread(self, code: Tensor) -> Tensor:
        """Logits (N,K) of arrows (N,2), without corrections."""
        return self.sharpness * code @ self.directions.T

    @property
    def sharpness(self) -> Tensor:
        """From the slope of a normal distribution function, as of a logistic one, between two neighbours."""
        radius = float(self.bins.period or 1) / (2 * math.pi)
        return PROBIT * radius**2 / (self.sd * 2 * float(self.bins.half_width.mean()))

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Direction (N,) of the mean of the bin centers."""
        return self.network.direction(self.probabilities(images) @ self.directions)[:, 0]


def log_bin_mass(inner: Tensor) -> Tensor:
    """Logarithm of a standard normal's mass in each of K bins with the K-1 inner edges (N,K-1) -> (N,K).

    The outer bins take the tails. In the upper tail the mirrored interval is used, where differences stay exact.
    """
    inner = inner.clamp(-FARTHEST, FARTHEST)
    far = inner.new_full((inner.shape[0], 1), 2 * FARTHEST)  # len() would freeze the batch of an exported graph
    low, high = torch.cat([-far, inner], 1), torch.cat([inner, far], 1)
    upper_tail = low + high > 0
    low, high = torch.where(upper_tail, -high, low), torch.where(upper_tail, -low, high)
    log_low, log_high = _log_ndtr(low), _log_ndtr(high)
    # far out float32 loses the difference of two neighbours, and the logarithm of none would be no number
    return log_high + torch.log(-torch.expm1((log_low - log_high).clamp_max(LEAST_DIFFERENCE)))


def _log_ndtr(x: Tensor) -> Tensor:
    """Logarithm of the normal distribution, far out too, where torch's own loses its slope: by its leading terms there.

    Source: Abramowitz and Stegun 1964, 26.2.12; what is left out is below 1e-6.
    """
    tail = x.clamp_max(-FAR_OUT)
    leading = -0.5 * tail**2 - torch.log(-tail) - 0.5 * math.log(2 * math.pi)
    return torch.where(x < -FAR_OUT, leading, torch.special.log_ndtr(x.clamp_min(-FAR_OUT)))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises cross entropy of softmax(logits / temperature) against soft targets, both (N,K).

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    from scipy.optimize import minimize_scalar  # late: reading does not need it

    def cross_entropy(log_temperature: float) -> float:
        scaled = torch.from_numpy(logits).double() / float(np.exp(log_temperature))
        return float(F.cross_entropy(scaled, torch.from_numpy(targets).double()))

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
