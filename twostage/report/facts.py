"""What report.html tells beside the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["RunFacts"]


@dataclass(frozen=True)
class RunFacts:
    """What the page tells beside the outcome.

    `date` is that of the evaluation, `model` the beginning of the model's digest, `source` says where the photographs
    are from; `images` names and `pixels` shows the photographs of the outcome (N), `remarks` says of each what its
    status is if it is not ok; `refused` are (name, reason) of those that were not read; `split` says how the
    photographs were split, `parts` has a row per part; `changed` maps options to (value, default), `options` all to
    their value, as text; `notes` are the run's warnings.
    """

    run: str
    date: str
    model: str
    source: str
    metrics: Mapping[str, Any]
    images: Sequence[str]
    pixels: Any
    remarks: Sequence[str]
    refused: Sequence[tuple[str, str]]
    split: str
    parts: pd.DataFrame
    changed: Mapping[str, tuple[str, str]]
    options: Mapping[str, str]
    versions: Mapping[str, str]
    notes: Sequence[str]
