"""The package timm, also where torchvision does not fit torch."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["import_timm"]


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
