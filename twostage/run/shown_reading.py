"""The test photograph that a run's report shows as the model reads it, with the masks it looks through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from twostage.data.color import to_color, to_srgb
from twostage.data.store import Pixels
from twostage.report.reading_figure import ShownReading
from twostage.stages.ensemble import Ensemble
from twostage.stages.network import Network
from twostage.stages.two_stage import TwoStage

__all__ = ["masks_of", "shown_reading"]


def shown_reading(network: TwoStage | Ensemble, pixels: Pixels, errors: np.ndarray) -> ShownReading | None:
    """The photograph of the median absolute error, of those (N,H,W,3) whose errors (N,) are given.

    The masks are those of the last stage. None where the model has no masks.
    """
    if not len(errors):
        return None
    row = int(np.argsort(np.abs(errors), kind="stable")[len(errors) // 2])
    photograph = np.asarray(pixels[row : row + 1])
    images = to_color(to_srgb(photograph, next(network.parameters()).device), network.color).to(network.dtype)
    masks = masks_of(network.stages[-1].network, images)
    return None if masks is None else ShownReading(photograph[0], masks[0].cpu().numpy(), row)


@torch.no_grad()
def masks_of(network: Network, images: Tensor) -> Tensor | None:
    """The masks (N,M,h,w), each with sum one, of images in the network's colour space (N,C,H,W); None without any."""
    seen: list[tuple[Tensor, Tensor] | None] = []
    hook = network.pooling.register_forward_hook(lambda pooling, inputs, _: seen.append(pooling.look(*inputs)))
    try:
        network.pooled(images)
    finally:
        hook.remove()
    return None if seen[0] is None else seen[0][0].float()
