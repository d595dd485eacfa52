"""The page that the server shows, in a browser, and its document in the hands of schemathesis."""

import csv
import subprocess
import sys

import pytest
from chromium import chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser):
    """Open the page of a server: opened(address) -> page, whose every request is kept in page.asked."""
    contexts = []

    def goto(address):
        contexts.append(browser.new_context(accept_downloads=True))
        page = contexts[-1].new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.goto(address)
        page.locator("#state", has_text="Ready.").wait_for()
        return page

    yield goto
    for context in contexts:
        context.close()


def address_of(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def take(page, **contents):
    files = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": content} for name, content in contents.items()]
    page.set_input_files("#files", files)


def test_photographs_go_in_and_numbers_a_picture_and_a_table_come_out(live, opened, predictor, pngs):
    address = address_of(live())
    page = opened(address)
    take(page, first=pngs[0], broken=b"no photograph", last=pngs[3])
    page.locator("#state", has_text="3 photographs done, 1 refused").wait_for()
    expected = predictor.predict([pngs[0], pngs[3]]).concentration
    numbers = page.locator(".number").all_inner_texts()
    assert [float(numbers[i].split()[0]) for i in (0, 2)] == pytest.approx(expected, rel=1e-3)
    assert numbers[1] == "No number"
    assert "not a photograph" in page.locator(".status").nth(1).inner_text()
    pictures = page.locator(".sheet img")
    assert pictures.count() == 2
    assert pictures.first.evaluate("image => image.naturalWidth") == 256
    with page.expect_download() as saved:
        page.click("#save")
    with open(saved.value.path(), newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["first.png", "broken.png", "last.png"]
    assert [row["status"] == "refused" for row in rows] == [False, True, False]
    assert float(rows[2]["concentration"]) == pytest.approx(expected[1], rel=1e-5)
    assert {url.split("?")[0] for url in page.asked if not url.startswith(("data:", "blob:"))} == {
        address,
        address + "predict",
    }
    assert [line for line in page.said if "policy" in line.lower()] == []


def test_a_limit_is_told_on_the_page(live, opened, pngs):
    page = opened(address_of(live(file_mb=0.001)))
    take(page, large=pngs[0])
    page.locator(".status", has_text="Refused: too large: a file may have 0.001 MB").wait_for()


def test_the_token_comes_behind_the_address_or_is_asked_for(live, opened, pngs):
    token = "a-token-that-nobody-guesses"
    address = address_of(live(token=token))
    page = opened(f"{address}#token={token}")
    take(page, a=pngs[0])
    page.locator("#state", has_text="1 photograph done.").wait_for()
    page = opened(address)
    take(page, a=pngs[0])
    page.fill("#secret", token)
    page.keyboard.press("Enter")
    page.locator("#state", has_text="1 photograph done.").wait_for()
    assert not any(token in url for url in page.asked)


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "a-token-that-nobody-guesses"])
def test_schemathesis_finds_nothing_in_the_document(live, tmp_path, token):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: twostage[dev]")
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    words = ["run", address_of(live(token=token)) + "openapi.json", "--checks", "all", "--max-examples", "100"]
    words += ["--header", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
