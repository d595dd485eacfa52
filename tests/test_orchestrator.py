import json

import numpy as np
import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE, Parsed, few, one_line

from twostage.bins import Bins
from twostage.stages.reading import Reading
from twostage.stages.two_stage import TwoStage
from twostage.trust.prediction import predict

READ = TwoStage.read


def failing(rows):
    """A stand-in for a network that gives no finite offset for these photographs of those that it is shown."""

    def read(self, pixels, **options):
        reading = READ(self, pixels, **options)
        reading.offsets[rows, 0] = np.nan
        return reading

    return read


@pytest.mark.parametrize("method", few(["mixture"], ["mixture", "argmax"]))
def test_a_test_photograph_that_is_not_read_is_counted_and_left_out_of_the_figures(photos, run, monkeypatch, method):
    options = [*TINY_TABLE, "data.group_column=group", f"combine.method={method}", "run=a"]
    with monkeypatch.context() as patch:
        patch.setattr(TwoStage, "read", failing([0, 2]))
        status, out, err = run("train", *options)
    assert status == 0, err
    folder = photos / "outputs/a"
    metrics = json.loads((folder / "metrics.json").read_text())
    table = pd.read_csv(folder / "predictions.csv")
    assert table["status"].eq("refused").tolist()[:4] == [True, False, True, False]
    read = table.dropna(subset="concentration")
    assert metrics["n_refused"] == 2
    assert metrics["n_test"] == len(table) == len(read) + 2
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((read["concentration"] - read["target"]) ** 2)))
    mean = pd.read_csv(folder / "splits.csv").query("split == 'train'")["target"].mean()
    assert metrics["rmse_mean_baseline"] == pytest.approx(np.sqrt(np.mean((read["target"] - mean) ** 2)))
    assert "test photographs refused" in out
    assert f"{table['image'][0]} was not read" in Parsed((folder / "report.html").read_text()).text


def test_a_test_set_of_which_nothing_is_read_gets_one_line(here, run, monkeypatch):
    monkeypatch.setattr(TwoStage, "read", failing(slice(None)))
    status, out, err = run("train", *TINY, "run=a")
    one_line((status, out, err.splitlines(keepends=True)[-1]), "none of the", "no finite number")
    assert not (here / "outputs/a/metrics.json").exists()


def test_a_number_from_a_network_that_fails_in_another_bin_is_not_trusted():
    bins = Bins([0, 10, 20])
    reading = Reading(np.array([[0.9, 0.1]] * 2), np.array([[0.0, np.inf], [0.0, 0.0]]), np.zeros((2, 2)))
    found = predict(bins, np.zeros((2, 0)), reading, "argmax")
    assert found.status.tolist() == ["refused", "ok"]


def test_a_table_that_names_no_test_photographs_gets_one_line(photos, run):
    text = (photos / "photos.csv").read_text().replace(",mon", ",train").replace(",tue", ",validation")
    (photos / "photos.csv").write_text(text)
    words = ["the test set is empty", "write test into rows of column 'day'"]
    one_line(run("train", *TINY_TABLE, "data.split_column=day", "run=a"), *words)
    assert not (photos / "outputs/a").exists()
