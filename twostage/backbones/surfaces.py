"""Pooling that ends in robust regression: what glare, bubbles and scratches cover does not count.

A mask shows where to begin. To the colours under it a polynomial surface of second order is fitted, since lighting and
meniscus make density vary across a well; then to all pixels of the photograph that lie near that surface. Those that
do not (another part of the scene, an edge, a specular spot with its faint surround) lose their weight, and the surface
is fitted anew: an M-estimate with Tukey's biweight, by iteratively reweighted least squares. Three columns read the
surface as if nothing had lain on it: its mean under the mask, its mean over all pixels that agree, and its value at
their centroid. Together they tell level and curvature, wherever in the well the mask may sit.

Sources: Beaton and Tukey 1974, "The fitting of power series, meaning polynomials, illustrated on band-spectroscopic
data"; Holland and Welsch 1977, "Robust regression using iteratively reweighted least-squares"; Blake and
Zisserman 1987, "Visual Reconstruction" (scales that shrink from pass to pass: graduated non-convexity).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from twostage.backbones.pooling import MaskPooling

__all__ = ["SurfacePooling", "robust_surfaces"]

PASSES = 10
"""Of the reweighting; fewer leave the faint surround of spots in, more change nothing."""
CUT = 3.0
"""A pixel so many standard deviations from the surface, over all channels, counts no more."""
TRUNCATION = 1.25
"""The weighted variance of what the biweight leaves is too small by about so much."""
LEAST_SPREAD = 0.005
"""Of residuals, in units of the training set's spread of a channel: so that a photograph without noise is no trap."""
FIRST_SPREADS = (24, 20, 16, 12, 8, 4)
"""The least spread in the first passes, times as large: else a surface that a small mask of a quiet photograph fits
almost without residual never grows beyond it."""
MOST_SPREADS = (0.6, 0.4, 0.3, 0.2, 0.15, 0.12, 0.1)
"""The most spread of residuals, from pass to pass: a surface between two parts of the scene, whose residuals are as
large as these differ, would keep both for ever. Usual photographs are read the same with and without it."""
MIXED = 0.2
"""Share of a photograph's variance that lies under a mask which looks at two parts of the scene at once."""
TERMS = (1, 3, 6)
"""Of surfaces of order 0, 1 and 2: the first passes, which have seen little beyond the mask, must not extrapolate."""


class SurfacePooling(MaskPooling):
    """`MaskPooling`, and behind its columns what robust surfaces say under its masks, 3*masks*C more.

    The network is trained through the former alone. The latter are zero until the last layer is solved.
    """

    def __init__(self, map_shape: tuple[int, int, int], in_channels: int, masks: int = 8) -> None:
        super().__init__(map_shape, in_channels, masks)
        self.fitted = 3 * masks * in_channels
        self.width += self.fitted

    def forward(self, feature_map: Tensor, image: Tensor) -> Tensor:
        """Pooled vector (N,P) of a feature map (N,F,h,w) and the input (N,C,H,W) it came from."""
        return F.pad(super().forward(feature_map, image), (0, self.fitted))

    def fit(self, masks: Tensor, image: Tensor) -> Tensor:
        """The fitted columns (N,3*M*C) of an input (N,C,H,W) under its masks (N,M,h,w)."""
        return robust_surfaces(F.adaptive_avg_pool2d(image, (masks.shape[2], masks.shape[3])), masks).flatten(1)

    def ambiguous(self, masks: Tensor, image: Tensor) -> Tensor:
        """Fitted columns (`fitted`,), as booleans, of masks that look across a border in most inputs (N,C,H,W).

        From there a surface may settle on either side, now on this and, in one photograph of a hundred, on that. Where
        all masks do, the network has not learned yet where to look, and none is better than another.
        """
        pixels = F.adaptive_avg_pool2d(image, (masks.shape[2], masks.shape[3])).flatten(2)
        weight = masks.flatten(2)
        mean, square = (torch.einsum("nmx,ncx->nmc", weight, values) for values in (pixels, pixels.square()))
        share = (square - mean.square()).sum(2) / pixels.var(2).sum(1, keepdim=True).clamp_min(LEAST_SPREAD**2)
        mixed = share.median(0).values > MIXED
        mixed = mixed & ~mixed.all()
        return mixed[None, :, None].expand(3, -1, image.shape[1]).flatten()


def robust_surfaces(pixels: Tensor, masks: Tensor) -> Tensor:
    """Robust surfaces through pixels (N,C,h,w), each begun from one of the masks (N,M,h,w).

    Returns:
        Of each surface its mean under the mask, its mean over the pixels that agree with it, and its value at their
        centroid: (N,3,M,C).

    >>> pixels = torch.zeros(1, 1, 16, 16)
    >>> pixels[:, :, 4:6, 4:6] = 9.0  # a spot
    >>> robust_surfaces(pixels, torch.full((1, 1, 16, 16), 1 / 256)).abs().max().item() < 1e-3
    True
    """
    values, start = pixels.flatten(2), masks.flatten(2)
    terms, weight = _terms(pixels), start
    for number in range(PASSES):
        some = terms[: TERMS[min(number, 2)]]
        weight = weight / weight.sum(2, keepdim=True)
        coefficients = _least_squares(some, values, weight)
        surface = coefficients @ some  # (N,M,C,X)
        squares = (values[:, None] - surface).square()
        variance = torch.einsum("nmx,nmcx->nmc", weight, squares)[..., None] * (TRUNCATION if number else 1.0)
        least = LEAST_SPREAD * (FIRST_SPREADS[number] if number < len(FIRST_SPREADS) else 1)
        most = MOST_SPREADS[min(number, len(MOST_SPREADS) - 1)]
        distance = (squares / variance.clamp(least**2, most**2)).mean(2)
        agree, weight = weight, (1 - distance / CUT**2).clamp_min(0).square() + 1e-9 * start  # never nowhere
    centroid = _terms_at(*(agree @ terms[1:3].T).unbind(2))  # (6,N,M)
    means = [torch.einsum("nmx,nmcx->nmc", over, surface) for over in (start, agree)]
    return torch.stack([*means, torch.einsum("knm,nmck->nmc", centroid, coefficients)], 1)


def _terms(pixels: Tensor) -> Tensor:
    """1, x, y, x^2, xy, y^2 at each of X pixels, (6,X); x and y go from -1 to 1 across the photograph."""
    y, x = (
        ((torch.arange(side, device=pixels.device, dtype=pixels.dtype) * 2 + 1) / side - 1) for side in pixels.shape[2:]
    )
    return _terms_at(*torch.broadcast_tensors(x[None, :], y[:, None])).flatten(1)


def _terms_at(x: Tensor, y: Tensor) -> Tensor:
    """The six terms at places (...): (6,...)."""
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])


def _least_squares(terms: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (N,M,C,K) of K terms (K,X) for values (N,C,X) under weights (N,M,X) of sum one."""
    count, channels, exact = len(terms), values.shape[1], torch.float64 if values.device.type != "mps" else values.dtype
    products = (terms[:, None] * terms).flatten(0, 1)
    normal = (weight @ products.T).unflatten(2, (count, count)).to(exact)
    by_terms = (values[:, :, None] * terms).flatten(1, 2)
    right = torch.bmm(weight, by_terms.transpose(1, 2)).unflatten(2, (channels, count)).to(exact)
    normal = normal + 1e-9 * torch.eye(count, device=normal.device, dtype=exact)
    return torch.linalg.solve(normal, right.transpose(2, 3)).transpose(2, 3).to(values.dtype)
