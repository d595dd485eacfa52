"""How far photographs lie from those of the training, as a graph: `Typicality.distance` on tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostage.trust.typicality import Typicality, describe

__all__ = ["Distance"]


class Distance(nn.Module):
    """uint8 photographs (N,S,S,3) -> distances, float64 (N,); NaN where the model does not know its training's."""

    mean: Tensor
    spread: Tensor
    precision: Tensor

    def __init__(self, known: Typicality | None) -> None:
        super().__init__()
        self.known = known is not None
        for name in ("mean", "spread", "precision") if known is not None else ():
            self.register_buffer(name, torch.from_numpy(getattr(known, name)).double())

    def forward(self, pixels: Tensor) -> Tensor:
        """Logarithm of the squared Mahalanobis distance over the number of numbers."""
        if not self.known:
            return torch.full((pixels.shape[0],), torch.nan, dtype=torch.float64)
        standard = (describe(pixels) - self.mean) / self.spread
        squares = (torch.matmul(standard, self.precision) * standard).sum(1)
        return (squares / standard.shape[1]).clamp_min(1e-12).log()
