"""A trained model as a folder: weights as safetensors, everything else as JSON. Never pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from twostage.bins import Bins
from twostage.errors import ModelFolderError, TwoStageError
from twostage.files import write_atomically, write_json
from twostage.options.choices import METHODS
from twostage.options.compose import to_typed
from twostage.options.flat import to_plain
from twostage.options.run import Config
from twostage.stages.build import build_stage
from twostage.stages.two_stage import TwoStage
from twostage.trust.intervals import Intervals, NoIntervals, load_intervals

__all__ = ["FORMAT", "TrainedModel", "load_model", "load_weights", "save_description", "save_weights"]

FORMAT = 3
REPAIR = "copy the folder again, or delete this file in the run's folder and give the run's command again"


@dataclass(frozen=True)
class TrainedModel:
    """Both stages with the options they were trained with, and what else model.json tells."""

    network: TwoStage
    bins: Bins
    config: Config
    description: dict[str, Any]
    intervals: Intervals = field(default_factory=NoIntervals)


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
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path}: damaged weights ({error}); {REPAIR}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelFolderError(f"{path}: weights of another network: {reason}") from error


def save_description(folder: Path, config: Config, bins: Bins, **more: Any) -> None:
    """Write model.json: it makes the folder complete, so write it last."""
    digests = {file.name: _digest(file) for file in sorted(folder.glob("*.safetensors"))}
    content = {"format": FORMAT, "edges": bins.edges.tolist(), "config": to_plain(config), "sha256": digests, **more}
    write_json(folder / "model.json", content)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load_described(path: Path, module: nn.Module, description: dict[str, Any]) -> None:
    """Load weights that are those of the model's description."""
    load_weights(path, module)
    if description.get("sha256", {}).get(path.name) not in (None, _digest(path)):
        raise ModelFolderError(f"{path}: damaged weights, or those of another training; {REPAIR}")


def load_model(folder: str | Path, device: torch.device) -> TrainedModel:
    """Load a trained model from its folder, or from the folder of its run.

    Raises:
        ModelFolderError: The folder is none, is incomplete or was written by a newer version.
    """
    try:
        given = Path(folder).expanduser()
        path = given / "model" if (given / "model").is_dir() else given
        there = path.is_dir()
    except (OSError, RuntimeError) as error:  # a name that no file can have, or a user's home that is not known
        raise ModelFolderError(f"{folder}: no such run or model folder ({error})") from error
    if not there:
        raise ModelFolderError(f"{given}: no such run or model folder; train one with: twostage train run=NAME")
    if not (path / "model.json").is_file():
        raise ModelFolderError(
            f"{given}: not a trained model (no model.json): it holds no run, or its training has not finished"
        )
    try:
        description = json.loads((path / "model.json").read_text())
        if description["format"] != FORMAT:
            raise ModelFolderError(f"{path}: model format {description['format']}, this version reads {FORMAT}")
        config = to_typed(description["config"])
        bins = Bins(description["edges"])
        intervals = load_intervals(description.get("intervals"))
    except ModelFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OmegaConfBaseException, TwoStageError) as error:
        reason = " ".join(str(error).split())
        raise ModelFolderError(f"{path / 'model.json'}: cannot be read ({type(error).__name__}: {reason})") from error
    stages: dict[str, Any] = {name: build_stage(name, config, bins) for name in METHODS[config.method]}
    for name, stage in stages.items():
        _load_described(path / f"{name}.safetensors", stage, description)
    network = TwoStage(bins, stages.get("classifier"), stages.get("regressor"), config.image.color)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # up to twice as fast
    return TrainedModel(network.eval(), bins, config, description, intervals)
