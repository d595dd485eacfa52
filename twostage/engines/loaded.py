"""A model that is named to other processes: each loads it from the disk, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch

from twostage.errors import ModelFolderError
from twostage.predictor import Predictor

__all__ = ["ModelPlace", "one_thread"]

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class ModelPlace:
    """Where a model lies, as every process sees it, and how it is to be loaded; no tensor goes along.

    `digest` is that of the model which was there first: no worker reads with another.
    """

    folder: str
    digest: str
    device: str = "cpu"
    precision: str = "float32"
    confidence: float | None = None

    def predictor(self) -> Predictor:
        """The model, loaded when this process first asks for it.

        Raises:
            ModelFolderError: It is not there any more, or another one is.
        """
        with _ONE_AT_A_TIME:
            return _load(self)


@lru_cache(maxsize=4)
def _load(place: ModelPlace) -> Predictor:
    predictor = Predictor.load(place.folder, place.device, place.precision, place.confidence)
    if predictor.model.digest != place.digest:
        raise ModelFolderError(
            f"{place.folder} holds another model than when the reading began: name a folder that stays as it is"
        )
    return predictor


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread here: an engine has a worker for every core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
