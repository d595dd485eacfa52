"""The start that ships with the package: a network of the default kind that random scenes have taught where to look."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from twostage.backbones import build_backbone
from twostage.bins import Bins
from twostage.data.color import channels
from twostage.errors import ModelFolderError
from twostage.options.backbones import backbone_config
from twostage.stages.network import Network

__all__ = ["FOLDER", "Shipped", "load_shipped", "network_of"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Shipped:
    """`network` as it was taught; `kind` are the options that make a network one like it; `digest` of its weights."""

    network: Network
    kind: dict[str, Any]
    digest: str


def load_shipped(name: str = "scenes") -> Shipped:
    """The start of that name.

    Raises:
        ModelFolderError: The installed package is damaged.
    """
    weights, description = FOLDER / f"{name}.safetensors", FOLDER / f"{name}.json"
    try:
        told = json.loads(description.read_text())
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != told["sha256"]:
            raise ValueError("its weights are not those that it describes")
        network = network_of(told["kind"], told["size"])
        network.load_state_dict(load_file(weights))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFolderError(f"{description} is damaged ({error}): install twostage again") from error
    return Shipped(network, told["kind"], digest)


def network_of(kind: dict[str, Any], size: int) -> Network:
    """A network of these options, for images of `size` pixels."""
    prefix = "backbone."
    options = {key[len(prefix) :]: value for key, value in kind.items() if key.startswith(prefix)}
    backbone, count = replace(backbone_config(kind["backbone"]), **options), channels(kind["image.color"])
    shape = {"size": size, "channels": count, "pooling": kind["pooling"], "name": kind["backbone"]}
    return Network(build_backbone(backbone, count), Bins([0.0, 100.0]), **shape)
