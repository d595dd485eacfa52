"""What can be asked of the commands that read photographs with a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from twostage.options.choices import ENGINES
from twostage.options.field import option, part

__all__ = [
    "CheckModelConfig",
    "PredictConfig",
    "PredictRuntimeConfig",
    "ReadingConfig",
    "RecalibrateConfig",
    "StandardsConfig",
]


@dataclass
class PredictRuntimeConfig:
    """Where and how to compute predictions."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: Any = option(
        0, "processor threads; 0 and auto: one per core, each reads photographs of its own", 0, 4096, choices="auto"
    )
    progress: bool = option(True, "show progress")
    precision: str = option("float32", "of the backbone", choices="float32 bfloat16")


@dataclass
class ReadingConfig:
    """What every command can be told that reads photographs with a trained model."""

    run: str = option("latest", "the run (or model folder) that reads", place=True)
    image_column: str | None = option(None, "column of a table with the paths; default: as in training")
    images: str | None = option(None, "folder where the paths in a table start; null: the table's", place=True)
    target_column: str | None = option(
        None, "column of a table with known concentrations; default: as in training, where the table has it"
    )
    decimal: str | None = option(None, "decimal mark of these; default: as in training", choices=". ,")
    box_columns: list[str] | None = option(
        None, "columns of a table with boxes; default: as in training, where the table has them; []: whole photographs"
    )
    runtime: PredictRuntimeConfig = part(PredictRuntimeConfig)


@dataclass
class PredictConfig(ReadingConfig):
    """Options of `twostage predict`."""

    input: str = option(
        MISSING,
        "a photograph, a folder, a glob in quotes, a table (.csv, .tsv, .txt, .xlsx, .parquet), or - for paths from "
        "standard input",
        place=True,
    )
    output: str | None = option(
        None, "the table to write (engine=ray: the folder); without it the rows are printed", place=True
    )
    format: str | None = option(
        None, "of the rows; default: as the suffix of output says, else csv", choices="csv jsonl parquet"
    )
    engine: str = option("local", "what reads: this machine, or the workers of a Ray cluster", choices=ENGINES)
    shard: int | None = option(None, "rows of each file that engine=ray writes; default: 1024", 1, 10**9)
    confidence: float | None = option(
        None, "of the intervals, if the specimens for calibration were enough; default: as in training", 0.01, 0.999
    )
    strict: bool = option(False, "exit status 1, after all is written, if a photograph was refused")
    spreadsheet: bool = option(False, "an apostrophe before texts that a spreadsheet would run as a formula")


@dataclass
class StandardsConfig(ReadingConfig):
    """What both commands can be told that read standards: photographs whose concentrations are known."""

    table: str = option(MISSING, "the table of the standards, with their photographs and concentrations", place=True)
    group_column: str | None = option(
        None, "column that names the specimen; default: as in training; without one each photograph is a specimen"
    )


@dataclass
class CheckModelConfig(StandardsConfig):
    """Options of `twostage check-model`."""

    output: str | None = option(None, "a table of the specimens to write as well", place=True)


@dataclass
class RecalibrateConfig(StandardsConfig):
    """Options of `twostage recalibrate`."""

    output: str = option(MISSING, "the new model folder, which is not there yet", place=True)
