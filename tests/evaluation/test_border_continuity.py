import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import TINY, Parsed
from PIL import Image
from some_report import some_histories, some_outcome, some_page

from twostage import Bins, load_config
from twostage.data.simulated import render_photographs
from twostage.evaluation.border_continuity import BorderSweep, around_edges
from twostage.report.outcome import draw
from twostage.report.study_figures import border_continuity
from twostage.run.border_sweep import sweep_borders
from twostage.run.preparation import prepare
from twostage.stages.two_stage import combine


@pytest.mark.parametrize(("bins", "count"), [(2, 1), (3, 2), (4, 3), (9, 3), (100, 3)])
def test_concentrations_lie_on_both_sides_of_inner_edges(bins, count):
    edges = np.cumsum(np.random.default_rng(bins).uniform(1, 30, bins + 1))
    chosen, targets = around_edges(edges)
    assert len(chosen) == len(targets) == count
    assert set(chosen) <= set(edges[1:-1])
    grid = Bins(edges)
    for edge, values in zip(chosen, targets, strict=True):
        above = grid.index([edge])[0]
        assert set(grid.index(values)) == {above - 1, above}
        assert (values < edge).sum() == (values > edge).sum() == len(values) / 2
        assert values.mean() == pytest.approx(edge)


def some_sweep(jump=5.0):
    edges, targets = around_edges(np.linspace(80, 350, 10))
    smooth = np.random.default_rng(0).normal(0, 0.01, (2, *targets.shape))
    step = np.where(targets > edges[:, None], jump, 0.0)
    return BorderSweep(edges, targets, {"mixture": smooth, "top2": smooth, "argmax": smooth + step})


def test_a_jump_is_found_and_shown():
    sweep = some_sweep()
    jumps = sweep.largest_jumps()
    assert jumps["argmax"] == pytest.approx(5, abs=0.1)
    assert jumps["mixture"] < 0.1
    outcome = replace(some_outcome(), border_sweep=sweep)
    assert outcome.summary()["error_budget"]["largest_jump_at_edge"] == jumps
    text = Parsed(some_page(outcome)).text
    assert "Continuity at the borders" in text
    assert f"{jumps['argmax']:.4g} µg/L" in text
    assert "border_continuity" in draw(outcome, some_histories())


def test_the_figure_of_a_jump_is_its_own(drawn):
    png = border_continuity(some_sweep(), "µg/L")
    assert min(Image.open(io.BytesIO(png)).size) > 400
    assert border_continuity(some_sweep(), "µg/L") == png
    assert border_continuity(some_sweep(1.0), "µg/L") != png


class Reader:
    """A stand-in that reads the mean brightness: what it is shown is kept."""

    classifier = torch.nn.Identity()

    def __init__(self, bins):
        self.bins, self.shown = bins, []

    def predict(self, pixels, views):
        self.shown.append(pixels)
        found = 400 - pixels.mean((1, 2, 3))
        return np.eye(self.bins.count)[self.bins.index(found)], (
            found[:, None] - self.bins.center
        ) / self.bins.half_width


def test_nothing_but_the_concentration_moves(here):
    prepared = prepare(load_config([*TINY, "data.reference=none", "run=a"]), here / "a")
    reader = Reader(prepared.bins)
    sweep = sweep_borders(prepared, reader)
    (shown,) = reader.shown
    flat = np.tile(sweep.targets.ravel(), 2)
    assert len(shown) == len(flat)
    # photograph 61 of 60, rendered among others of other concentrations
    at = len(flat) // 2 + 7
    again = render_photographs(np.full(62, flat[at]), 32, 0, card_visible=False)[61]
    np.testing.assert_array_equal(shown[at], again)
    probabilities, offsets = reader.predict(shown, 1)
    expected = combine(prepared.bins, probabilities, offsets, "argmax") - flat
    np.testing.assert_allclose(sweep.errors["argmax"].ravel(), expected)


@pytest.mark.parametrize("options", [["method=direct"], ["bins.count=1"]])
def test_without_a_choice_of_bins_nothing_is_swept(here, run, options):
    assert run("train", *TINY, "train.epochs=2", "run=a", *options)[0] == 0
    assert not (here / "outputs/a/figures/border_continuity.png").exists()
    assert json.loads((here / "outputs/a/metrics.json").read_text())["error_budget"] is None


def test_a_simulated_run_has_the_check(here, once):
    assert once("train", *TINY, "run=a")[0] == 0
    jumps = json.loads((here / "outputs/a/metrics.json").read_text())["error_budget"]["largest_jump_at_edge"]
    assert set(jumps) == {"mixture", "argmax", "top2"}
    assert (here / "outputs/a/figures/border_continuity.png").is_file()
    assert "Continuity at the borders" in Parsed((here / "outputs/a/report.html").read_text()).text
