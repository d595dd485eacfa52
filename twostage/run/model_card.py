"""MODEL_CARD.md of a model folder, from what the folder and its run know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from twostage import __version__
from twostage.files import as_bytes, text_of, write_atomically
from twostage.model_folder import TrainedModel
from twostage.options.run import Config
from twostage.report.card import CardFacts, model_card
from twostage.trust.recalibration import Recalibration

__all__ = ["DIGITS", "figures_of", "model_card_of", "write_model_card"]

DIGITS = 16
"""Of a model's digest, where a person reads it."""


def write_model_card(path: Path, model: TrainedModel, folder: Path, **more: Any) -> None:
    """Write the card of a model whose `folder` is complete; `more` as in `model_card_of`."""
    write_atomically(path, as_bytes(model_card_of(model, folder, **more)))


def model_card_of(
    model: TrainedModel,
    folder: Path,
    metrics: Mapping[str, Any] | None = None,
    parts: pd.DataFrame | None = None,
    name: str | None = None,
) -> str:
    """The text of MODEL_CARD.md.

    Args:
        folder: The model folder; what its model.json says last is said.
        metrics: metrics.json of its run, or of the run that it was recalibrated from, where it is known.
        parts: A row for each part of the split.
        name: What to call the model; else as the folder, or that of its run.
    """
    config, told = model.config, json.loads(text_of(folder / "model.json"))
    trust, parent = model.trust, told.get("parent")
    facts = CardFacts(
        name=name or (folder.absolute().parent.name if folder.name == "model" else folder.absolute().name),
        unit=config.data.unit,
        edges=[float(edge) for edge in model.bins.edges],
        source=_source(config),
        are_files=config.data.are_files,
        size=config.image.size,
        fit=config.image.fit,
        color=config.image.color,
        networks=_networks(model),
        confidence=trust.confidence if trust.has_intervals else None,
        false_alarm=None if trust.typicality is None else trust.false_alarm,
        minimum=config.data.minimum,
        period=model.bins.period,
        limit=config.combine.limit,
        n_train=told.get("n_train"),
        remarks=told.get("remarks", []),
        digest=str(told.get("digest", ""))[:DIGITS],
        version=__version__,
        metrics=metrics if metrics and metrics["n_test"] else None,
        parts=pd.DataFrame() if parts is None else parts,
        parent=None if parent is None else str(parent["folder"]),
        moved=_moved(model.recalibration, config.data.unit),
        standards=len(told.get("standards", [])),
    )
    return model_card(facts)


def figures_of(folder: Path) -> dict[str, Any] | None:
    """metrics.json of the run in which a model folder lies; None where it lies alone."""
    path = folder.absolute().parent / "metrics.json"
    return json.loads(text_of(path)) if folder.name == "model" and path.is_file() else None


def _source(config: Config) -> str:
    """What photographs it has learned from, without saying where they lie."""
    if not config.data.are_files:
        return f"photographs of {config.data.describe()}"
    how = {
        "csv": " that a table lists",
        "folder": " in folders, one for each concentration",
        "turned": ", turned by known angles",
    }
    return f"photographs{how.get(config.data.kind, '')}"


def _networks(model: TrainedModel) -> str:
    config = model.config
    stages = {"direct": "One stage", "classifier": "One stage"}.get(config.method, "Two stages")
    count = sum(p.numel() for p in model.network.parameters())
    said = f"{stages} (`method={config.method}`), backbone {config.backbone.name}, pooling {config.pooling}"
    many = f", the mean of {len(model.members)} networks" if len(model.members) > 1 else ""
    return f"{said}{many}, {count:,} parameters; {len(config.views)} views of every photograph are averaged"


def _moved(recalibration: Recalibration, unit: str) -> str:
    """What a recalibration does to the readings, in words."""
    if recalibration.is_none:
        return "the errors were within chance, so the readings stay"
    slope = f", and their slope is {recalibration.slope:.4g}" if recalibration.slope != 1 else ""
    return f"the readings are moved by {recalibration.offset:+.4g} {unit}".rstrip() + slope
