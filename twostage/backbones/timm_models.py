"""Any convolutional network of timm, by its name, as a feature map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twostage.errors import BackboneError, suggest
from twostage.options.backbones import BACKBONES

__all__ = ["TimmBackbone", "import_timm"]


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


def import_timm() -> Any:
    """The package timm, also where torchvision does not fit torch."""
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, AttributeError):
        _kept_alive.extend(_declare_torchvision_ops())
    import timm

    return timm


class TimmBackbone(nn.Module):
    """The last feature map of a timm model: (N,C,H,W) -> (N,F,h,w), h = H/32 for most.

    `input_statistics` are mean and standard deviation of each channel of sRGB that timm's trained weights expect.
    """

    def __init__(self, in_channels: int, name: str, freeze: int = 0) -> None:
        """`freeze` stages, counted from the input, keep their weights and batch-norm statistics.

        Raises BackboneError for an unknown name, a model without a feature map, or one with fewer stages.
        """
        super().__init__()
        timm = import_timm()
        if not timm.is_model(name):
            known = [*timm.list_models(), *(own for own in BACKBONES if own != "timm")]
            raise BackboneError(f"backbone={name} is not known, here or in timm: {suggest(name, known)}")
        try:
            self.model = timm.create_model(
                name, pretrained=False, in_chans=in_channels, features_only=True, out_indices=(-1,)
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BackboneError(
                f"backbone={name} gives no feature map: {reason}; choose a convolutional one"
            ) from error
        self.name, self.features = name, self.model.feature_info.channels()[-1]
        expected = self.model.pretrained_cfg
        self.input_statistics = expected["mean"], expected["std"]
        self.frozen = self._first_stages(freeze)
        for module in self.frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)

    def _first_stages(self, count: int) -> list[nn.Module]:
        """Every module up to the end of the first `count` stages, as timm counts them, in the order of the forward."""
        stages = [stage["module"].replace(".", "_") for stage in self.model.feature_info.info]
        if count > len(stages):
            raise BackboneError(f"backbone.freeze={count}: {self.name} has {len(stages)} stages")
        if count == 0:
            return []
        modules = [(name.replace(".", "_"), module) for name, module in self.model.named_modules() if name]
        end = stages[count - 1]
        inside = [i for i, (name, _) in enumerate(modules) if name == end or name.startswith(end + "_")]
        if not inside:
            raise BackboneError(
                f"backbone.freeze={count}: {self.name} has no stages that can be told apart: leave it 0"
            )
        return [module for _, module in modules[: inside[-1] + 1]]

    def train(self, mode: bool = True) -> TimmBackbone:
        """As usual, but frozen stages stay as they are in prediction."""
        super().train(mode)
        for module in self.frozen:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Last feature map of images (N,C,H,W)."""
        feature_map: Tensor = self.model(images)[0]
        if feature_map.ndim != 4 or feature_map.shape[1] != self.features:
            raise BackboneError(f"backbone={self.name} gives no feature map (N,F,h,w): choose a convolutional one")
        return feature_map
