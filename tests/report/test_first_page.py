import json
from html import unescape
from pathlib import Path

import pytest
from helpers import TINY_TABLE, Parsed, one_line
from some_report import NASTY, some_facts, some_histories, some_metrics, some_outcome, some_page

from twostage.report.outcome import draw
from twostage.report.sheet import LONGEST, STATUSES, first_page
from twostage.report.tables import closing_table
from twostage.trust.status import Status

PARTS = {f"n_{part}": 1 for part in ("train", "validation", "calibration", "test")}


def first(outcome, **changed):
    facts = some_facts(outcome)
    for name, value in changed.items():
        object.__setattr__(facts, name, value)
    return Parsed(first_page(outcome, facts, draw(outcome, some_histories()))).text


def closing(outcome):
    return closing_table(some_metrics(outcome) | PARTS, Path("x"))


def test_the_first_page_is_one_block_before_all_sections_and_ends_the_sheet():
    html = some_page(some_outcome())
    assert html.index('<div class="sheet">') < html.index('class="signatures"') < html.index("<section>")
    assert "break-after: page; }" in html


def test_who_signs_reads_what_was_measured_how_good_it_is_and_what_was_refused():
    outcome = some_outcome()
    text, metrics = first(outcome), some_metrics(outcome)
    covered, agreement = metrics["coverage"], metrics["agreement"]
    for told in (
        f"60 photographs of {NASTY}",
        "6, from 80 to 350 µg/L",
        "0123456789abcdef",
        "2026-11-26 09:00",
        f"{metrics['rmse']:.4g} µg/L",
        f"{agreement['bias_interval'][0]:.4g} to {agreement['bias_interval'][1]:.4g}",
        f"{agreement['upper']:.4g} µg/L",
        f"{100 * covered['share']:.1f} %",
        f"{covered['width']:.4g} µg/L",
        "no photographs of blanks (true concentration 0) were read",
        f"1 of them: {NASTY}",
        "Measured by",
        "Checked by",
    ):
        assert told in text


@pytest.mark.parametrize("told", [first, closing, some_page])
def test_where_there_are_no_intervals_it_says_why(told):
    assert f"there are few specimens {NASTY}" in unescape(told(some_outcome(intervals=False)))


def test_every_status_has_a_meaning():
    assert list(STATUSES) == [status.value for status in Status]


def test_long_texts_of_a_user_do_not_fill_the_sheet():
    text = first(some_outcome(), source="x" * 5000, refused=[("a.png", "y" * 5000)])
    assert text.count("x" * (LONGEST // 2)) == 2
    assert len(text) < 6000


def test_the_closing_table_tells_what_may_be_believed():
    outcome = some_outcome()
    text, metrics = closing(outcome), some_metrics(outcome)
    low, high = metrics["coverage"]["band"]
    assert f"{100 * metrics['coverage']['share']:.1f} % (95 % band {100 * low:.1f} to {100 * high:.1f})" in text
    assert f"{metrics['bin_calibration_error']:.3f}" in text
    assert "test photographs refused          1, in none of these figures" in text
    assert "unlike" not in text
    earlier = {
        key: value for key, value in metrics.items() if key not in ("coverage", "statuses", "bin_calibration_error")
    }
    assert "RMSE (mixture)" in closing_table(earlier | PARTS, Path("x"))


def test_specimens_that_the_intervals_miss_are_named():
    outcome = some_outcome()
    inside = outcome.target.copy()
    inside[outcome.groups == outcome.groups[3]] += 1000
    object.__setattr__(outcome, "lower", inside - 1)
    object.__setattr__(outcome, "upper", inside + 1)
    assert outcome.coverage()["groups_missed"] == [outcome.groups[3]]
    assert f"lie outside their intervals: {outcome.groups[3]}." in Parsed(some_page(outcome)).text


def test_days_make_precision_within_the_laboratory_and_are_never_guessed(photos, run):
    lines = (photos / "photos.csv").read_text().splitlines()
    rows = [f"{line},{('mon', 'tue')[i % 2]}" for i, line in enumerate(lines[1:])]
    (photos / "photos.csv").write_text("\n".join([f"{lines[0]},seen", *rows]) + "\n")
    options = [*TINY_TABLE, "data.group_column=group"]
    found = {}
    for name, more in (("a", []), ("b", ["data.day_column=seen"])):
        status, _, err = run("train", *options, f"run={name}", *more)
        assert status == 0, err
        found[name] = json.loads((photos / f"outputs/{name}/metrics.json").read_text())["laboratory"][
            "within_laboratory"
        ]
    assert "data.day_column" in found["a"]["reason"]
    assert found["a"]["sd"] is None
    assert found["b"]["sd"] > 0


@pytest.mark.parametrize(("column", "words"), [("when", ["no column 'when'"]), ("part", ["empty", "its day"])])
def test_a_day_that_is_not_there_is_one_clear_line(photos, run, column, words):
    lines = (photos / "photos.csv").read_text().splitlines()
    (photos / "photos.csv").write_text("\n".join([f"{lines[0]},part", *(f"{line}," for line in lines[1:])]) + "\n")
    one_line(run("train", *TINY_TABLE, f"data.day_column={column}"), *words)
