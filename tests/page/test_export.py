"""`twostage export format=html`: a trained model reads in a browser as it does in Python."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import TINY
from PIL import Image

from twostage.data.simulated import render_photographs

pytest.importorskip("onnxscript", reason="onnxscript is not installed: twostage[export]")


@pytest.mark.slow
def test_a_trained_model_reads_in_a_browser_as_in_python(browser, here, run):
    assert run("train", *TINY, "data.count=120", "run=tiny")[0] == 0
    status, out, err = run("export", "run=tiny", "format=html", "output=reader.html")
    assert status == 0, err
    assert out.startswith("reader.html: ")
    names = []
    for i, pixels in enumerate(render_photographs(np.linspace(90.0, 340.0, 6), 100, 5)):
        names.append(f"{i}.{'jpg' if i % 2 else 'png'}")
        Image.fromarray(pixels).save(here / names[-1])
    assert run("predict", "run=tiny", "input=*.*g", "output=python.csv")[0] == 0
    page = browser.new_page()
    page.goto(Path("reader.html").resolve().as_uri())
    page.locator("#state", has_text="Ready.").wait_for(timeout=60_000)
    page.set_input_files("#files", [str(here / name) for name in names])
    page.locator("#state", has_text="6 photographs done").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.click("#save")
    found, expected = pd.read_csv(download.value.path()), pd.read_csv("python.csv")
    page.close()
    assert list(found) == [column for column in expected if column != "target"]
    assert found["status"].tolist() == expected["status"].tolist()
    width = (expected["upper"] - expected["lower"]).fillna(np.ptp([80, 350]) / 10)
    for name in ("concentration", "lower", "upper"):
        assert (found[name].isna() == expected[name].isna()).all()
        assert ((found[name] - expected[name]).abs().fillna(0) <= 0.1 * width).all()
    assert (found["bin_index"] == expected["bin_index"]).all()
