"""The reading page beside Python and onnxruntime: the same photographs, read three ways, and how long the page takes.

``make bench ARGS="page run=outputs/nitrite photographs=FOLDER"``: a trained run, and its photographs. All are read by
the `Predictor`, by onnxruntime from the squares that Python makes, and by headless Chromium from a file. Of the browser
the processor's time is told, which says more than a clock where others compute as well.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).resolve().parents[1]))
from chromium import chromium

STARTED = 120_000
PATIENCE = 1_200_000
"""Milliseconds to wait for the model, and for all photographs."""
SUFFIXES = {".png", ".jpg", ".jpeg"}


def read_in_browser(page_file, photographs):
    """The table that the page saves, the processor's seconds until it was ready, and those for reading all."""
    with chromium() as browser:
        page = browser.new_page()
        told = page.context.new_cdp_session(page)
        told.send("Performance.enable")

        def spent():
            return next(
                m["value"] for m in told.send("Performance.getMetrics")["metrics"] if m["name"] == "ProcessTime"
            )

        page.goto(page_file.resolve().as_uri())
        page.locator("#state", has_text="Ready.").wait_for(timeout=STARTED)
        ready = spent()
        page.set_input_files("#files", [str(path) for path in photographs])
        page.locator("#state", has_text=f"{len(photographs)} photographs done").wait_for(timeout=PATIENCE)
        reading = spent() - ready
        with page.expect_download() as download:
            page.click("#save")
        return pd.read_csv(download.value.path()), ready, reading


def differences(ours, theirs):
    """The largest difference of numbers, also in widths of the interval, and how many statuses are others."""
    apart = np.abs(ours["concentration"] - theirs["concentration"])
    width = ours["upper"] - ours["lower"]
    return {
        "apart": float(apart.max()),
        "widths": float((apart / width).max()),
        "other_status": int((ours["status"].to_numpy() != theirs["status"].to_numpy()).sum()),
        "without_number": int((ours["concentration"].isna() != theirs["concentration"].isna()).sum()),
    }


def read_by_onnxruntime(content, predictor, photographs):
    """Concentrations and statuses from the squares that Python makes."""
    import onnxruntime

    from twostage.data.photographs import decode_photographs
    from twostage.trust.status import Status

    settings = predictor.model.config.image
    pixels, _ = decode_photographs(photographs, settings.size, settings.fit)
    session = onnxruntime.InferenceSession(content)
    parts = [session.run(["concentration", "status"], {"photographs": one[None]}) for one in pixels]
    statuses = [list(Status)[int(status[0])].value for _, status in parts]
    return pd.DataFrame({"concentration": [float(number[0]) for number, _ in parts], "status": statuses})


def run(work, options):
    from twostage import Predictor
    from twostage.export.card import card
    from twostage.export.onnx_file import to_onnx
    from twostage.page.assembly import as_html

    given = dict(option.split("=", 1) for option in options)
    photographs = sorted(p for p in Path(given["photographs"]).rglob("*") if p.suffix.lower() in SUFFIXES)
    predictor = Predictor.load(given["run"], device="cpu")
    content = to_onnx(predictor.model)
    page_file = work / "reader.html"
    work.mkdir(parents=True, exist_ok=True)
    page_file.write_bytes(as_html(content, card(predictor.model)))
    ours = predictor.predict(photographs).to_frame()
    by_onnx = read_by_onnxruntime(content, predictor, photographs)
    in_browser, ready, seconds = read_in_browser(page_file, photographs)
    sizes = {"photographs": len(photographs), "page_mb": page_file.stat().st_size / 1e6, "onnx_mb": len(content) / 1e6}
    times = {"ready_s": ready, "ms": 1000 * seconds / len(photographs)}
    return [
        {"read by": "onnxruntime", **sizes, **differences(ours, by_onnx)},
        {"read by": "browser", **sizes, **differences(ours, in_browser), **times},
    ]
