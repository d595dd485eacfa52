"""The page with a server, and what people see on either: the browser's requests are answered here."""

import re

import pytest

from twostage.page.assembly import page_html

pytest.importorskip("onnx", reason="onnx is not installed: twostage[export]")
from toy_onnx import toy_card

HOME = "http://reader.test/lab/"
NO_ROW = dict.fromkeys(
    "concentration lower upper bin_index bin_low bin_high bin_probability bin_probabilities picture".split()
)
READ = NO_ROW | {"concentration": 123.4, "lower": 120.0, "upper": 126.0, "bin_index": 0, "bin_low": 80.0}
READ |= {"bin_high": 140.0, "bin_probability": 0.9, "bin_probabilities": [0.9, 0.1, 0.0, 0.0]}
ROWS = {
    b"unlike": READ | {"status": "unlike", "reason": "in sharpness 3 times as far as others"},
    b"text": NO_ROW | {"status": "refused", "reason": "not a photograph that can be read"},
    b"": READ | {"status": "ok", "reason": ""},
}


@pytest.fixture
def served(browser):
    """Open the page of a server: served(answer to POST, **options of the browser) -> page, what was asked."""
    contexts = []

    def serve(answer=None, path=HOME, **options):
        contexts.append(browser.new_context(**options))
        page, asked = contexts[-1].new_page(), []

        def fulfill(route):
            asked.append(route.request)
            if route.request.method == "GET":
                html = page_html(toy_card(), reader="server", model=None)
                return route.fulfill(body=html, content_type="text/html; charset=utf-8")
            refused = answer(route.request) if answer else None
            row = next(row for word, row in ROWS.items() if word in route.request.post_data_buffer)
            return route.fulfill(**(refused or {"json": {"rows": [row | {"image": "x"}]}}))

        page.route("**/*", fulfill)
        page.goto(path)
        page.locator("#state", has_text="Ready.").wait_for()
        return page, asked

    yield serve
    for context in contexts:
        context.close()


def take(page, *names):
    files = [{"name": name, "mimeType": "image/png", "buffer": name.encode()} for name in names]
    page.set_input_files("#files", files)


def done(page, count):
    page.locator("#state", has_text=re.compile(f"^{count} photographs? done")).wait_for()


def test_a_server_is_asked_with_its_token_and_what_it_says_of_a_mistake_is_shown(served):
    def answer(request):
        if request.headers.get("authorization") != "Bearer secret":
            return {"status": 401, "json": {"detail": "a token is needed"}}
        too_large = b"large" in request.post_data_buffer
        return {"status": 413, "json": {"detail": "larger than 20 MB"}} if too_large else None

    page, asked = served(answer)
    take(page, "a.png", "large.png")
    page.fill("#secret", "secret")
    page.keyboard.press("Enter")
    done(page, 2)
    assert page.locator("h3").all_inner_texts() == ["a.png", "large.png"]
    assert page.locator(".number").first.inner_text() == "123.4 µg/L"
    assert page.locator(".status").nth(1).inner_text() == "Refused: larger than 20 MB"
    assert {request.url for request in asked} == {HOME, HOME + "predict?pictures=true"}
    page, asked = served(answer, HOME + "#token=secret")
    take(page, "a.png")
    done(page, 1)
    assert len(asked) == 2


def test_a_server_that_does_not_answer_costs_no_row(served):
    page, _ = served()
    page.unroute_all()
    page.route("**/*", lambda route: route.abort())
    take(page, "a.png")
    page.locator(".status", has_text="Refused: the server does not answer").wait_for()


def test_a_name_that_comes_again_is_numbered_and_what_is_new_stands_above(served):
    page, _ = served()
    take(page, "image.jpg")
    done(page, 1)
    assert (
        page.locator("#spoken").text_content() == "image.jpg: 123.4\N{NO-BREAK SPACE}µg/L, between 120.0 and 126.0. OK."
    )
    take(page, "image.jpg", "image.jpg")
    done(page, 2)
    assert page.locator("#list h3").all_inner_texts() == ["image (2).jpg", "image (3).jpg", "image.jpg"]
    assert page.locator("#lines th").all_inner_texts() == ["image.jpg", "image (2).jpg", "image (3).jpg"]
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    assert page.locator("#list > li").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_aside_and_axe_finds_nothing(served, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: twostage[dev]")
    phone = {"viewport": {"width": 375, "height": 700}, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    page, _ = served(**phone)
    take(page, "a.png", "unlike" + 100 * "x" + ".png", "text.png")
    done(page, 3)
    words = page.locator(".status").all_inner_texts()
    assert words[1:] == [
        "Unfamiliar: in sharpness 3 times as far as others",
        "Refused: not a photograph that can be read",
    ]
    assert page.locator("label", has_text="Take a photograph").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for details in page.locator("summary").all():
        details.click()
    assert axe.Axe().run(page).response["violations"] == []


def test_everything_can_be_reached_by_the_keyboard(served):
    page, _ = served()
    take(page, "a.png")
    done(page, 1)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"files", "save", "clear", "SUMMARY"} <= set(reached)


def test_paper_shows_the_card_and_the_date_and_no_buttons(served):
    page, _ = served()
    take(page, "a.png")
    done(page, 1)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    edges = page.locator("dd", has_text="with edges at 80, 140")
    assert "Printed " in page.locator("#printed").inner_text()
    assert edges.is_visible()
    assert not page.locator("#save").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not edges.is_visible()
