"""Classifiers whose classes are learned, to compare with: soft bins that move, and codes of the concentration.

Both are stage 1 alone (``method=classifier``), and their reading is an expectation over the classes.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.network import Network
from twostage.stages.refit import Seen, if_better, like, ridge
from twostage.stages.stage import MeanOfBatch, Stage

__all__ = ["Encoded", "LabelCodes", "SoftBins"]

PENALTIES = tuple(10.0**power for power in range(-8, 0))
"""Candidates of the decoder, per photograph and standardised column; validation chooses."""


class Encoded(Stage):
    """Logits (N,K) from a pooled vector, over classes of which each says an offset in its bin."""

    name = "classifier"
    measure = "RMSE"

    center: Tensor
    half_width: Tensor
    temperature: Tensor

    def __init__(self, network: Network, bins: Bins) -> None:
        super().__init__(network, bins)
        self.register_buffer("temperature", torch.ones(()))  # it is part of no such method
        for name, values in (("center", bins.center), ("half_width", bins.half_width)):
            self.register_buffer(name, torch.from_numpy(values.copy()).float())

    @property
    @abstractmethod
    def offsets(self) -> Tensor:
        """What each class says, as an offset in the bin of its number, (K,)."""

    @abstractmethod
    def read(self, pooled: Tensor) -> Tensor:
        """Logits (N,K) from pooled vectors (N,P)."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N,K) from images (N,C,H,W)."""
        return self.read(self.network.pooled(images))

    def probabilities(self, images: Tensor) -> Tensor:
        """Of the classes, (N,K)."""
        return self(images).softmax(-1)

    def targets(self, concentration: np.ndarray) -> Tensor:
        """The concentrations (N,1) themselves: what they are encoded as is learned."""
        return torch.from_numpy(np.asarray(concentration)[:, None]).float()

    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Expected concentration (N,), for validation during training."""
        return self.probabilities(images) @ (self.center + self.half_width * self.offsets)

    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Nothing of it is linear in the concentration: all stays as training left it."""
        return if_better(self, lambda: None, lambda: self._rmse(validation))

    @torch.no_grad()
    def _probable(self, seen: Seen) -> np.ndarray:
        return self.read(like(self, seen.pooled)).softmax(-1).cpu().double().numpy()

    @torch.no_grad()
    def _rmse(self, seen: Seen) -> float:
        said = (self.center + self.half_width * self.offsets).cpu().double().numpy()
        return float(np.sqrt(np.mean((self._probable(seen) @ said - seen.concentration) ** 2)))


class SoftBins(Encoded):
    """Bins whose encoder, width and decoder are learned together with the network.

    A concentration y is encoded as ``psi(y)_k = softmax_k(-(y - c_k)^2 / (2 w^2))``, a distribution pi over the bins is
    decoded as ``sum_k pi_k mu_k``; c, w and mu are learned. The loss is that of encoding and decoding, of the network's
    distribution against the code, and of what is decoded from it::

        (y - mu . psi(y))^2 + KL(psi(y) || pi(x)) + (y - mu . pi(x))^2

    in mean bin widths. After training the decoder is solved in closed form where that is better on validation.

    Source: Stewart, Bach and Berthet 2025, "Building bridges between regression, clustering, and classification"; that
    the encoder is a Gaussian of one width, and the three terms weigh alike, is chosen here.
    """

    def __init__(self, network: Network, bins: Bins, smoothing: float) -> None:
        """`smoothing` is the width with which encoding begins, mean bin widths."""
        super().__init__(network, bins)
        self.logits = network.per_bin(bins.count)
        self.encoder, self.decoder = (nn.Parameter(torch.zeros(bins.count)) for _ in range(2))
        self.log_width = nn.Parameter(torch.tensor(float(np.log(smoothing))))

    @property
    def offsets(self) -> Tensor:
        """What each bin is decoded as, (K,)."""
        return self.decoder

    def read(self, pooled: Tensor) -> Tensor:
        """Logits (N,K) from pooled vectors (N,P)."""
        logits: Tensor = self.logits(pooled)
        return logits

    def encoded(self, concentration: Tensor) -> Tensor:
        """Logarithm of the code of concentrations (N,1): (N,K)."""
        away = concentration - (self.center + self.half_width * self.encoder)
        return (-0.5 * (away / (self._unit * self.log_width.exp())) ** 2).log_softmax(-1)

    @property
    def _unit(self) -> Tensor:
        return 2 * self.half_width.mean()

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Scalar loss against concentrations (N,1)."""
        code, said = self.encoded(targets), self(images).log_softmax(-1)
        decoded = self.center + self.half_width * self.decoder
        off = [(targets[:, 0] - log.exp() @ decoded) / self._unit for log in (code, said)]
        divergence = F.kl_div(said, code, reduction="batchmean", log_target=True)
        return divergence + sum((one**2).mean() for one in off)

    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Solve the decoder, in place, where that is better on validation: RMSE there, before and after."""

        @torch.no_grad()
        def take(solution: np.ndarray) -> float:
            said = torch.from_numpy(solution[:-1] + solution[-1]).to(self.center)  # probabilities sum to one
            self.decoder.copy_((said - self.center) / self.half_width)
            return self._rmse(validation)

        def solve() -> None:
            weight = np.ones(len(train.pooled))
            found = ridge(self._probable(train), train.concentration, weight, PENALTIES)
            take(min(found, key=take))

        return if_better(self, solve, lambda: self._rmse(validation))


class LabelCodes(Encoded):
    """Codes of the concentration, learned with the network: logits of K levels are a code (M,) times a matrix (M,K).

    Cross entropy against ``softmax_k(-|y - center_k| / bin width)``; a first regularizer wants the codes of two
    photographs of a batch to differ, in the sum over the M numbers, by twice their distance in levels or more; a second
    one wants the codes of neighbouring levels to be alike.

    Source: Shah and Aamodt 2023, "Learning label encodings for deep regression" (RLEL), with the weights that their
    program names for head poses; M = K, as there.
    """

    APART, SMOOTH = 0.5, 1.0
    """Weights of the two regularizers, where cross entropy is summed over a batch."""

    def __init__(self, network: Network, bins: Bins) -> None:
        super().__init__(network, bins)
        self.code = network.per_bin(bins.count)
        nn.init.normal_(self.code.weight, std=network.pooled_width**-0.5)  # of zeros no code would ever differ
        self.matrix = nn.Parameter(torch.rand(bins.count, bins.count))

    @property
    def offsets(self) -> Tensor:
        """Each level is its bin's center: zeros, (K,)."""
        return torch.zeros_like(self.center)

    def read(self, pooled: Tensor) -> Tensor:
        """Logits (N,K) from pooled vectors (N,P)."""
        logits: Tensor = self.code(pooled) @ self.matrix
        return logits

    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Scalar loss against concentrations (N,1)."""
        codes, width = self.code(self.network.pooled(images)), 2 * self.half_width.mean()
        wanted = (-(targets - self.center).abs() / width).softmax(-1)
        levels = torch.cdist(targets, targets, p=1) / width
        apart = (2 * levels - torch.cdist(codes, codes, p=1)).clamp_min(0).sum(1).mean()
        smooth = (self.matrix.diff(dim=1) ** 2).sum()
        regularizers = self.APART * apart + self.SMOOTH * smooth
        return F.cross_entropy(codes @ self.matrix, wanted) + regularizers / len(images)
