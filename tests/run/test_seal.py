import json

import numpy as np
import pytest
from helpers import TINY, Parsed

from twostage import Predictor, load_config
from twostage.errors import RunError
from twostage.run.folder import RunFolder
from twostage.run.preparation import prepare


def openings(folder):
    return json.loads((folder / "test_openings.json").read_text())["openings"]


def test_openings_are_counted_and_listed(tmp_path):
    assert [RunFolder(tmp_path).count_opening() for _ in range(3)] == [1, 2, 3]
    assert openings(tmp_path) == sorted(openings(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", '{"openings": 3}', "{}"])
def test_a_damaged_count_does_not_begin_anew(tmp_path, content):
    (tmp_path / "test_openings.json").write_text(content)
    with pytest.raises(RunError, match=r"test_openings\.json cannot be read"):
        RunFolder(tmp_path).count_opening()
    assert (tmp_path / "test_openings.json").read_text() == content


def test_the_test_set_of_a_run_is_opened_once(here, once, run):
    out = [command("train", *TINY, "run=a")[1] for command in (once, run)]
    assert all("not used before" in text for text in out)
    assert len(openings(here / "outputs/a")) == 1
    assert json.loads((here / "outputs/a/metrics.json").read_text())["n_test_openings"] == 1
    assert "The test part was opened once in this run" in (here / "outputs/a/report.html").read_text()


def test_a_killed_evaluation_counts_as_an_opening(here, run, monkeypatch):
    def killed(*_, **__):
        assert len(openings(here / "outputs/a")) == 1  # before anything of the test set is looked at
        raise RunError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("twostage.predictor.Predictor.read", killed)
        assert run("train", *TINY, "run=a")[0] != 0
    assert len(openings(here / "outputs/a")) == 1
    status, out, err = run("evaluate", "run=a")
    assert status == 0, err
    assert "opened 2 times" in out
    assert "not used before" not in out
    assert json.loads((here / "outputs/a/metrics.json").read_text())["n_test_openings"] == 2
    text = Parsed((here / "outputs/a/report.html").read_text()).text
    assert "the test set was opened 2 times" in text  # a warning
    assert "The test part was opened 2 times in this run" in text


def test_the_error_on_validation_is_that_of_the_combined_readings(here, once):
    assert once("train", *TINY, "run=a")[0] == 0
    prepared = prepare(load_config([*TINY, "run=a"]), RunFolder(here / "outputs/a"))
    rows = prepared.part("validation")
    found = Predictor.load("outputs/a").predict(prepared.pixels(rows)[:]).concentration
    error = found - prepared.photos.table.targets[rows]
    metrics = json.loads((here / "outputs/a/metrics.json").read_text())
    assert metrics["rmse_validation"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert metrics["rmse_validation"] != metrics["rmse"]


@pytest.mark.slow
def test_a_test_set_that_another_run_has_opened_is_not_called_new(here, once, run):
    once("train", *TINY, "run=a")
    status, out, err = run("train", *TINY, "run=b", "bins.count=2")
    assert status == 0, err
    assert "not used before" not in out
    assert "opened 2 times, 1 of them by other runs" in out
    metrics = json.loads((here / "outputs/b/metrics.json").read_text())
    assert (metrics["n_test_openings"], metrics["n_test_openings_of_others"]) == (1, 1)
    text = Parsed((here / "outputs/b/report.html").read_text()).text
    assert "The test part was opened once in this run, and once by other runs before" in text
    status, out, err = run("train", *TINY, "run=c", "seed=1")  # photographs of its own
    assert "not used before" in out
