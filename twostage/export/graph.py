"""A trained model as graphs: its members, uint8 photographs -> what they say; and what is concluded from that.

Together they are the road of `Predictor.read`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twostage.data.color import to_color
from twostage.export import checks
from twostage.export.distribution import Ends, Scales, bin_mass
from twostage.export.operators import WrittenOut
from twostage.export.places import COMBINED, Places
from twostage.export.typicality import Distance
from twostage.export.views import Said, Seen, Stages
from twostage.model_folder import TrainedModel
from twostage.stages.limits import Limits
from twostage.stages.two_stage import TwoStage
from twostage.trust.status import Status

__all__ = ["OUTPUTS", "Conclusion", "Member"]

OUTPUTS = ("concentration", "lower", "upper", "bin_probabilities", "status", "reason", "distance", "masks")
"""In this order; the last is left out where the pooling has no masks."""


class Member(nn.Module):
    """One pair of stages: uint8 sRGB (N,S,S,3) -> what it says, float64, and its masks (N,M,h,w), where it has some."""

    def __init__(self, member: TwoStage, views: Sequence[int]) -> None:
        super().__init__()
        self.color, self.dtype = member.color, member.dtype
        self.stages = Stages(member, views)
        self.kind = tuple(seen.fitted for seen in self.stages.modules() if isinstance(seen, Seen))
        """Members of one model with the same are the same graph with other weights."""

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """The fields of `Said` by name, and "masks"."""
        with WrittenOut():
            srgb = pixels.permute(0, 3, 1, 2).float() / 255.0
            said, masks = self.stages(to_color(srgb, self.color).to(self.dtype))
        return said._asdict() | ({} if masks is None else {"masks": masks.float()})


class Conclusion(nn.Module):
    """What the stages say of photographs -> concentration, interval, status; as `trust.prediction.predict`."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.trust, self.recalibration, self.limits = model.trust, model.recalibration, model.limits
        self.places, self.distance = Places(model.bins), Distance(model.trust.typicality)
        self.combine = COMBINED[model.config.combine.method]
        self.scales, self.ends = None, None
        if model.trust.dispersion is not None:
            self.scales = Scales(self.places, model.trust.dispersion)
            if model.trust.intervals is not None:
                self.ends = Ends(self.places, model.trust.intervals, model.trust.method, model.trust.confidence)

    def forward(
        self, pixels: Tensor, probabilities: Tensor, offsets: Tensor, log_scales: Tensor, first: Tensor
    ) -> dict[str, Tensor]:
        """Outputs by name, of uint8 sRGB (N,S,S,3) and the fields of `Said`."""
        said = Said(probabilities, offsets, log_scales, first)
        moved = self._recalibrated(said)
        before, concentration = (self._combined(one) for one in (said, moved))
        distance = self.distance(pixels)
        mass, lower, upper = self._distributed(moved, distance)
        lower, upper = (_cut(end, self.limits) for end in self.places.around(concentration, lower, upper))
        checked = checks.gravest(
            checks.Seen(
                pixels=pixels,
                said=said,
                concentration=concentration,
                places=self.places,
                trust=self.trust,
                distance=distance,
                probabilities=mass,
                lower=lower,
                upper=upper,
                before=before,
                limits=self.limits,
            )
        )
        refused = checked.status == Status.REFUSED.gravity
        numbers = (_cut(concentration, self.limits), lower, upper, mass)
        found = [_unless(refused, values).float() for values in numbers]
        found += [checked.status.int(), checked.reason.int(), distance.float()]
        return dict(zip(OUTPUTS, found, strict=False))

    def _distributed(self, said: Said, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How likely each bin is (N,K), and both ends of the interval (N,)."""
        unknown = torch.full_like(distance, torch.nan)
        if self.scales is None:
            return said.probabilities, unknown, unknown
        mixture = self.scales(said, distance)
        ends = (unknown, unknown) if self.ends is None else self.ends(mixture)
        return bin_mass(self.places, mixture), *ends

    def _recalibrated(self, said: Said) -> Said:
        """As `Recalibration.apply`."""
        by, places = self.recalibration, self.places
        if by.is_none:
            return said
        moved = (places.moved(places.of_offsets(said.offsets), by) - places.middle) / places.half_width
        return Said(said.probabilities, moved, said.log_scales + math.log(by.slope), places.moved(said.first, by))

    def _combined(self, said: Said) -> Tensor:
        return self.combine(self.places, said.probabilities, self.places.of_offsets(said.offsets))


def _cut(values: Tensor, limits: Limits) -> Tensor:
    """As `Limits.cut`; written out, because a NaN stays in no operator of ONNX that clips."""
    if limits.ends is not None:
        low, high = limits.ends
        values = torch.where(values < low, low, torch.where(values > high, high, values))
    return values if limits.minimum is None else torch.where(values < limits.minimum, limits.minimum, values)


def _unless(refused: Tensor, values: Tensor) -> Tensor:
    return torch.where(refused if values.ndim == 1 else refused[:, None], torch.nan, values)
