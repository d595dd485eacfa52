"""What both stages are to those who train, solve, save and read them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.stages.left_out import LeftOut
from twostage.stages.network import Network
from twostage.stages.refit import Seen

__all__ = ["Learner", "MeanOfBatch", "Stage"]

MeanOfBatch = Callable[[Tensor], Tensor]
"""The mean over a whole batch, of which a process may see only its share."""


class Learner(nn.Module):
    """A network with what training asks of it."""

    name: ClassVar[str]
    """Its name in folders, files and messages."""

    def __init__(self, network: Network, bins: Bins) -> None:
        super().__init__()
        self.network, self.bins = network, bins

    @abstractmethod
    def loss(self, images: Tensor, targets: Tensor, mean_of_batch: MeanOfBatch = torch.mean) -> Tensor:
        """Scalar loss of a batch of images (N,C,H,W): a mean over them.

        Args:
            mean_of_batch: Takes means over the whole batch where several processes share it.
        """

    @abstractmethod
    def estimate(self, images: Tensor, targets: Tensor) -> Tensor:
        """Concentrations (N,) for validation during training."""


class Stage(Learner):
    """A network over the bins, with what it learns from a concentration and what of it is solved in the end."""

    measure: ClassVar[str]
    """What `refit` measures on validation, in words."""
    solved_later: bool = False
    """Will the last layer be solved after training, so that the loss may look away from what solving removes?"""

    @abstractmethod
    def targets(self, concentration: np.ndarray) -> Tensor:
        """What is to be learned of concentrations (N,), as `loss` takes it: (N,...)."""

    def shown(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """What its network sees of images (N,C,H,W), and by how much of the concentration that falls, (N,1) or None."""
        return images, None

    @abstractmethod
    def refit(self, train: Seen, validation: Seen) -> tuple[float, float]:
        """Solve the last layer in closed form, in place, where that is better on validation.

        Returns:
            `measure` on validation, before and after.
        """

    def refit_few(self, seen: Seen) -> LeftOut | None:
        """Solve the last layer, in place, where specimens are few: each is left out in turn to choose the penalty.

        Returns:
            What was found; None where nothing of the stage is linear in the concentration.
        """
        return None

    def settle(self, images: Iterable[Tensor], concentration: np.ndarray) -> None:
        """Fit what is fitted last, to validation images in batches (n,C,H,W) and their concentrations (N,)."""
