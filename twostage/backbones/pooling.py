"""Pooling: (feature map, input) -> one vector per image, from which every output is read linearly.

`mean` and `flatten` are the usual ones. `masks` divides the labour: the network says *where*, the photograph says
*how much*. Eight soft masks are predicted from the feature map, and the input's colour is averaged under each. With
optical density as input, the ratio of well to surround is then a difference of two of these numbers, exact instead
of approximated through many layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twostage.options.choices import POOLINGS
from twostage.options.family import resolve

__all__ = ["FlattenPooling", "MaskPooling", "MeanPooling", "Pooling", "build_pooling"]


class Pooling(nn.Module):
    """Feature map (N,F,h,w) and the input (N,C,H,W) it came from -> vector (N,P); P is its `width`."""

    width: int
    fitted: int = 0
    """So many of the last columns are fitted to the photograph when the last layer is solved, and zero before."""

    def look(self, feature_map: Tensor, image: Tensor) -> tuple[Tensor, Tensor] | None:
        """The masks (N,M,h',w') through which it looks, and the input at their resolution; None where it has none."""
        return None

    def fit(self, masks: Tensor, image: Tensor) -> Tensor:
        """The fitted columns (N,`fitted`) of an input (N,C,H,W) under its masks (N,M,h',w'); usually there are none."""
        return image.new_zeros(len(image), 0)

    def ambiguous(self, masks: Tensor, image: Tensor) -> Tensor:
        """Which of the fitted columns tell now of this and now of that, and so are not to be read: (`fitted`,)."""
        return torch.zeros(self.fitted, dtype=torch.bool)


class MeanPooling(Pooling):
    """Mean over positions: map (N,F,h,w) -> (N,F)."""

    def __init__(self, map_shape: tuple[int, int, int], in_channels: int) -> None:
        super().__init__()
        self.width = map_shape[0]

    def forward(self, feature_map: Tensor, image: Tensor) -> Tensor:
        """Pooled vector (N,P) of a feature map (N,F,h,w) and the input (N,C,H,W) it came from."""
        return feature_map.mean((2, 3))


class FlattenPooling(Pooling):
    """Every feature at every position: map (N,F,h,w) -> (N,F*h*w). Neither shift nor turn leaves it unchanged."""

    def __init__(self, map_shape: tuple[int, int, int], in_channels: int) -> None:
        super().__init__()
        features, height, width = map_shape
        self.width = features * height * width

    def forward(self, feature_map: Tensor, image: Tensor) -> Tensor:
        """Pooled vector (N,P) of a feature map (N,F,h,w) and the input (N,C,H,W) it came from."""
        return feature_map.flatten(1)


class MaskPooling(Pooling):
    """Mean features beside the input's colour under learned soft masks: (N, masks*C + F), colours first.

    The masks are a softmax over positions at half the input's resolution (or the map's own, if finer), so each sums
    to one and a colour is a weighted mean of input pixels. Their logits come from the feature map and, pixel by
    pixel, from the input itself, so that one colour can be told from another without the map.
    """

    def __init__(self, map_shape: tuple[int, int, int], in_channels: int, masks: int = 8) -> None:
        super().__init__()
        self.masks = nn.Conv2d(map_shape[0], masks, 1)
        self.masks_of_pixels = nn.Conv2d(in_channels, masks, 1, bias=False)
        self.width = masks * in_channels + map_shape[0]

    def weights(self, feature_map: Tensor, pixels: Tensor) -> Tensor:
        """The masks (N,masks,h',w'), each with sum one, for pixels (N,C,h',w')."""
        of_map = F.interpolate(self.masks(feature_map), size=pixels.shape[2:], mode="bilinear", align_corners=False)
        logits = of_map + self.masks_of_pixels(pixels)
        return logits.flatten(2).softmax(-1).view_as(logits)

    def look(self, feature_map: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The masks (N,masks,h',w'), and the input at their resolution (N,C,h',w')."""
        height, width = (max(image.shape[i] // 2, feature_map.shape[i]) for i in (2, 3))
        pixels = F.adaptive_avg_pool2d(image, (height, width))
        return self.weights(feature_map, pixels), pixels

    def forward(self, feature_map: Tensor, image: Tensor) -> Tensor:
        """Pooled vector (N,P) of a feature map (N,F,h,w) and the input (N,C,H,W) it came from."""
        weights, pixels = self.look(feature_map, image)
        colors = torch.bmm(weights.flatten(2), pixels.flatten(2).transpose(1, 2)).flatten(1)
        return torch.cat([colors, feature_map.mean((2, 3))], 1)


def build_pooling(name: str, map_shape: tuple[int, int, int], in_channels: int) -> Pooling:
    """The pooling `name` for a feature map of shape (F,h,w) and an input of C channels.

    Raises:
        ConfigError: There is none of that name.
    """
    built: Pooling = resolve(POOLINGS.member(name))(map_shape, in_channels)
    return built
