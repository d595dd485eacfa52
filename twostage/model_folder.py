"""A trained model as a folder: weights as safetensors, everything else as JSON. Never pickle."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from twostage.bins import Bins
from twostage.errors import ConfigError, ModelFolderError
from twostage.files import given_path, write_json
from twostage.options.choices import METHODS
from twostage.options.compose import to_typed
from twostage.options.flat import without_places
from twostage.options.run import Config
from twostage.stages.build import build_limits
from twostage.stages.ensemble import Ensemble
from twostage.stages.limits import Limits
from twostage.stages.two_stage import TwoStage
from twostage.stages.weights import REPAIR, described_stage, load_weights
from twostage.trust.recalibration import Recalibration
from twostage.trust.trust import Trust

__all__ = [
    "FORMAT",
    "TrainedModel",
    "described_folder",
    "description_digest",
    "load_model",
    "save_description",
    "weights_name",
]

FORMAT = 7
OTHER_SIGNS = 6
"""The format before: intervals could hang on what float32 rounds."""
WITHOUT_TRUST = (4, 5)
"""The formats before: 4 knows no members, and neither says how far the model may be believed."""
WITHOUT_DIGEST = 3
"""The format before these: its description carries no digest."""
MOST_MEMBERS = 1000
MOST_BYTES = 64 * 2**20
"""A description is some kilobytes long; this leaves room for intervals of any kind."""

log = logging.getLogger("twostage")


@dataclass(frozen=True)
class TrainedModel:
    """Both stages with the options they were trained with, and what else model.json tells."""

    network: TwoStage | Ensemble
    bins: Bins
    config: Config
    description: dict[str, Any]
    trust: Trust = field(default_factory=Trust)
    recalibration: Recalibration = field(default_factory=Recalibration)

    @property
    def digest(self) -> str:
        """Tells it from every other: of all that its description says, and of its weights."""
        return str(self.description.get("digest") or description_digest(self.description))

    @property
    def members(self) -> list[TwoStage]:
        """The networks whose mean is read: one, or several."""
        return [self.network] if isinstance(self.network, TwoStage) else self.network.members

    @property
    def limits(self) -> Limits:
        """Beyond which it says nothing."""
        return build_limits(self.config, self.bins)

    @property
    def remarks(self) -> list[str]:
        """What must be said beside its numbers."""
        return [str(text) for text in self.description.get("remarks", [])]


def weights_name(stage: str, member: int = 0) -> str:
    """The file in a model folder that holds the weights of a stage, of one member where there are several."""
    return f"{stage}_{member}.safetensors" if member else f"{stage}.safetensors"


def save_description(folder: Path, config: Config, bins: Bins, *, members: int = 1, **more: Any) -> None:
    """Write model.json: it makes the folder complete, so write it last.

    A model folder is handed out: it does not tell where things lie on this machine.

    Args:
        members: So many networks read as one; their weights are there as `weights_name` calls them.
    """
    digests = {file.name: _digest(file) for file in sorted(folder.glob("*.safetensors"))}
    more |= {"members": members} if members > 1 else {}
    content = {
        "format": FORMAT,
        "edges": bins.edges.tolist(),
        "config": without_places(config),
        "sha256": digests,
        **more,
    }
    write_json(folder / "model.json", content | {"digest": description_digest(content)})


def description_digest(description: dict[str, Any]) -> str:
    """SHA-256 of all that a description says, itself left out: every part of it decides what is read, or what it means.

    It finds damage and edits by hand; who wants to deceive can compute it anew.
    """
    content = {key: value for key, value in description.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_model(folder: str | Path, device: torch.device) -> TrainedModel:
    """Load a trained model from its folder, or from the folder of its run.

    Raises:
        ModelFolderError: The folder is none, is incomplete, was changed or damaged since it was written, or is of a
            version that is not known.
    """
    path = described_folder(folder)
    description, config, bins, trust, recalibration = _read_description(path / "model.json")
    members = [_member(number, path, description, config, bins, device) for number in range(_members(description))]
    network = members[0] if len(members) == 1 else Ensemble(members)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # up to twice as fast
    return TrainedModel(network.eval(), bins, config, description, trust, recalibration)


def _members(description: dict[str, Any]) -> int:
    return int(description.get("members", 1)) if description["format"] > WITHOUT_TRUST[0] else 1


def _member(
    number: int, path: Path, description: dict[str, Any], config: Config, bins: Bins, device: torch.device
) -> TwoStage:
    stages: dict[str, Any] = {}
    for name in METHODS[config.method]:
        weights = path / weights_name(name, number)
        stages[name] = described_stage(weights, path / "model.json", name, config, bins)
        if description["sha256"].get(weights.name) != _digest(weights):
            raise ModelFolderError(f"{weights}: damaged weights, or those of another training; {REPAIR}")
        load_weights(weights, stages[name])
        stages[name].to(stages[name].network.reading_dtype(device))
    if description["format"] == WITHOUT_DIGEST and "classifier" in stages:
        stages["classifier"].stretch.zero_()  # it learned from soft targets as wide in every bin
    return TwoStage(bins, stages.get("classifier"), stages.get("regressor"), config.image.color)


def described_folder(folder: str | Path) -> Path:
    """The folder with model.json: the given one, or the one in the given run."""
    try:
        given = given_path(folder, "model folder")
    except ConfigError as error:
        raise ModelFolderError(f"no such run or model folder: {error}") from error
    path = given / "model" if (given / "model").is_dir() else given
    if not path.is_dir():
        raise ModelFolderError(f"{given}: no such run or model folder; train one with: twostage train run=NAME")
    if not (path / "model.json").is_file():
        raise ModelFolderError(
            f"{given}: not a trained model (no model.json): it holds no run, or its training has not finished"
        )
    return path


def _read_description(path: Path) -> tuple[dict[str, Any], Config, Bins, Trust, Recalibration]:
    """What model.json says; whatever is in it, it is read as data, and it is as it was written."""
    try:
        description = _parse(path)
        _refuse_changed(path, description)
        config = to_typed(description["config"])
        bins = Bins(description["edges"], config.data.scale, config.bins.period)
        trust = _read_trust(path, description)
        recalibration = Recalibration.from_json(description.get("recalibration", Recalibration().to_json()))
        digests = dict(description["sha256"])
        count = _members(description)
        if not 1 <= count <= MOST_MEMBERS:
            raise ModelFolderError(f"{path}: {count} members, where 1 to {MOST_MEMBERS} can be; {REPAIR}")
        needed = [(name, weights_name(name, number)) for number in range(count) for name in METHODS[config.method]]
        missing = [name for name, file in needed if not digests.get(file)]
        if missing:
            raise ModelFolderError(f"{path}: names no sha256 of the weights of the {missing[0]}; {REPAIR}")
    except ModelFolderError:
        raise
    except Exception as error:  # anything may be in the file, and nothing of it may crash
        reason = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"{path}: cannot be read ({type(error).__name__}: {reason})") from error
    return description, config, bins, trust, recalibration


def _read_trust(path: Path, description: dict[str, Any]) -> Trust:
    if "trust" in description:
        if description["format"] == OTHER_SIGNS:
            log.warning("%s: written by an earlier version: intervals may be longer or shorter; train anew", path)
        return Trust.from_json(description["trust"])
    if "intervals" in description:
        log.warning("%s: an earlier version made its intervals otherwise, so there are none: train anew", path)
    return Trust()


def _parse(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_BYTES:
        raise ModelFolderError(f"{path}: larger than {MOST_BYTES / 2**20:g} MB, so it describes no model")

    def finite(word: str) -> float:
        if not math.isfinite(float(word)):
            raise ValueError(f"{word[:40]} is no finite number")
        return float(word)

    text = path.read_text(encoding="utf-8")
    return dict(json.loads(text, parse_float=finite, parse_constant=finite, object_pairs_hook=_each_once))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a description, in which no name comes twice: readers would disagree which of them counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{max(names, key=names.count)[:40]}' is there more than once")
    return found


def _refuse_changed(path: Path, description: dict[str, Any]) -> None:
    """See that a description is of a known format and, from format 4 on, as it was written."""
    number = description["format"]
    if type(number) is not int or number not in (FORMAT, OTHER_SIGNS, *WITHOUT_TRUST, WITHOUT_DIGEST):
        raise ModelFolderError(f"{path}: model format {str(number)[:40]}, this version reads 3 to {FORMAT}")
    if number != WITHOUT_DIGEST or "digest" in description:
        if description.get("digest") != description_digest(description):
            raise ModelFolderError(f"{path}: changed or damaged since it was written (its digest differs); {REPAIR}")
    else:
        log.warning(
            "%s: written by an earlier version, without a digest: a change to bins or options in it is not noticed",
            path,
        )
