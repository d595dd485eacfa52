"""What the untrained network of a stage starts from: random weights, timm's, the start that ships, or a run's."""

from __future__ import annotations

import io
import logging
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from twostage.bins import Bins
from twostage.data.color import channels
from twostage.data.sealed import SEALED
from twostage.data.splits import read_names
from twostage.errors import BackboneError, DataError, RunError, some
from twostage.files import given_path
from twostage.model_folder import load_model
from twostage.options.choices import METHODS
from twostage.options.run import Config
from twostage.run.folder import RunFolder
from twostage.stages.build import backbone_config_of, build_stage, is_refitted
from twostage.stages.network import Network
from twostage.starts.shipped import load_shipped

__all__ = ["Start", "initialize", "learned_by", "load_start", "photographs_of", "try_networks"]

log = logging.getLogger("twostage")

LEARNED_FROM = ["train", "validation", "calibration"]
COLUMNS = {
    "splits.csv": ["image", "target", "split"],
    "start.csv": ["photograph", "group", "model"],
    "learned.csv": ["photograph", "group", "part"],
}


@dataclass(frozen=True)
class Start:
    """A trained network that others begin with, as it was when it was loaded."""

    name: str
    """As messages call it: the folder of a finished run, or "scenes"."""
    networks: dict[str, tuple[dict[str, Any], Network]]
    """Its networks by stage, each with the options that make another one like it."""
    learned: pd.DataFrame
    """The photographs that made it, and those that made what it had started from: photograph, group, and which model
    they made; a photograph "" for the model itself."""
    unknown: list[str]
    """What is missing of these."""

    def different(self, config: Config, stage: str) -> dict[str, Any]:
        """The options of the start's network in which that of a stage differs; empty where they are alike."""
        here, there = _kind(config, stage), self._of(stage)[0]
        return {key: there[key] for key in there if there[key] != here.get(key)}

    def give(self, network: Network, config: Config, stage: str) -> str:
        """Let a network have its backbone, pooling and normalisation; readout and bins are of other concentrations.

        Raises:
            BackboneError: The network is another one.
        """
        different = self.different(config, stage)
        if different:
            raise BackboneError(
                f"start={self.name}: this {stage} is another network: give "
                + " ".join(f"{key}={value}" for key, value in different.items()).replace(", ", ",")
                + ", or start=none"
            )
        network.copy_from(self._of(stage)[1], ("backbone", "pooling"))
        return f"backbone, pooling and normalisation start from {self.name}"

    def _of(self, stage: str) -> tuple[dict[str, Any], Network]:
        return self.networks.get(stage) or next(iter(self.networks.values()))

    def refuse_seen(self, splits: str, config: Config) -> list[str]:
        """Look whether the photographs that are to test a run have made this model.

        Args:
            splits: splits.csv of the new run, as text.

        Returns:
            What is to be said where that is not known for certain.

        Raises:
            DataError: They have; the message names them.
        """
        mine = photographs_of(read_names(io.StringIO(splits)), ["test", SEALED], config)
        seen = mine["photograph"].isin(self.learned["photograph"])
        if seen.any():
            raise DataError(
                f"{seen.sum()} test photographs are among those that made start={self.name}, and would "
                f"look better than new ones: {some(list(mine['image'][seen]))}; start from a model of others"
            )
        groups = sorted(set(mine["group"]) & set(self.learned["group"]) - {""})
        alike = [
            f"start={self.name} has learned from groups that are called as some of the test set "
            f"({some(groups)}): if they are the same specimens, the figures are too good"
        ]
        return self.unknown + (alike if groups else [])


def load_start(config: Config) -> Start | None:
    """What the option `start` names; None where networks begin with nothing.

    Raises:
        ModelFolderError: It is no finished run.
        RunError: It is a link, or its splits.csv cannot be read.
    """
    if config.start == "none" or (config.start == "auto" and not _takes_shipped(config)):
        return None
    return _shipped() if config.start in ("auto", "scenes") else _earlier(config.start)


def _takes_shipped(config: Config) -> bool:
    """Are the photographs real ones, and the networks, without weights of their own, like the start that ships?"""
    if not config.data.are_files:
        return False
    stages = METHODS[config.method]
    if any(backbone_config_of(config, stage).trained_weights for stage in stages):
        return False
    start = _shipped()
    return not any(start.different(config, stage) for stage in stages)


def _shipped() -> Start:
    shipped = load_shipped()
    learned = pd.DataFrame({"photograph": [""], "group": [""], "model": [shipped.digest[:12]]})
    return Start("scenes", {"": (shipped.kind, shipped.network)}, learned, [])


def _earlier(name: str) -> Start:
    """The finished run of that folder."""
    model = load_model(name, torch.device("cpu"))
    given = given_path(name, "start")
    folder = given.parent if (given / "model.json").is_file() else given
    if given.is_symlink() or folder.is_symlink():
        raise RunError(f"start={given} leads to another run with every new one: name the run itself")
    digest = "+".join(str(value)[:12] for value in model.description.get("sha256", {}).values())
    learned, unknown = [pd.DataFrame({"photograph": [""], "group": [""], "model": [digest]})], []
    from_another = model.config.start not in ("auto", "scenes", "none")
    for name in ("splits.csv", "start.csv") if from_another else ("splits.csv",):
        if not (folder / name).is_file():
            unknown.append(f"{folder / name} is missing: nobody knows all photographs that have made start")
            continue
        table = _read(folder / name)
        if name == "splits.csv":
            table = photographs_of(table, LEARNED_FROM, model.config).assign(model=digest)
        learned.append(table[["photograph", "group", "model"]])
    if (folder / "learned.csv").is_file():  # before it was forced on to other photographs
        learned.append(_read(folder / "learned.csv").assign(model=digest)[["photograph", "group", "model"]])
    networks = {stage.name: (_kind(model.config, stage.name), stage.network) for stage in model.network.stages}
    return Start(str(folder), networks, pd.concat(learned), unknown)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = read_names(path)
        table[COLUMNS[path.name]]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} of start cannot be read ({' '.join(str(error).split())})") from error
    return table


def photographs_of(splits: pd.DataFrame, parts: list[str], config: Config) -> pd.DataFrame:
    """Image, group and what makes a photograph that one: its content, or what it was simulated from.

    Whatever is read in it, a box or another, it is the same photograph.
    """
    rows = splits[splits["split"].isin(parts)]
    drawn = f"seed {config.seed} {config.image.size} px " + rows["image"] + " " + rows["target"]
    photograph = rows["content"].str.split("/").str[0] if "content" in rows else drawn
    return pd.DataFrame({"image": rows["image"], "photograph": photograph, "group": rows.get("group", "")})


def learned_by(folder: Path, config: Config) -> frozenset[str]:
    """The contents of the files from which the model of a run, or a run's model folder, has learned.

    Empty where its run is not there to tell, or they were no files.
    """
    splits = (folder.parent if (folder / "model.json").is_file() else folder) / "splits.csv"
    if not config.data.are_files or not splits.is_file():
        return frozenset()
    try:
        return frozenset(photographs_of(read_names(splits), LEARNED_FROM, config)["photograph"])
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        log.warning("%s cannot be read (%s), so nobody knows what the model has learned from", splits, reason)
        return frozenset()


def _kind(config: Config, stage: str) -> dict[str, Any]:
    """The options that make a network what it is."""
    backbone = asdict(backbone_config_of(config, stage))
    kept = {key: value for key, value in backbone.items() if key not in ("name", "pretrained", "weights", "freeze")}
    shape = {"backbone": backbone["name"], **{f"backbone.{key}": value for key, value in kept.items()}}
    pooling = "masks" if config.pooling == "surfaces" else config.pooling  # which looks through the same masks
    return shape | {"pooling": pooling, "image.color": config.image.color}


def initialize(
    network: Network, config: Config, stage: str, mean: Tensor, std: Tensor, start: Start | None = None
) -> list[str]:
    """Give the untrained network of a stage what it starts from: trained weights if so wished, and the normalisation.

    An earlier run brings its normalisation with it, and so do timm's weights, of sRGB, with ``image.color=srgb``; else
    it is `mean` and `std`, each (C,), of the training images.

    Returns:
        What is to be said about the weights.

    Raises:
        BackboneError: The weights cannot be had, or are of another network.
    """
    network.normalize(mean, std)
    if config.train.epochs == 0 and not is_refitted(network, config):
        raise BackboneError(
            f"train.epochs=0 leaves all to closed forms, and a pooled vector of {network.pooled_width} numbers is too "
            f"long for them: choose another backbone or pooling, or let it train"
        )
    if start is not None:
        return [start.give(network, config, stage)]
    notes, expected = network.backbone.load_trained(), network.backbone.input_statistics
    begins = bool(notes) or _is_warm(config, stage)
    if network.backbone.frozen and not begins:
        raise BackboneError(
            "backbone.freeze keeps weights as they are: give trained ones, with backbone.weights=FILE, "
            "backbone.pretrained=true or start=FOLDER"
        )
    if config.train.epochs == 0 and not begins:
        raise BackboneError(
            "train.epochs=0 leaves networks as they begin: give start=scenes (for backbone=compact pooling=masks), "
            "start=FOLDER or trained weights, or let them train"
        )
    if notes and expected is not None and config.image.color == "srgb":
        network.normalize(*map(torch.tensor, expected))
    elif notes:
        notes.append(
            f"image.color={config.image.color} is not what these weights were trained on: image.color=srgb takes their "
            f"own normalisation"
        )
    return notes


def _is_warm(config: Config, stage: str) -> bool:
    """Does a stage begin with what the one before has learned?"""
    second = config.method == "two_stage" and stage == "regressor"
    return second and config.regressor.warm_start and not config.regressor.backbone


def _needs_start(config: Config, untrained: list[str]) -> bool:
    """Is a stage still to be trained that does not start from the one before?"""
    return not all(_is_warm(config, stage) for stage in untrained)


def try_networks(config: Config, folder: RunFolder) -> tuple[Start | None, list[str]]:
    """Build the stages, with what those still to be trained start from; returns that, and what there is to say."""
    untrained = [name for name in METHODS[config.method] if not folder.weights(name).is_file()]
    start = load_start(config) if _needs_start(config, untrained) else None
    mean, std = torch.zeros(channels(config.image.color)), torch.ones(channels(config.image.color))
    bins = Bins([0.0, config.bins.period or 1.0], period=config.bins.period)
    networks = {name: build_stage(name, config, bins).network for name in METHODS[config.method]}
    notes = [initialize(networks[name], config, name, mean, std, start) for name in untrained]
    notes.append(_undeclared(config, networks))
    return start, list(dict.fromkeys(chain(*notes)))


def _undeclared(config: Config, networks: dict[str, Network]) -> list[str]:
    """What a network cannot tell apart although the augmentation does not say that it means the same."""
    said = []
    for name, network in networks.items():
        alike = network.backbone.views_alike
        if not set(range(alike)) <= set(config.augment.invariant_views):
            backbone = backbone_config_of(config, name).name
            what = "turns and mirroring" if alike == 8 else "turns"
            if config.augment.moves_target:
                raise BackboneError(
                    f"backbone={backbone} is blind to {what}, and the target moves with them: choose another backbone"
                )
            said.append(
                f"backbone={backbone} is blind to {what}, which augment does not say to leave the concentration "
                f"unchanged: where they matter, choose another backbone"
            )
    return said
