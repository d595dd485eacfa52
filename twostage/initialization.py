"""What the untrained network of a stage starts from."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from twostage.backbones.pretrained import load_pretrained
from twostage.backbones.timm_models import TimmBackbone
from twostage.config import Config
from twostage.errors import BackboneError, DataError, some
from twostage.model_folder import load_model
from twostage.stages.build import backbone_config_of
from twostage.stages.network import Network

__all__ = ["initialize", "refuse_seen"]


def initialize(network: Network, config: Config, stage: str, mean: Tensor, std: Tensor) -> list[str]:
    """Give the untrained network of a stage what it starts from: trained weights if so wished, and the normalisation.

    A trained model brings its normalisation with it, and so do timm's weights, of sRGB, with ``image.color=srgb``; else
    it is `mean` and `std`, each (C,), of the training images.

    Returns:
        What is to be said about the weights.

    Raises:
        BackboneError: The weights cannot be had, or are of another network.
        ModelFolderError: train.start_from is no trained model.
    """
    network.normalize(mean, std)
    if config.train.start_from:
        return [_start_from(config.train.start_from, network, config, stage)]
    options = backbone_config_of(config, stage)
    if not isinstance(network.backbone, TimmBackbone):
        return []
    notes = load_pretrained(network.backbone, pretrained=options.pretrained, weights=options.weights)
    if options.freeze and not notes:
        raise BackboneError(
            "backbone.freeze keeps weights as they are: give trained ones, with backbone.weights=FILE or "
            "backbone.pretrained=true"
        )
    if notes and config.image.color == "srgb":
        network.normalize(*map(torch.tensor, network.backbone.input_statistics))
    elif notes:
        notes.append(
            f"image.color={config.image.color} is not what these weights were trained on: image.color=srgb takes their "
            f"own normalisation"
        )
    return notes


def _start_from(folder: str, network: Network, config: Config, stage: str) -> str:
    """Copy backbone, pooling and normalisation of a trained model; its readout and bins are of other concentrations."""
    options, model = backbone_config_of(config, stage), load_model(folder, torch.device("cpu"))
    if getattr(options, "pretrained", False) or getattr(options, "weights", None):
        raise BackboneError("train.start_from and backbone.weights or backbone.pretrained exclude each other")
    if model.config.image.color != config.image.color:
        raise BackboneError(
            f"train.start_from={folder}: that model sees {model.config.image.color}, not {config.image.color}: give "
            f"image.color={model.config.image.color}"
        )
    trained = model.network.regressor or model.network.classifier
    assert trained is not None
    if different := network.copy_from(trained.network, ("backbone", "pooling")):
        name = backbone_config_of(model.config, "regressor" if model.network.regressor else "classifier").name
        raise BackboneError(
            f"train.start_from={folder}: that model has another {' and '.join(different)} than this {stage}: give the "
            f"options it was trained with (backbone={name} pooling={model.config.pooling}, see {folder}/config.yaml)"
        )
    return f"backbone, pooling and normalisation start from {folder}"


def refuse_seen(config: Config, splits: str) -> list[str]:
    """Look whether the model that train.start_from names was made with photographs that are to test this run.

    Args:
        splits: splits.csv of this run, as text.

    Returns:
        What is to be said where that cannot be known.

    Raises:
        DataError: It was; the message names them.
    """
    if not config.train.start_from:
        return []
    given = Path(config.train.start_from).expanduser()
    path = (given.parent if (given / "model.json").is_file() else given) / "splits.csv"
    if not path.is_file():
        return [f"{path} is missing: nobody knows whether train.start_from has learned from the test photographs"]
    mine, theirs = (pd.read_csv(text, dtype=str, keep_default_na=False) for text in (io.StringIO(splits), path))
    model = load_model(given, torch.device("cpu")).config
    key = ["content"]  # digests; simulated photographs have none, but the same seed draws the same ones
    if config.data.kind == model.data.kind == "simulated" and config.seed == model.seed:
        key = ["image", "target"]
    if not {*key} <= {*mine} & {*theirs}:
        return []
    learned = theirs.loc[theirs["split"].isin(["train", "validation", "calibration"]), key].drop_duplicates()
    seen = mine[mine["split"] == "test"].merge(learned, on=key)["image"]
    if len(seen):
        raise DataError(
            f"{len(seen)} test photographs are among those that made train.start_from={given}, and would look better "
            f"than new ones: {some(list(seen))}; start from a model of other photographs"
        )
    return []
