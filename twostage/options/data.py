"""Where photographs come from: the options of every data source, and what others may ask of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from omegaconf import MISSING

from twostage.options.family import Family
from twostage.options.field import option

__all__ = [
    "SOURCES",
    "CsvConfig",
    "DataConfig",
    "DigitsConfig",
    "FilesConfig",
    "FolderConfig",
    "MeasuredConfig",
    "ScenesConfig",
    "SimulatedConfig",
    "Source",
    "TurnedConfig",
]


@dataclass
class DataConfig:
    """What every data source has and answers."""

    kind: str = MISSING
    unit: str = option("", "unit of the concentration, for reports")
    scale: str = option(
        "linear",
        "log: bins, offsets and errors follow the logarithm; for concentrations above zero over decades",
        choices="linear log",
    )
    minimum: float | None = option(None, "the least concentration that there can be, as 0: no reading lies below it")

    scenes_repeat = True
    """May one scene have been photographed twice? Then near-duplicates are looked for."""
    drawn_by_seed = False
    """Do other seeds give other photographs under the same names?"""
    are_files = False
    """Are they photographs that somebody took?"""
    has_columns = False
    """Is there a table whose columns can name a split?"""
    made_by_turning = False
    """Is the target the angle by which an upright photograph was turned, so that it can be turned by others?"""

    @property
    def split_column(self) -> str | None:
        """Column that names the part of the split for every photograph."""
        return None

    @property
    def day_column(self) -> str | None:
        """Column that names the day on which each photograph was taken."""
        return None

    @property
    def decimal(self) -> str | None:
        """Decimal mark, where it must be said."""
        return None

    @property
    def box_columns(self) -> list[str] | None:
        """Columns with the boxes, of tables to predict from."""
        return None

    @property
    def image_column(self) -> str:
        """Column with the photographs, of tables to predict from."""
        return "image"

    @property
    def target_column(self) -> str:
        """Column with the concentration, of tables to predict from."""
        return "target"

    def with_few(self, count: int) -> DataConfig:
        """The same source with only so many photographs, or as few as it can have."""
        return self

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return self.kind


@dataclass
class SimulatedConfig(DataConfig):
    """Photographs of a simulated assay."""

    kind: str = "simulated"
    count: int = option(3200, "photographs to simulate", 20, 1_000_000)
    low: float = option(80.0, "lowest concentration")
    high: float = option(350.0, "highest concentration")
    spacing: str = option("uniform", "how the concentrations are spread", choices="uniform log_uniform")
    reference: str = option("card", "is the white surround visible", choices="card none")
    law: str = option(
        "beer_lambert",
        "from concentration to colour; universal_indicator: red, yellow, green, blue, violet as a pH rises",
        choices="beer_lambert universal_indicator",
    )
    pixels: int | None = option(
        None, "side of the photographs, which are then averaged to size as files are; null: image.size", 32, 4096
    )

    scenes_repeat = False  # each is drawn from random numbers of its own
    drawn_by_seed = True

    def with_few(self, count: int) -> DataConfig:
        """The same source with only so many photographs."""
        return replace(self, count=count)

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return "the simulated assay"


@dataclass
class ScenesConfig(DataConfig):
    """Photographs of random scenes; the concentration is 100 times the mean optical density of what is dyed."""

    kind: str = "scenes"
    count: int = option(5000, "scenes to draw and photograph", 20, 1_000_000)

    scenes_repeat = False  # each is drawn from random numbers of its own
    drawn_by_seed = True

    def with_few(self, count: int) -> DataConfig:
        """The same source with only so many photographs."""
        return replace(self, count=count)

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return "random scenes"


@dataclass
class FilesConfig(DataConfig):
    """What the sources have in common whose photographs are files."""

    on_error: str = option("stop", "a photograph that cannot be read: stop, or skip and list it", choices="stop skip")

    are_files = True
    on_target_error = "stop"
    """What to do with a concentration that cannot be right; none of those that are not read from somewhere."""


@dataclass
class MeasuredConfig(FilesConfig):
    """What those of them have in common whose concentrations somebody has measured and written down."""

    on_target_error: str = option(
        "stop",
        "a concentration that is no number, or contradicts a copy's: stop, or skip and list",
        choices="stop skip",
    )
    decimal: str | None = option(
        None, "decimal mark of the concentrations, where they can be read in two ways", choices=". ,"
    )


@dataclass
class CsvConfig(MeasuredConfig):
    """Photographs listed in a table."""

    kind: str = "csv"
    table: str = option(MISSING, "the table, one row per photograph: CSV, Excel (.xlsx) or Parquet", place=True)
    images: str | None = option(None, "folder where the paths of the photographs start; null: the table's", place=True)
    image_column: str = option("image", "column with the photograph's path, absolute or relative to data.images")
    target_column: str = option("target", "column with the concentration")
    group_column: str | None = option(None, "column that names the specimen; its photographs stay together in a split")
    day_column: str | None = option(
        None, "column that names the day of each photograph: readings are then compared within days and between them"
    )
    split_column: str | None = option(None, "column that says train, validation, calibration or test")
    box_columns: list[str] | None = option(
        None,
        "a row is a box: columns of its left, top, width, height (and degrees), in pixels or shares of the photograph",
    )

    has_columns = True

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return self.table


@dataclass
class FolderConfig(MeasuredConfig):
    """Photographs in one folder per concentration."""

    kind: str = "folder"
    root: str = option(MISSING, "folder with one folder per concentration: root/123.5/*.jpg", place=True)
    pattern: str | None = option(
        None, "regular expression over the path below root instead, with (?P<target>...) and maybe (?P<group>...)"
    )

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return self.root


def _turn() -> Any:
    return option(45.0, "each is turned by an angle up to this, to the left or right, degrees; 180: all angles", 1, 180)


@dataclass
class TurnedConfig(FilesConfig):
    """Upright photographs, turned; the target is the angle, counter-clockwise."""

    kind: str = "turned"
    unit: str = option("degrees", "unit of the angle, for reports")
    root: str = option(MISSING, "folder of upright photographs", place=True)
    turn: float = _turn()
    copies: int = option(10, "each photograph comes so many times, turned by another angle each time", 1, 10_000)

    scenes_repeat = False  # copies are alike, and stay together
    drawn_by_seed = True
    made_by_turning = True

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return f"{self.root}, turned by up to {self.turn:g} degrees"


@dataclass
class DigitsConfig(DataConfig):
    """The 1,797 handwritten digits of scikit-learn, turned; the target is the angle, counter-clockwise."""

    kind: str = "digits"
    unit: str = option("degrees", "unit of the angle, for reports")
    turn: float = _turn()
    copies: int = option(3, "each digit comes so many times, turned by another angle each time", 1, 1000)

    scenes_repeat = False  # copies are alike, and stay together
    drawn_by_seed = True
    made_by_turning = True

    def with_few(self, count: int) -> DataConfig:
        """The same source with each digit once."""
        return replace(self, copies=1)

    def describe(self) -> str:
        """Where the photographs are from, in words."""
        return f"handwritten digits, turned by up to {self.turn:g} degrees"


class Source(NamedTuple):
    """A data source: its options, and the function Request -> Photographs that loads it."""

    options: type[DataConfig]
    load: Any


SOURCES: Family[Source] = Family(
    "data",
    {
        "simulated": Source(SimulatedConfig, "twostage.data.simulated_source:load"),
        "scenes": Source(ScenesConfig, "twostage.data.scenes_source:load"),
        "csv": Source(CsvConfig, "twostage.data.files_source:load_csv"),
        "folder": Source(FolderConfig, "twostage.data.files_source:load_folder"),
        "turned": Source(TurnedConfig, "twostage.data.turned_source:load"),
        "digits": Source(DigitsConfig, "twostage.data.digits_source:load"),
    },
)
