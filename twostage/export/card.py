"""The card of a model: what a page or another program must know to show its readings, as plain JSON values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from twostage import __version__
from twostage.export.checks import REASONS
from twostage.model_folder import TrainedModel
from twostage.options.choices import METHODS
from twostage.options.run import Config
from twostage.stages.build import backbone_config_of
from twostage.trust.status import Status

__all__ = ["CARD_FORMAT", "card"]

CARD_FORMAT = 1


def card(model: TrainedModel) -> dict[str, Any]:
    """What is to be known of a model, ready for JSON: no NaN and no infinity, None where something is not known.

    `low` and `high` are the ends of the bins, `edges` (K+1,) all of them, `period` that of a circle; `confidence` is
    that of the intervals, None for a model without any; `digest` is that of model.json, and `sha256` those of the files
    with the weights.
    """
    config, trust = model.config, model.trust
    edges = [float(edge) for edge in model.bins.edges]
    return {
        "format": CARD_FORMAT,
        "name": Path(config.run).name or "model",
        "unit": str(config.data.unit),
        "scale": model.bins.scale.name,
        "low": edges[0],
        "high": edges[-1],
        "edges": edges,
        "period": model.bins.period,
        "size": config.image.size,
        "fit": config.image.fit,
        "color": config.image.color,
        "statuses": [status.value for status in Status],
        "reasons": REASONS,
        "confidence": None if trust.intervals is None else float(trust.confidence),
        "minimum": config.data.minimum,
        "limit": config.combine.limit,
        "distance_threshold": None if trust.typicality is None else _finite(trust.typicality.threshold),
        "version": __version__,
        "digest": model.description.get("digest"),
        "sha256": dict(model.description["sha256"]),
        "remarks": model.remarks,
        "method": config.method,
        "combination": config.combine.method,
        "backbone": _backbones(config),
        "pooling": config.pooling,
        "members": len(model.members),
        "views": len(config.views),
        "trained": {"n_train": model.description.get("n_train")},
    }


def _backbones(config: Config) -> str:
    """The backbone of both stages, or those of each, stage 1 first."""
    names = [str(backbone_config_of(config, stage).name) for stage in METHODS[config.method]]
    return " and ".join(dict.fromkeys(names))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
