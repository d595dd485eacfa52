"""The options of the commands that hand a model on: export and push."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from twostage.options.choices import EXPORTS
from twostage.options.field import option, part

__all__ = ["ExportConfig", "ExportRuntimeConfig", "PushConfig"]


@dataclass
class ExportRuntimeConfig:
    """How to prove an exported file."""

    threads: int = option(0, "processor threads; 0: one per core", 0, 4096)


@dataclass
class ExportConfig:
    """Options of `twostage export`."""

    run: str = option("latest", "the run (or model folder) that is exported", place=True)
    output: str = option(MISSING, "the file to write", place=True)
    format: str = option(
        "onnx", "onnx: one file for other programs; html: a page that reads photographs by itself", choices=EXPORTS
    )
    confidence: float | None = option(
        None, "of the intervals, if the specimens for calibration were enough; default: as in training", 0.01, 0.999
    )
    runtime: ExportRuntimeConfig = part(ExportRuntimeConfig)


@dataclass
class PushConfig:
    """Options of `twostage push`."""

    run: str = option("latest", "the run (or model folder) to hand out", place=True)
    repo: str = option(MISSING, "its name on the Hugging Face hub: OWNER/NAME")
    private: bool = option(True, "a repository that is made is for its owner alone")
