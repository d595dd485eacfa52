"""``twostage export``: a trained model as one file, proved against the predictor before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twostage.errors import number_of
from twostage.export.card import card
from twostage.export.onnx_file import needed, to_onnx
from twostage.export.photographs import photographs_for
from twostage.export.proof import prove
from twostage.files import given_path, refuse_unwritable, write_output
from twostage.options.choices import EXPORTS
from twostage.options.family import resolve
from twostage.options.run import Config
from twostage.options.share import ExportConfig
from twostage.predictor import Predictor
from twostage.run.folder import RunFolder
from twostage.run.reader import find_model, say_with_what
from twostage.training.device import use_threads

__all__ = ["as_onnx", "export"]


def export(config: ExportConfig) -> str:
    """Make the file, prove it, write it; what it is and how well it agrees.

    Raises:
        ExportError: The model cannot be exported, or its file reads otherwise; nothing is written then.
        ConfigError: There is no such format, or a package of the extra is missing.
        RunError, ModelFolderError: There is no finished model of that name.
        StorageError: `output` cannot be written.
    """
    write = EXPORTS.member(config.format)
    path = given_path(config.output, "output")
    refuse_unwritable(path, "output")
    needed()
    use_threads(config.runtime.threads)
    folder = find_model(config.run)
    predictor = Predictor.load(folder, device="cpu", confidence=config.confidence)
    graph, about = to_onnx(predictor.model), card(predictor.model)
    pixels, which = photographs_for(_trained_with(folder, predictor))
    agreement = prove(predictor, graph, pixels)
    content: bytes = resolve(write)(graph, about)
    write_output(path, content)
    say_with_what(config, predictor, folder)
    members = number_of(len(predictor.model.members), "member", "members")
    return "\n".join(
        [
            f"{path}: {len(content) / 1e6:.3g} MB, {config.format}, {members}, {about['backbone']}, squares of "
            f"{about['size']} pixels",
            f"Compared with the predictor on {which}: {agreement}",
        ]
    )


def _trained_with(folder: Path, predictor: Predictor) -> Config:
    """The options of the run, which say where its photographs are; those in a model folder that is alone do not."""
    for run in (folder, folder.parent) if folder.name == "model" else (folder,):
        if (run / "config.yaml").is_file():
            return RunFolder(run).saved_config()
    return predictor.model.config


def as_onnx(graph: bytes, about: dict[str, Any]) -> bytes:
    """The file itself; what a program must know of it is in its metadata."""
    return graph
