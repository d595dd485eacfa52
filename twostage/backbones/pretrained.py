"""Weights trained on other photographs, for a timm backbone: from a local file or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from twostage.backbones.timm_package import import_timm
from twostage.errors import BackboneError, some
from twostage.files import given_path

__all__ = ["NETWORK", "load_pretrained"]

NETWORK = "network"
"""In a file's metadata, timm's name of the network that its weights are for: some have brothers of the same shapes."""

ENOUGH = 0.9
"""Share of a backbone's tensors that must be among the weights: with fewer they are of another depth."""


def load_pretrained(model: nn.Module, name: str, weights: str | None = None) -> str:
    """Give timm's model of that name the weights of a safetensors file, or without one those that timm knows for it.

    Returns:
        What is to be said about it: how much was loaded, what was not.

    Raises:
        BackboneError: The file is missing, damaged, no safetensors file or of another network; the hub was not
            reached or has none.
    """
    if weights is not None:
        return _copy(_from_file(given_path(weights, "backbone.weights"), name), model, name, weights)
    return _copy(_from_hub(name), model, name, f"the hub's {name}")


def _from_file(path: Path, name: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise BackboneError(f"backbone.weights={path}: no such file; give a safetensors file of the network's weights")
    try:
        with safe_open(path, "pt") as file:
            intended, tensors = (file.metadata() or {}).get(NETWORK, name), {k: file.get_tensor(k) for k in file.keys()}
    except (SafetensorError, OSError) as error:
        raise BackboneError(
            f"backbone.weights={path}: damaged, or no safetensors file ({' '.join(str(error).split())}); pickles (.pt, "
            f".pth, .bin) are never loaded: convert them with safetensors.torch.save_file"
        ) from error
    if intended != name:
        raise BackboneError(
            f"backbone.weights={path}: weights of {intended}, and not of {name}; say backbone={intended}"
        )
    return tensors


def _from_hub(name: str) -> dict[str, Tensor]:
    timm: Any = import_timm()
    if not timm.is_model_pretrained(name):
        raise BackboneError(
            f"backbone.pretrained: timm has no trained weights for {name}; choose another name, or give a "
            f"file with backbone.weights=FILE"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            found: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # whatever the network, the hub's library or the disk raise
        reason, where = " ".join(str(error).split())[:160], timm.get_pretrained_cfg(name).hf_hub_id
        raise BackboneError(
            f"backbone.pretrained: the weights of {name} could not be fetched ({type(error).__name__}: "
            f"{reason}); without a network, fetch model.safetensors of {where} elsewhere and say backbone.weights=FILE"
        ) from error
    return found


def _copy(found: dict[str, Tensor], model: nn.Module, name: str, source: str) -> str:
    """Copy the tensors that both have; a backbone names `blocks_0.0` what the whole network names `blocks.0.0`."""
    by_name = {name.replace(".", "_"): name for name in found}
    own = model.state_dict()
    pairs = {name: by_name[name.replace(".", "_")] for name in own if name.replace(".", "_") in by_name}
    loaded = {name: _fitted(found[theirs], own[name]) for name, theirs in pairs.items()}
    other = [
        f"{name} is {'x'.join(map(str, tensor.shape))} there and {'x'.join(map(str, own[name].shape))} here"
        for name, tensor in loaded.items()
        if tensor.shape != own[name].shape
    ]
    missing, unused = [name for name in own if name not in pairs], sorted(found.keys() - set(pairs.values()))
    whole = _names_of_whole(name)
    other += [f"it has {name}" for name in unused if name.replace(".", "_") not in whole]
    if other or len(loaded) < ENOUGH * len(own):
        why = some(other, 2) if other else f"only {len(loaded)} of {len(own)} tensors of {name} are in it"
        raise BackboneError(f"{source}: weights of another network than {name} ({why}); choose the file of it")
    model.load_state_dict(loaded, strict=False)
    text = f"{name}: {len(loaded)} of {len(own)} tensors come from {source}"
    text += f"; not in it, and left random: {some(missing)}" if missing else ""
    return text + (f"; not used: {some(unused)}" if unused else "")


def _names_of_whole(name: str) -> set[str]:
    """What the network has with its last layers, which a backbone goes without."""
    with torch.device("meta"):  # no memory, no numbers
        whole = import_timm().create_model(name, pretrained=False)
    return {name.replace(".", "_") for name in whole.state_dict()}


def _fitted(theirs: Tensor, own: Tensor) -> Tensor:
    """The first convolution for one channel instead of three: the sum over them, as timm does it."""
    if theirs.ndim == own.ndim == 4 and own.shape[1] == 1 and theirs.shape[1] == 3:
        return theirs.sum(1, keepdim=True)
    return theirs
