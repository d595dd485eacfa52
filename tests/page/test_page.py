"""The page without a server, from a file: photographs in, readings out, and no request leaves it."""

import inspect
import io

import numpy as np
import pandas as pd
import photo_files as make
import pytest

from twostage.data.images import decode_photograph
from twostage.page.assembly import page_html, part
from twostage.trust.prediction import Prediction

pytest.importorskip("onnx", reason="onnx is not installed: twostage[export]")
from toy_onnx import toy_card, toy_onnx

COLUMNS = "image concentration lower upper bin_index bin_low bin_high bin_probability status reason".split()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of the toy model, as `export format=html` writes one."""
    card = toy_card()
    path = tmp_path_factory.mktemp("page") / "reader.html"
    path.write_text(page_html(card, reader="wasm", model=toy_onnx(card)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, file):
    """A tab; at the end it is seen that no request left it, and that its scripts made no mistake."""
    context, seen = browser.new_context(), []
    page = context.new_page()
    page.on("request", lambda request: seen.append(request.url))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [what for what in seen if what != file.as_uri() and not what.startswith(("data:image/", "blob:"))] == []


def photograph(level, name):
    """A file as a browser's input takes it."""
    pixels = np.random.default_rng(level).integers(level - 40, level + 40, (90, 70, 3), dtype=np.uint8)
    kind = name.rpartition(".")[2].upper().replace("JPG", "JPEG")
    return {"name": name, "mimeType": "", "buffer": make.written(kind, pixels)}


def number_of(file):
    """What the toy model reads, by Python."""
    return 80 + decode_photograph(io.BytesIO(file["buffer"]), 32, "crop").mean() * 300 / 255


def test_photographs_are_read_shown_saved_and_a_broken_file_is_refused(page, file):
    page.goto(file.as_uri())
    page.locator("#state", has_text="Ready.").wait_for(timeout=60_000)
    good, other = photograph(100, "a.png"), photograph(60, 'b, "2".jpg')
    broken = {"name": "cut.jpg", "mimeType": "", "buffer": other["buffer"][:-200]}
    black = {"name": "black.png", "mimeType": "", "buffer": make.written("PNG", np.zeros((20, 20, 3), np.uint8))}
    page.set_input_files("#files", [good, other, broken, black])
    page.locator("#state", has_text="4 photographs done, 2 refused.").wait_for(timeout=60_000)
    first = page.locator("#list > li").first
    assert first.locator(".number").inner_text() == f"{number_of(good):.0f} µg/L"
    assert "90 % interval" in first.locator(".interval").inner_text()
    assert first.locator("svg").get_attribute("aria-label").startswith("Probability of the bins: ")
    assert first.locator("img").get_attribute("src").startswith("data:image/png;base64,")
    assert page.locator(".status").nth(3).inner_text() == "Refused: nothing to read: the photograph is black"
    with page.expect_download() as download:
        page.click("#save")
    text = download.value.path().read_text(encoding="utf-8")
    table = pd.read_csv(io.StringIO(text), dtype={"bin_index": "Int64"})
    assert table.to_csv(index=False) == text
    assert list(table) == COLUMNS
    assert list(table["image"]) == ["a.png", 'b, "2".jpg', "cut.jpg", "black.png"]
    assert list(table["status"]) == ["ok", "ok", "refused", "refused"]
    assert np.allclose(table["concentration"][:2], [number_of(good), number_of(other)], atol=0.02)
    assert table["concentration"][2:].isna().all()
    assert table["reason"][2].startswith("its file is cut or damaged")
    page.locator("#licences summary").click()
    page.locator("#others", has_text="THIRD PARTY").wait_for()


def test_the_columns_are_those_of_a_prediction():
    assert all(f'"{name}":' in inspect.getsource(Prediction.to_frame) for name in COLUMNS)
    assert all(f'"{name}"' in part("csv.js") for name in COLUMNS)


@pytest.mark.parametrize("name", ["WebAssembly", "DecompressionStream"])
def test_a_browser_that_cannot_compute_gets_a_sentence(page, file, name):
    page.add_init_script(f"delete globalThis.{name}")
    page.goto(file.as_uri())
    page.locator("#state", has_text=f"This browser has no {name}").wait_for()
    assert page.locator("#files").is_disabled()
