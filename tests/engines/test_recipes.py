"""The recipes of docs/examples/engines: every engine gives the rows of `twostage predict`."""

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "engines"
COLUMNS = ["image", "target", "concentration", "bin_index", "status", "reason"]


@pytest.fixture
def photos(work):
    """A table of photographs, one of which is missing, and the run `first`."""
    (work / "outputs").unlink()
    (work / "outputs").mkdir()
    (work / "outputs" / "first").symlink_to((work / "p00.png").resolve().parent / "outputs" / "a")
    names = [f"p{i % 40:02d}.png" for i in range(60)]
    names[7] = "nowhere.png"
    pd.DataFrame({"image": names, "target": np.linspace(90, 340, 60)}).to_csv("photos.csv", index=False)
    return work


def check(found, run):
    assert run("predict", "run=first", "input=photos.csv", "output=local.csv")[0] == 0
    expected = pd.read_csv("local.csv")[COLUMNS].fillna({"reason": ""})
    missing = expected["status"] == "refused"
    assert missing.sum() == 1
    found = found[COLUMNS].fillna({"reason": ""}).astype(expected.dtypes)
    pd.testing.assert_frame_equal(found[~missing], expected[~missing], rtol=1e-5, check_column_type=False)
    assert found["reason"][7].endswith("nowhere.png: no such photograph")


def read_by(recipe, monkeypatch):
    monkeypatch.setattr(sys, "argv", [recipe])
    runpy.run_path(str(RECIPES / recipe), run_name="__main__")


@pytest.mark.slow
def test_ray_data(cluster, photos, run, monkeypatch):
    read_by("ray_data.py", monkeypatch)
    found = pd.read_csv("readings.csv")
    assert found["row"].tolist() == [*range(60)]
    check(found, run)


def test_dask(photos, run, monkeypatch):
    pytest.importorskip("dask.dataframe", reason="the extra dask is not installed")
    read_by("dask_frame.py", monkeypatch)
    check(pd.read_csv("readings.csv"), run)


@pytest.mark.slow
def test_spark(photos, run, monkeypatch):
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs java")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    read_by("spark_frame.py", monkeypatch)
    from pyspark.sql import SparkSession

    SparkSession.builder.getOrCreate().stop()
    check(pd.read_parquet("readings").sort_values(["target"]).reset_index(drop=True), run)


@pytest.mark.parametrize("recipe", RECIPES.glob("*.py"), ids=lambda file: file.stem)
def test_a_recipe_has_ten_lines_and_is_that_of_the_guide(recipe):
    code = recipe.read_text().split('"""', 2)[2].strip()
    assert len([line for line in code.splitlines() if line]) <= 10
    assert f"```python\n{code}\n```" in (RECIPES.parents[1] / "pages" / "guide" / "engines.md").read_text()
