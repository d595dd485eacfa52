"""A browser for tests, or a skip that says why there is none."""

import shutil
from contextlib import contextmanager

import pytest


@contextmanager
def chromium():
    """Chromium of this machine, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: twostage[dev]")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("there is no chromium to open the page with")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
