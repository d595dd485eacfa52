"""`twostage push`: a model and its card on the Hugging Face hub, without anything else of the run."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import torch

from twostage.errors import number_of
from twostage.files import as_bytes, given_path, text_of, write_atomically, write_json
from twostage.hub.models import upload
from twostage.model_folder import TrainedModel, described_folder, description_digest, load_model
from twostage.options.flat import without_places
from twostage.options.share import PushConfig
from twostage.run.folder import CARD, find_run
from twostage.run.model_card import figures_of, model_card_of

__all__ = ["push", "push_run"]

log = logging.getLogger("twostage")


def push(run: str | Path, repo: str, private: bool = True, token: str | None = None) -> str:
    """Put the model of a run, or a model folder, on the Hugging Face hub; returns its address.

    What goes there is model.json, the weights, and MODEL_CARD.md as README.md: no photograph, no reading, and no path
    of this machine. A recalibrated model names the specimens of its standards, which is said.

    Args:
        run: A run, its folder, or a model folder.
        repo: OWNER/NAME.
        private: Of a repository that is made; one that is there stays what it is.
        token: Of the hub; else HF_TOKEN, or that of ``hf auth login``.

    Raises:
        RunError, ModelFolderError: There is no finished model of that name.
        HubError: The hub refuses, or cannot be reached.
        ConfigError: `repo` is no name of a repository.
    """
    direct = given_path(run, "run")
    there = (direct / "model.json").is_file() or (direct / "model" / "model.json").is_file()
    folder = described_folder(direct if there else find_run(str(run)).path)
    model = load_model(folder, torch.device("cpu"))  # what is damaged stays here
    with tempfile.TemporaryDirectory() as made:
        _gather(Path(made), folder, model)
        return upload(Path(made), repo, private, token)


def push_run(config: PushConfig) -> str:
    """The same as a command; what a person is to know of it."""
    address = push(config.run, config.repo, config.private)
    return f"The model is at {address}, with its card\n  in Python: Predictor.load('hf://{config.repo}')"


def _gather(made: Path, folder: Path, model: TrainedModel) -> None:
    """What is handed out, in a folder of its own."""
    told: dict[str, Any] = json.loads(text_of(folder / "model.json"))
    for name in told["sha256"]:
        (made / name).symlink_to((folder / name).absolute())
    told["config"] = without_places(model.config)  # earlier versions did not leave them out
    write_json(made / "model.json", told | {"digest": description_digest(told)})
    if taught := told.get("standards"):
        log.warning("model.json names %s of the standards", number_of(len(taught), "specimen", "specimens"))
    home = folder.parent if folder.name == "model" else folder
    card = text_of(home / CARD) if (home / CARD).is_file() else model_card_of(model, folder, figures_of(folder))
    write_atomically(made / "README.md", as_bytes(card))
