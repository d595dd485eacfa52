"""What both stages are made of: normalisation, backbone, pooling, readout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twostage.backbones import Backbone, check_size, map_shape
from twostage.backbones.pooling import build_pooling
from twostage.bins import Bins
from twostage.data.augment import dihedral_view, undone_view
from twostage.errors import BackboneError
from twostage.stages.limits import BENDS

__all__ = ["Network", "disc_of"]


class Network(nn.Module):
    """Images in the network's colour space (N,C,H,W) -> one estimate of the concentration (N,1).

    On a circle the readout gives an arrow, the cosine and the sine of an angle, and its direction is the estimate.
    Source: Fischer, Dosovitskiy and Brox 2015, "Image orientation estimation with convolutional networks".

    Both stages are built on one, so that all that the classifier has learned, up to its estimate, can be carried over
    to the regressor. The normalisation is fixed: mean and spread of each channel over the training set, never of the
    single image, because the colour of the single image is the signal.

    `precision` is that of the backbone alone, torch.float32 or torch.bfloat16: a concentration has more digits than
    bfloat16, so pooling, readout and loss are always float32.
    """

    mean: Tensor
    std: Tensor
    shift: Tensor
    spread: Tensor
    inside: Tensor | None

    def __init__(
        self,
        backbone: Backbone,
        bins: Bins,
        *,
        size: int,
        channels: int,
        pooling: str,
        name: str = "backbone",
        disc: bool = False,
        limit: str = "none",
    ) -> None:
        """`disc`: see the disc alone that stays in the photograph however it is turned, and the mean outside.

        Args:
            limit: As `combine.limit`: are estimates bent into the range of the bins?

        Raises:
            BackboneError: The backbone cannot take images of `size` pixels, or would lose its symmetry.
        """
        super().__init__()
        check_size(backbone, size, name)
        if pooling == "flatten" and backbone.symmetry != "none":
            raise BackboneError(
                f"pooling=flatten would undo the symmetry {backbone.symmetry} of backbone={name}: choose masks or mean"
            )
        self.precision, self.size, self.bins = torch.float32, size, bins
        self.bend = BENDS[limit](bins)
        # where turned photographs are filled from outside, the filling would tell the angle
        self.register_buffer("inside", disc_of(size) if disc else None, persistent=False)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        # the readout's output is standardised, roughly, over the range
        self.register_buffer("shift", torch.tensor((bins.edges[0] + bins.edges[-1]) / 2, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor((bins.edges[-1] - bins.edges[0]) / 4, dtype=torch.float32))
        self.backbone = backbone
        self.pooling = build_pooling(pooling, map_shape(backbone, channels, size, name), channels)
        self.readout = nn.Linear(self.pooling.width, 1 if bins.period is None else 2)
        with torch.no_grad():
            self.readout.weight[:, self.pooling.width - self.pooling.fitted :] = 0.0

    @property
    def pooled_width(self) -> int:
        """Length P of the pooled vector."""
        return int(self.pooling.width)

    def reading_dtype(self, device: torch.device) -> torch.dtype:
        """Number format in which it reads on a device: a declared symmetry is exact in float64 alone.

        The solved last layer looks at small differences of large numbers, a million times enlarged, and what float32
        rounds differs from one view of a photograph to the next. Apple's GPUs have no float64: there a symmetry holds
        as well as float32 lets it.
        """
        exact = self.backbone.symmetry != "none" and device.type != "mps"
        return torch.float64 if exact else torch.float32

    def normalize(self, mean: Tensor, std: Tensor) -> None:
        """Take mean and spread of each channel (C,) as given."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    @property
    def reads_fitted(self) -> bool:
        """Does the readout use columns that are fitted to the photograph? Only after it was solved with them."""
        fitted = self.pooling.fitted
        return fitted > 0 and bool(self.readout.weight[:, -fitted:].any())

    def pooled(self, images: Tensor) -> Tensor:
        """The vector (N,P) that the readout sees."""
        if self.reads_fitted:
            return self.seen(images, (0,)).to(self.mean)
        vector: Tensor = self.pooling(*self.features(images))
        return vector

    def seen(self, images: Tensor, views: Sequence[int], *, fitted: bool = True) -> Tensor:
        """Pooled vectors averaged over turns and flips of the images, numbers of `dihedral_view`: (N,P), float64, CPU.

        Args:
            fitted: Fit the columns that are fitted to a photograph, once for all its views: under their masks, turned
                back and averaged.
        """
        vectors, masks = [], []
        for number in views:
            feature_map, view = self.features(dihedral_view(images, number))
            vectors.append(self.pooling(feature_map, view).cpu().double())
            looked = self.pooling.look(feature_map, view) if fitted and self.pooling.fitted else None
            masks += [] if looked is None else [undone_view(looked[0], number)]
        vector = torch.stack(vectors).mean(0)
        if masks:
            columns = self.pooling.fit(torch.stack(masks).mean(0), self.normal(images))
            vector[:, -self.pooling.fitted :] = columns.cpu().double()
        return vector

    @torch.no_grad()
    def masks(self, images: Tensor, views: Sequence[int] = (0,)) -> Tensor | None:
        """The masks (N,M,h,w) through which it looks, each with sum one: the mean over views, numbers of
        `dihedral_view`, each turned back. None where the pooling has no masks.
        """
        found = []
        for number in views:
            looked = self.pooling.look(*self.features(dihedral_view(images, number)))
            found += [] if looked is None else [undone_view(looked[0], number)]
        return torch.stack(found).mean(0) if found else None

    def ambiguous(self, images: Tensor) -> Tensor:
        """Which columns of the pooled vector (P,), as booleans, are not to be read, from some images (N,C,H,W)."""
        found = torch.zeros(self.pooled_width, dtype=torch.bool)
        looked = self.pooling.look(*self.features(images)) if self.pooling.fitted else None
        if looked is not None:
            found[-self.pooling.fitted :] = self.pooling.ambiguous(looked[0], self.normal(images)).cpu()
        return found

    def normal(self, images: Tensor) -> Tensor:
        """Images in the colour space (N,C,H,W) as the backbone sees them: normalised, in the format of its numbers."""
        normal = (images.to(self.mean) - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)
        return normal if self.inside is None else normal * self.inside.to(normal)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Feature map (N,F,h,w) of images (N,C,H,W), and the images normalised as the backbone saw them."""
        images = self.normal(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
            feature_map = self.backbone(images)
        return feature_map.to(images.dtype), images

    def estimate(self, pooled: Tensor) -> Tensor:
        """Estimated concentration (N,1) from pooled vectors (N,P)."""
        if self.bins.period is not None:
            return self.direction(self.arrow(pooled))
        return self.bend(self.shift + self.spread * self.readout(pooled))

    def arrow(self, pooled: Tensor) -> Tensor:
        """On a circle: cosine and sine of the angle, of any length, (N,2), from pooled vectors (N,P)."""
        arrow: Tensor = self.readout(pooled)
        return arrow

    def direction(self, arrow: Tensor) -> Tensor:
        """The concentration (N,1) to which arrows (N,2) point."""
        period, low = float(self.bins.period or 1), float(self.bins.edges[0])
        place = torch.atan2(arrow[:, 1:], arrow[:, :1]) * (period / (2 * math.pi))
        return low + torch.remainder(place - low, period)

    @torch.no_grad()
    def set_estimate(self, solution: Tensor) -> None:
        """Let the estimate before it is bent, or its arrow, be this linear function of the pooled vector, in its unit.

        Args:
            solution: (R, P + 1), the constants last; R = 1, on a circle 2.
        """
        standard = solution.double().clone()
        if self.bins.period is None:
            standard[:, -1] -= self.shift.cpu().double()
            standard /= self.spread.cpu().double()
        self.readout.weight.copy_(standard[:, :-1])
        self.readout.bias.copy_(standard[:, -1])

    def copy_from(self, other: Network, parts: Sequence[str]) -> list[str]:
        """Take the weights of `parts` ("backbone", "pooling", "readout") from another network.

        With the backbone goes the normalisation of the input that it has learned with.

        Returns:
            The parts that were not copied because the two networks differ.
        """
        different = []
        for name in parts:
            target, state = getattr(self, name), getattr(other, name).state_dict()
            if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in target.state_dict().items()}:
                different.append(name)
                continue
            target.load_state_dict(state)
            if name == "backbone":
                self.normalize(other.mean, other.std)
        return different

    def per_bin(self, count: int) -> nn.Linear:
        """A linear layer from the pooled vector to one number for each of `count` bins; it starts at zero."""
        layer = nn.Linear(self.pooled_width, count, device="meta")  # no random numbers are drawn only to be dropped
        layer.weight = nn.Parameter(torch.zeros(count, self.pooled_width))
        layer.bias = nn.Parameter(torch.zeros(count))
        return layer


def disc_of(size: int) -> Tensor:
    """The disc (1,1,size,size) that a square holds, one pixel from its sides: 1 inside, 0 outside."""
    from_middle = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return (torch.hypot(from_middle[:, None], from_middle) <= size / 2 - 1).float()[None, None]
