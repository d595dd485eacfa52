"""A new member of a family is one class and one line: here all of it stands in a test, and is used by the command."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, one_line
from torch import nn

from twostage.backbones import Backbone as Network
from twostage.bins import Bins
from twostage.data.photographs import Photographs
from twostage.data.store import Rows, open_store
from twostage.errors import ConfigError
from twostage.options.backbones import BACKBONES, Backbone, BackboneConfig
from twostage.options.choices import ALIGNMENTS, CHECKS, COMBINATIONS, INTERVALS, METHODS, POOLINGS, TRACKERS
from twostage.options.commands import COMMANDS, Command
from twostage.options.data import SOURCES, DataConfig, Source
from twostage.options.family import resolve
from twostage.options.field import option
from twostage.stages.alignment import Alignment
from twostage.stages.combination import mixture
from twostage.tables.table import Table
from twostage.tracking.tracker import Tracker
from twostage.trust.checks import gives
from twostage.trust.intervals import Intervals
from twostage.trust.status import Status

FAMILIES = (ALIGNMENTS, BACKBONES, SOURCES, COMMANDS, METHODS, POOLINGS, COMBINATIONS, INTERVALS, CHECKS, TRACKERS)


@dataclass
class OneLayer(BackboneConfig):
    """Options of the toy backbone."""

    name: str = "one_layer"
    width: int = option(4, "channels", 1, 64)


class OneLayerNetwork(Network):
    def __init__(self, in_channels, width):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, width, 3, stride=4, padding=1)

    def forward(self, images):
        return self.layer(images).relu()


@dataclass
class Gray(DataConfig):
    """Options of the toy source: even gray photographs, the darker the more."""

    kind: str = "gray"
    count: int = option(80, "photographs", 20, 1000)
    scenes_repeat = False

    def describe(self):
        return "even gray"


def load_gray(request):
    levels = np.linspace(255, 60, request.data.count).astype(np.uint8)
    size = request.image.size

    def fill(rows):
        return np.broadcast_to(levels[rows.start : rows.stop, None, None, None], (len(rows), size, size, 3)), {}

    store = open_store(request.cache_dir, {"made by": "gray"}, len(levels), size, fill)
    table = Table([f"gray_{i}" for i in range(len(levels))], [], np.linspace(80.0, 350.0, len(levels)))
    return Photographs(table, Rows(store.pixels, np.arange(len(levels))), [], store, {}, [])


@dataclass
class Greeting:
    """Options of the toy command."""

    name: str = option("nobody", "who is greeted")


@pytest.fixture
def grown(monkeypatch):
    """Every family with a new member."""
    monkeypatch.setitem(BACKBONES, "one_layer", Backbone(OneLayer, OneLayerNetwork))
    monkeypatch.setitem(SOURCES, "gray", Source(Gray, load_gray))
    monkeypatch.setitem(COMMANDS, "greet", Command("greet somebody", Greeting, lambda options: f"hello {options.name}"))
    monkeypatch.setitem(COMBINATIONS, "upper", lambda bins, probabilities, candidates: candidates[:, -1])
    monkeypatch.setitem(ALIGNMENTS, "lighter", Lighter)
    monkeypatch.setitem(INTERVALS, "wide", Wide)
    monkeypatch.setitem(CHECKS, "even", even)
    monkeypatch.setitem(TRACKERS, "counting", Counting)


class Lighter(Alignment):
    """A toy: the higher the bin, the lighter the photograph that stage 2 is shown; it tells the whole concentration."""

    def forward(self, images, bin_index):
        return images - 0.01 * bin_index.view(-1, 1, 1, 1)


class Wide(Intervals):
    """A toy: the distance from the median, and ten times as much."""

    @staticmethod
    def strange(distribution, concentration):
        return np.abs(distribution.quantile(0.5) - concentration)

    @staticmethod
    def ends(distribution, strangeness):
        return distribution.quantile(0.5) - 10 * strangeness, distribution.quantile(0.5) + 10 * strangeness


class Counting(Tracker):
    """A toy: the epochs of each stage in a file of the run's folder, when the run is complete."""

    def begin(self, record, anew):
        self.epochs = {}
        return {}

    def add(self, stage, rows):
        self.epochs[stage] = self.epochs.get(stage, 0) + len(rows)

    def complete(self, record):
        (record.folder / "counted.json").write_text(json.dumps(self.epochs))

    def close(self):
        pass


@gives(Status.UNLIKE)
def even(seen):
    """Every other photograph is said to be unlike, which is all a toy can say."""
    return {i: "an even row" for i in range(0, len(seen.concentration), 2)}


def test_new_members_are_used_from_the_command_line(here, run, grown):
    tiny = [text for text in TINY if not text.startswith("data.")]
    chosen = [
        "data=gray",
        "backbone=one_layer",
        "backbone.width=6",
        "intervals.method=wide",
        "intervals.confidence=0.8",
        "runtime.tracker=[counting]",
        "regressor.align=lighter",
        "run=a",
    ]
    status, _, err = run("train", *tiny, *chosen)
    assert status == 0, err
    assert "even gray" in (here / "outputs/a/report.html").read_text()
    metrics = json.loads((here / "outputs/a/metrics.json").read_text())
    assert metrics["options"]["backbone.width"] == 6
    assert metrics["coverage"]["share"] == 1.0
    assert metrics["coverage"]["width"] > 0
    table = pd.read_csv(here / "outputs/a/predictions.csv")
    assert table["status"].tolist()[:4] == ["unlike", "ok", "unlike", "ok"]
    assert (table["lower"] < table["concentration"]).all()
    description = json.loads((here / "outputs/a/model/model.json").read_text())
    assert description["trust"]["intervals"]["method"] == "wide"
    assert json.loads((here / "outputs/a/counted.json").read_text()) == {"classifier": 2, "regressor": 2}


def test_a_new_command_is_called_listed_and_explained(here, run, grown):
    assert run("greet", "name=Ada") == (0, "hello Ada\n", "")
    assert "greet somebody" in run("--help")[1]
    assert "who is greeted" in run("greet", "--help")[1]
    one_line(run("greet", "nmae=Ada"), "nmae", "did you mean name?")


def test_new_members_are_listed_and_a_mistake_names_the_nearest(here, run, grown):
    shown = run("train", "--help")[1]
    for word in ("one_layer", "gray", "| upper", "| wide"):
        assert word in shown
    one_line(run("train", "data=gary", "run=a"), "data=gary is not known", "gray")
    one_line(run("train", "combine.method=uper", "run=a"), "did you mean upper?")
    one_line(run("train", "data=gray", "data.cuont=3", "run=a"), "data.cuont", "data.count")


def test_a_combination_is_a_function(grown):
    bins = Bins([0, 10, 20])
    half, said = np.array([[0.5, 0.5]]), np.array([[4.0, 12.0]])
    assert mixture(bins, half, said).tolist() == [8.0]
    assert COMBINATIONS["upper"](bins, half, said).tolist() == [12.0]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.option)
def test_an_unknown_name_is_told_the_nearest(family):
    name = next(iter(family))
    assert family.member(name) is family[name]
    with pytest.raises(ConfigError, match=rf"{family.option}={name}x is not known: .*{name}"):
        family.member(f"{name}x")


@pytest.mark.parametrize("family", [COMMANDS, BACKBONES, SOURCES, POOLINGS, COMBINATIONS, INTERVALS, CHECKS, TRACKERS])
def test_every_member_leads_to_what_does_it(family):
    for name, member in family.items():
        (thing,) = [member] if isinstance(member, str) else [part for part in member_parts(member) if ":" in str(part)]
        assert callable(resolve(thing)), name


def member_parts(member):
    return member if isinstance(member, tuple) else (member.function,)
