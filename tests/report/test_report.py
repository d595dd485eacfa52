import io
import json
import re

import numpy as np
import pytest
from helpers import TINY_TABLE, Parsed, few
from PIL import Image
from some_report import NASTY, some_histories, some_metrics, some_outcome, some_page

from twostage import load_config
from twostage.options.flat import changed_options
from twostage.report.outcome import draw
from twostage.report.page import WORST, photographs_to_show

KINDS = [
    {"count": 1},
    {"count": 2},
    {"count": 11},
    {"count": 1, "direct": True},
    {"direct": True, "unit": NASTY},
    {"count": 1, "bins": 1},
    {"bins": 60},
    {"groups": False, "unit": ""},
    {"scale": "log"},
    {"period": 270},
    {"period": 270, "direct": True, "count": 1},
    {"intervals": False},
    {"intervals": False, "groups": False, "scale": "log"},
]


@pytest.mark.parametrize("kind", few([KINDS[0], KINDS[4], KINDS[8]], KINDS), ids=str)
def test_a_page_is_whole_by_itself_for_any_number_of_photographs(kind, drawn):
    outcome = some_outcome(**kind)
    html, count = some_page(outcome), len(outcome.target)
    found = Parsed(html)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "iframe", "a", "b", "object"})
    assert "http://" not in html
    assert "https://" not in html
    sources = [attributes["src"] for tag, attributes in found.tags if tag == "img"]
    assert len(sources) >= 4 + min(count, WORST)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(set(attributes) <= {"src", "alt", "class"} for tag, attributes in found.tags if tag == "img")
    assert "nan" not in found.text.lower()


def test_what_a_user_wrote_is_shown_as_it_is_and_never_as_html():
    html = some_page(some_outcome(unit=NASTY))
    assert "<b>" not in html
    text = Parsed(html).text
    assert f"Report of run {NASTY}" in text
    assert re.search(re.escape(NASTY) + r" \d+\.png", text)
    assert f"g3 {NASTY}" in text
    assert f"{NASTY} was not read: {NASTY}" in text


def test_the_page_holds_the_figures_of_metrics_json():
    outcome = some_outcome()
    text, metrics = Parsed(some_page(outcome)).text, some_metrics(outcome)
    for name in ("rmse", "mae", "bias", "max_abs_error", "rmse_argmax", "rmse_oracle", "rmse_colour_baseline"):
        assert f"{metrics[name]:.4g} µg/L" in text
    assert f"wrong by {metrics['rmse']:.4g} µg/L (RMSE)" in text
    summary = outcome.summary()
    assert f"{summary['agreement']['lower']:.4g} µg/L" in text
    before, after = summary["error_budget"]["calibration_error_of_classifier"], summary["bin_calibration_error"]
    assert f"(expected calibration error) is {before:.3f} for the classifier and {after:.3f} for what is" in text
    assert f"{summary['error_budget']['cost_of_wrong_bins']['argmax']:.4g} µg/L" in text


@pytest.mark.slow
def test_a_page_of_many_large_photographs_stays_light(drawn):
    outcome = some_outcome(4000, bins=100)
    assert len(some_page(outcome, size=512).encode()) < 3_000_000


@pytest.mark.parametrize("kind", [{"direct": True}, {"bins": 1}], ids=str)
def test_without_a_choice_of_bins_there_are_no_sections_about_it(kind):
    outcome = some_outcome(**kind)
    text = Parsed(some_page(outcome)).text
    assert "Error budget" not in text
    assert "The classifier" not in text
    assert "bin 80 to" not in text
    assert outcome.summary()["error_budget"] is None
    assert "Residuals, by range" in text


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_summary_is_plain_json(kind):
    summary = some_outcome(**kind).summary()
    names = {
        "agreement",
        "bin_calibration_error",
        "coverage",
        "coverage_90",
        "crps",
        "error_budget",
        "interval_width_90",
    }
    assert json.loads(json.dumps(summary, allow_nan=False)).keys() == names | {"laboratory"}


def test_figures_are_png_of_their_own(drawn):
    figures = draw(some_outcome(), some_histories())
    assert len(figures) == len(set(figures.values())) == 10
    for png in figures.values():
        width, height = Image.open(io.BytesIO(png)).size
        assert 400 < min(width, height) <= max(width, height) < 1700


@pytest.mark.parametrize("count", [*range(1, 15), 100])
def test_which_photographs_are_shown(count):
    error = np.random.default_rng(count).permutation(np.arange(1.0, count + 1)) * np.where(np.arange(count) % 2, 1, -1)
    shown = photographs_to_show(error)
    sizes = [abs(error[row]) for _, row in shown]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[:WORST] == [count - i for i in range(min(count, WORST))]
    assert sizes[-1] == 1
    if count > 2:
        (median,) = (abs(error[row]) for title, row in shown if title.endswith(", the median"))
        assert abs(median - np.median(np.abs(error))) <= 0.5
        assert shown[-1][0] == f"error {count} of {count}, the smallest"


def test_options_that_differ_from_their_defaults():
    assert changed_options(load_config(["run=a"])) == {}
    assert changed_options(load_config(["run=a", "bins.count=6", "seed=3"])) == {"bins.count": (6, 9), "seed": (3, 0)}
    table = changed_options(load_config(["run=a", "data=csv", "data.table=x.csv", "backbone=vgg"]))
    assert table == {"data.table": ("x.csv", "???"), "bins.range": (None, [80.0, 350.0])}
    other = changed_options(load_config(["run=a", "+backbone@regressor.backbone=vgg"]))
    assert other["regressor.backbone.name"] == ("vgg", "???")


def test_a_run_with_groups_writes_its_report(photos, run):
    Image.open(photos / "p39.png").save(photos / "<b>x.png")
    lines = (photos / "photos.csv").read_text().splitlines()
    lines = [lines[0], *(line.replace("p39.png", "<b>x.png") for line in lines[1:])]
    (photos / "photos.csv").write_text("\n".join(lines) + "\n")
    options = ["data.group_column=group", "data.unit=mg/L", "split.column=day", "split.test_values=[tue]"]
    status, out, _ = run("train", *TINY_TABLE, "run=a", *options)
    assert status == 0
    assert "report.html" in out.splitlines()[-1]
    folder = photos / "outputs/a"
    html, metrics = (folder / "report.html").read_text(), json.loads((folder / "metrics.json").read_text())
    text = Parsed(html).text
    assert f"{metrics['rmse']:.4g} mg/L" in text
    assert "On 12 photographs of 3 specimens" in text
    assert "<b>x.png" in text
    assert "where the column 'day' holds tue" in text
    assert "g7" in text
    assert metrics["error_budget"]["rmse_with_true_bin"] == metrics["rmse_oracle"]
    assert metrics["agreement"]["bias"] == pytest.approx(metrics["bias"])
    assert len(list((folder / "figures").glob("*.png"))) == 10


def test_a_direct_run_with_one_test_photograph_writes_its_report(photos, run):
    lines = (photos / "photos.csv").read_text().splitlines()
    days = [line.replace(",tue", ",mon") for line in lines[:-1]]
    (photos / "photos.csv").write_text("\n".join([*days, lines[-1]]) + "\n")
    options = ["method=direct", "split.column=day", "split.test_values=[tue]", "split.duplicates=ignore"]
    assert run("train", *TINY_TABLE, "run=a", *options)[0] == 0
    text = Parsed((photos / "outputs/a/report.html").read_text()).text
    assert "On 1 photograph that" in text
    assert "data.group_column=group would keep" in text  # the warning of the run
    assert "Near-duplicates were not looked for" in text
    assert "classifier" not in text.replace("classifier.", "")


@pytest.mark.parametrize("text", ["µg/L", "mg l-1", "%", "mol/m³ (25 °C)", "it's", "größe, 2"])
def test_a_unit_or_a_path_needs_no_quotes(text):
    config = load_config([f"run={text}", f"data.unit={text}"])
    assert (config.run, config.data.unit) == (text, text)
