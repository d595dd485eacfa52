import json
import warnings
from itertools import product

import numpy as np
import pytest
from helpers import few

from twostage.evaluation.laboratory import decision_levels, laboratory_figures

RNG = np.random.default_rng(0)
TARGETS = {
    "equal": lambda n: np.full(n, 5.0),
    "zeros": np.zeros,
    "rising": lambda n: np.arange(n) * 1.0,
    "negative": lambda n: -np.arange(n) * 1.0,
    "huge": lambda n: (1 + np.arange(n)) * 1e200,
    "tiny": lambda n: np.arange(n) * 1e-200,
}
READINGS = {
    "exact": lambda t: t.copy(),
    "constant": lambda t: np.full(len(t), 3.0),
    "noisy": lambda t: t + RNG.normal(0, 1, len(t)),
    "opposite": lambda t: -t,
    "one refused": lambda t: np.where(np.arange(len(t)) == 0, np.nan, t + 1),
}
LABELS = {
    "none": lambda n: None,
    "one": np.zeros,
    "pairs": lambda n: np.arange(n) // 2,
    "own": np.arange,
}


def reasons_are_there(figures):
    """Each dictionary that has a reason has either all of its numbers or says why not."""
    if isinstance(figures, dict):
        main = next((figures[k] for k in ("value", "bias", "sd", "slope", "linear") if k in figures), 0)
        if "reason" in figures and main is None:
            assert figures["reason"]
        for value in figures.values():
            reasons_are_there(value)
    elif isinstance(figures, list):
        for value in figures:
            reasons_are_there(value)


def safely(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = laboratory_figures(*arguments, **options)
    json.dumps(figures, allow_nan=False)
    return figures


@pytest.mark.parametrize("count", few([1, 3], [1, 2, 3, 4, 7, 24]))
@pytest.mark.parametrize(("target", "reading"), product(TARGETS, READINGS))
def test_odd_data_neither_crash_nor_warn(target, reading, count):
    for groups, days in product(LABELS, LABELS):
        true = TARGETS[target](count)
        figures = safely(true, READINGS[reading](true), LABELS[groups](count), LABELS[days](count))
        if target != "huge":  # its squares are beyond any number
            reasons_are_there(figures)


def test_nothing_read_is_said():
    figures = safely(np.array([1.0, 2.0]), np.array([np.nan, np.nan]))
    assert (figures["photographs"], figures["unread"]) == (0, 2)
    assert figures["reason"] == "no photograph was read"


def nitrite(specimens=29, photographs=10, seed=0):
    rng = np.random.default_rng(seed)
    specimen = np.repeat(np.arange(specimens), photographs)
    day = np.tile(np.arange(photographs) % 2, specimens)
    target = np.linspace(80, 350, specimens)[specimen]
    read = target + rng.normal(0, 2, specimens)[specimen] + rng.normal(0, 1, len(target))
    return target, read + rng.normal(0, 1.5, (specimens, 2))[specimen, day], specimen, day


def test_photographs_of_one_specimen_are_not_independent():
    target, predicted, specimen, day = nitrite()
    named, unnamed = safely(target, predicted, specimen, day, "ug/L"), safely(target, predicted)
    assert (named["unit"], named["photographs"], named["specimens"]) == ("ug/L", 290, 29)
    for figure in (lambda f: f["agreement"]["bias_interval"], lambda f: f["lines"]["deming"]["slope_interval"]):
        wide, narrow = np.ptp(figure(named)), np.ptp(figure(unnamed))
        assert wide > 1.5 * narrow
    assert named["repeatability"]["sd"] == pytest.approx(1, abs=0.1)
    assert named["within_laboratory"]["sd"] == pytest.approx(np.hypot(1, 1.5), abs=0.3)
    assert "data.group_column" in unnamed["repeatability"]["reason"]
    assert "days" in safely(target, predicted, specimen)["within_laboratory"]["reason"]


def test_copies_of_every_photograph_change_no_figure_of_specimens():
    target, predicted, specimen, _ = nitrite(photographs=1)
    once = safely(target, predicted, specimen)
    twice = safely(*(np.repeat(values, 2) for values in (target, predicted, specimen)))
    for name in ("proportional_bias", "lines", "bias_at_levels", "recovery", "linearity", "decision_levels"):
        assert json.dumps(once[name]) == json.dumps(twice[name])


def test_a_group_of_several_concentrations_is_several_specimens():
    target, predicted, _, _ = nitrite(specimens=12)
    figures = safely(target, predicted, np.zeros(120))
    assert figures["specimens"] == 12
    assert figures["repeatability"]["sd"] < 5
    assert "one specimen" in figures["agreement"]["reason"]


def test_blanks_and_low_levels_give_limits():
    rng = np.random.default_rng(0)
    specimen = np.repeat(np.arange(12), 10)
    target = np.repeat([0.0, 0, 0, 1, 2, 3, 5, 10, 20, 40, 60, 100], 10)
    figures = safely(target, target + rng.normal(0, 0.5, 120), specimen)
    assert 0.5 < figures["limit_of_blank"]["value"] < 1.2 < figures["limit_of_detection"]["value"] < 2.2
    assert figures["limit_of_quantitation"]["value"] >= figures["limit_of_detection"]["value"]
    assert figures["agreement_percent"]["bias"] is None


def test_decision_levels_are_round_and_few():
    assert decision_levels(np.linspace(0, 1, 11)) == [0.1, 0.5, 0.9]
    assert decision_levels(np.full(5, 3.3)) == [3.3]
