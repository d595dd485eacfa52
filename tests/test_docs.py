import importlib.util
import inspect
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from helpers import TINY
from PIL import Image

import twostage
from twostage.data.simulated import render_photographs
from twostage.errors import TwoStageError
from twostage.options.backbones import BACKBONES
from twostage.options.commands import COMMANDS
from twostage.options.help import option_table
from twostage.options.run import Config

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((DOCS / "pages").rglob("*.md"))
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
WITH_FILES = {"08_onnx"}
"""What needs an exported file: tests/export runs it."""

QUICK = ["runtime.progress=false", "train.epochs=4", "combine.views=1", "image.size=32"]
QUICKER = {
    "01_simulated": ["data.count=60"],
    "05_python_reading": ["data.count=60"],
    "06_explain": ["data.count=60"],
} | {"04_compare": ["data.count=60", "compare.methods=[mean,ridge,direct]"]}

SLOW = ("02_your_table", "03_leaks", "04_compare", "06_explain")


def build_script():
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(file, marks=[pytest.mark.slow] if file.stem in SLOW else [], id=file.stem)
        for file in EXAMPLES
        if file.stem not in WITH_FILES
    ],
)
def test_every_example_runs_and_says_something(example, here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(example), *QUICK, *QUICKER.get(example.stem, [])])
    runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 2
    assert (here / "outputs").is_dir()


def test_an_example_is_short():
    assert len(EXAMPLES) <= 10
    assert {file.stem: n for file in EXAMPLES if (n := len(file.read_text().splitlines())) > 40} == {}


def test_the_readme_is_one_page_with_three_pictures():
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900
    pictures = re.findall(r"docs/pages/images/\w+\.png", README)
    assert len(pictures) == 3
    for name in pictures:
        assert (ROOT / name).stat().st_size < 150_000
        Image.open(ROOT / name).verify()


def test_every_link_of_the_readme_leads_to_a_file_in_git():
    # a page that docs/build.py makes is not there for who reads the README on the web
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    made = (DOCS / ".gitignore").read_text().split()
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link
        assert link.removeprefix("docs/") not in made


@pytest.mark.parametrize("file", [ROOT / "README.md", *PAGES], ids=lambda file: file.stem)
def test_commands_in_the_docs_have_known_names(file):
    text = file.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert set(re.findall(r"\bmake ([a-z-]+)", in_blocks)) <= targets
    assert set(re.findall(r"^twostage ([a-z-]+)", in_blocks, re.MULTILINE)) <= {*COMMANDS, "--help"}


@pytest.mark.parametrize("page", sorted((DOCS / "pages/develop").glob("*.md")), ids=lambda file: file.stem)
def test_code_on_the_pages_for_developers_is_that_of_the_package(page):
    source = {line.strip() for file in (ROOT / "twostage").rglob("*.py") for line in file.read_text().splitlines()}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = {line.strip() for block in blocks for line in block.splitlines()} - {"", "..."}
    assert lines - source == set()


@pytest.mark.parametrize("what", ["guide/predict.md", "guide/explain.md", "Predictor", "BatchReader"])
def test_python_in_guides_and_docstrings_runs(what, here, once):
    text = (DOCS / "pages" / what).read_text() if what.endswith(".md") else inspect.getdoc(getattr(twostage, what))
    assert once("train", "run=first", *TINY)[0] == 0
    for i, name in enumerate("ab"):
        Image.fromarray(render_photographs(np.array([200.0]), 32, i)[0]).save(here / f"{name}.jpg")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(textwrap.dedent(block), names)


def known_options():
    rows = [name for command in COMMANDS.values() for name, _, _ in option_table(command.options)]
    return {re.sub(r"^(data|backbone) \(\w+\) ", r"\1.", name) for name in rows}


@pytest.mark.parametrize("file", [ROOT / "README.md", *PAGES], ids=lambda file: file.stem)
def test_options_in_the_docs_are_known(file):
    groups = {name.split(".")[0] for name in known_options()}
    written = re.findall(r"(?<![\w./+@-])([a-z_]+(?:\.[a-z_0-9]+)+)=", file.read_text(encoding="utf-8"))
    assert {name for name in written if name.split(".")[0] in groups} <= known_options()


def test_the_reference_names_every_option_command_backbone_and_error():
    build = build_script()
    options, commands, backbones = build.options_page(), build.commands_page(), build.backbones_page()
    for name, _, _ in option_table(Config):
        if not name.startswith("backbone ("):
            assert f"`{re.sub(r'^data .* ', 'data.', name)}`" in options
    assert all(f"## {name}\n" in commands for name in COMMANDS)
    assert all(f"## {name}\n" in backbones for name in BACKBONES if name != "timm")
    assert all(f"`{kind.__name__}`" in build.errors_page() for kind in TwoStageError.__subclasses__())
    assert all(f".{name}\n" in build.python_page() for name in twostage.__all__)


def test_the_docs_name_no_page_that_is_not_in_the_navigation():
    navigation = set(re.findall(r"[\w/-]+\.md", (DOCS / "mkdocs.yml").read_text()))
    made = {line.removeprefix("pages/") for line in (DOCS / ".gitignore").read_text().split() if line.endswith(".md")}
    assert navigation == {str(page.relative_to(DOCS / "pages")) for page in PAGES} | made


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="http://example/x.png">',
        '<pre class="mermaid"></pre>',
    ],
)
def test_a_page_that_fetches_from_elsewhere_is_found(html, tmp_path):
    (tmp_path / "a.html").write_text(f"<html>{html}</html>")
    assert len(build_script().requests_outside(tmp_path)) == 1


def test_links_that_a_reader_clicks_are_no_requests(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">x</a><img src="x.png"><script src="a/b.js"></script>'
    )
    (tmp_path / "a.css").write_text("a { background: url(x.png) } b { background: url('data:image/png;base64,xx') }")
    assert build_script().requests_outside(tmp_path) == []


def test_a_style_that_fetches_from_elsewhere_is_found(tmp_path):
    (tmp_path / "a.css").write_text("@import 'https://example.org/x.css'; a { background: url(//example.org/x.png) }")
    assert len(build_script().requests_outside(tmp_path)) == 2


@pytest.mark.slow
def test_the_docs_build_without_a_warning_and_fetch_nothing():
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    done = subprocess.run([sys.executable, str(DOCS / "build.py")], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
