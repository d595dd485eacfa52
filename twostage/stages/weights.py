"""The weights of a stage in a safetensors file: written, read, and compared with the network that they should be of."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from twostage.bins import Bins
from twostage.errors import ModelFolderError
from twostage.files import write_atomically
from twostage.options.run import Config
from twostage.stages.build import backbone_of, build_stage
from twostage.stages.stage import Stage

__all__ = ["REPAIR", "described_stage", "load_weights", "save_weights"]

REPAIR = "copy the folder again, or delete this file in the run's folder and give the run's command again"
BACKBONE = "network.backbone."
"""So the names of its weights begin."""


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's weights and buffers to a .safetensors file, the same bytes for the same values."""
    state = {name: value.detach().cpu().contiguous() for name, value in sorted(module.state_dict().items())}
    write_atomically(path, save(state))


def load_weights(path: Path, module: nn.Module) -> None:
    """Fill `module` from a .safetensors file.

    Raises:
        ModelFolderError: The file is missing, damaged or of another network.
    """
    if not path.is_file():
        raise ModelFolderError(f"{path}: no such weights; train this stage first")
    try:
        state = load_file(path)
        _refuse_no_numbers(path, state, module)
        module.load_state_dict(state)
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path}: damaged weights ({error}); {REPAIR}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelFolderError(f"{path}: weights of another network: {reason}") from error


def _refuse_no_numbers(path: Path, state: dict[str, Tensor], module: nn.Module) -> None:
    """See that weights are finite numbers of the kind that the module has; others would be converted in silence."""
    for name, own in module.state_dict().items():
        if (value := state.get(name)) is None:
            continue  # which loading tells
        if value.is_floating_point() != own.is_floating_point() or value.is_complex() != own.is_complex():
            raise ModelFolderError(f"{path}: damaged weights ({name} holds {value.dtype}, not {own.dtype}); {REPAIR}")
        if not value.isfinite().all():
            raise ModelFolderError(f"{path}: damaged weights ({name} holds numbers that are not finite); {REPAIR}")


def described_stage(weights: Path, description: Path, name: str, config: Config, bins: Bins) -> Stage:
    """The described stage, untrained; each part is compared with the weights before it takes any memory.

    The backbone comes first: how large the rest is shows when it has read something, and reading without memory makes
    torch load its compiler, two seconds long.

    Args:
        description: The file that describes it, for messages.

    Raises:
        ModelFolderError: The weights are missing, damaged or of another network, or there can be no such network.
    """
    if not weights.is_file():
        raise ModelFolderError(f"{weights}: no such weights; train this stage first")
    try:
        with safe_open(weights, "pt") as file:
            there = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{weights}: damaged weights ({error}); {REPAIR}") from error
    try:
        with torch.device("meta"):
            described = backbone_of(config, name).state_dict(prefix=BACKBONE)
        _refuse_other_shapes(weights, {key: there[key] for key in there if key.startswith(BACKBONE)}, described)
        with torch.random.fork_rng(devices=[]):
            backbone = backbone_of(config, name)
        with torch.device("meta"):
            described = build_stage(name, config, bins, backbone).state_dict()
        _refuse_other_shapes(weights, there, described)
        return build_stage(name, config, bins, backbone)
    except ModelFolderError:
        raise
    except Exception as error:  # options that are each in range may still make no network
        reason = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"{description}: describes no network that can be built ({reason})") from error


def _refuse_other_shapes(weights: Path, there: dict[str, tuple[int, ...]], described: dict[str, Tensor]) -> None:
    wanted = {key: tuple(value.shape) for key, value in described.items()}
    if there != wanted:
        other = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
        raise ModelFolderError(
            f"{weights}: weights of another network than model.json describes: {other[0]} is "
            f"{there.get(other[0], 'missing')} instead of {wanted.get(other[0], 'missing')}"
        )
