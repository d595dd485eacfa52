"""Any convolutional network of timm, by its name, as a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostage.errors import BackboneError, suggest

__all__ = ["TimmBackbone"]


def _declare_torchvision_ops() -> list[torch.library.Library]:
    """Declare two operators that torchvision expects, where its compiled part does not fit this torch.

    A processor-only torch beside a torchvision built for CUDA makes ``import torchvision`` (and so ``import timm``)
    fail with "operator torchvision::nms does not exist". Nothing here calls these operators. The returned libraries
    must stay alive as long as the process.
    """
    schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    declared = []
    for name in ("nms", "qnms"):
        try:
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(name + schema)
            declared.append(library)
        except RuntimeError:  # it is there already
            continue
    return declared


_kept_alive: list[torch.library.Library] = []


def _timm() -> object:
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, AttributeError):
        _kept_alive.extend(_declare_torchvision_ops())
    import timm

    return timm


class TimmBackbone(nn.Module):
    """The last feature map of a timm model: (N,C,H,W) -> (N,F,h,w), h = H/32 for most."""

    def __init__(self, in_channels: int, name: str) -> None:
        """Raises BackboneError for an unknown name, or a model without a feature map."""
        super().__init__()
        timm = _timm()
        if not timm.is_model(name):  # type: ignore[attr-defined]
            from twostage.config import BACKBONES

            known = [*timm.list_models(), *(own for own in BACKBONES if own != "timm")]  # type: ignore[attr-defined]
            raise BackboneError(f"backbone={name} is not known, here or in timm: {suggest(name, known)}")
        try:
            self.model = timm.create_model(  # type: ignore[attr-defined]
                name, pretrained=False, in_chans=in_channels, features_only=True, out_indices=(-1,)
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BackboneError(
                f"backbone={name} gives no feature map: {reason}; choose a convolutional one"
            ) from error

        self.name, self.features = name, self.model.feature_info.channels()[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Last feature map of images (N,C,H,W)."""
        feature_map: Tensor = self.model(images)[0]
        if feature_map.ndim != 4 or feature_map.shape[1] != self.features:
            raise BackboneError(f"backbone={self.name} gives no feature map (N,F,h,w): choose a convolutional one")
        return feature_map
