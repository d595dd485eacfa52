import hashlib
import lzma
import re

import pytest

from twostage.errors import ModelFolderError
from twostage.page import page_html, runtime
from twostage.page.words import STATUSES, card_rows
from twostage.trust.status import Status

CARD = {"name": "a </script> <b>", "unit": "µg/L", "low": 10.0, "high": 308.0, "edges": [10.0, 308.0], "size": 64}
PARTS = sorted(runtime.FOLDER.parent.glob("*.js"))


def test_every_status_has_words():
    assert set(STATUSES) == set(Status)
    assert all(words.label and words.meaning for words in STATUSES.values())


def test_what_a_card_does_not_know_is_left_out():
    assert dict(card_rows({}))["Intervals"].startswith("none")
    assert not {"Range", "Bins", "Trained", "Least"} & set(dict(card_rows({})))
    assert dict(card_rows(CARD | {"trained": {"n_train": 12}}))["Trained"] == "on 12 photographs"


def test_a_page_with_a_server_asks_that_server_alone():
    html = page_html(CARD, reader="server", model=None)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("connect-src 'self'")
    assert "wasm" not in policy
    assert "unsafe" not in policy
    assert "application/gzip" not in html


def test_texts_of_a_model_are_no_markup():
    html = page_html(CARD | {"remarks": ["<i>"], "unit": '"><b>'}, reader="server", model=None)
    assert html.count("</script>") == 2
    assert "<b>" not in html
    assert "<i>" not in html


@pytest.mark.parametrize(("reader", "model"), [("wasm", None), ("server", b"model")])
def test_a_reader_without_its_model_is_a_mistake_of_the_program(reader, model):
    with pytest.raises(ValueError, match="needs a model"):
        page_html(CARD, reader=reader, model=model)


def test_a_page_without_a_server_asks_nobody_and_is_the_same_for_the_same_model():
    first, second = (page_html(CARD, reader="wasm", model=b"model") for _ in range(2))
    assert first == second
    assert len(first) < 6e6
    assert "connect-src" not in first


def test_the_files_of_onnxruntime_web_are_those_of_the_package():
    about = runtime.described()
    assert (about["package"], about["license"], about["integrity"][:7]) == ("onnxruntime-web", "MIT", "sha512-")
    assert set(about["sha256"]) == {runtime.SCRIPT, runtime.WASM, runtime.NOTICES}
    for name, digest in about["sha256"].items():
        assert hashlib.sha256(runtime.file_of(name)).hexdigest() == digest
    assert f"v{about['version']}" in runtime.script()[:200]
    assert "MIT License" in runtime.licence()


@pytest.mark.parametrize("content", [None, b"damaged", lzma.compress(b"another")])
def test_a_changed_file_of_onnxruntime_web_is_not_used(content, tmp_path, monkeypatch):
    (tmp_path / "files.json").write_text((runtime.FOLDER / "files.json").read_text())
    if content is not None:
        (tmp_path / f"{runtime.WASM}.xz").write_bytes(content)
    monkeypatch.setattr(runtime, "FOLDER", tmp_path)
    with pytest.raises(ModelFolderError, match="install twostage again"):
        runtime.file_of.__wrapped__(runtime.WASM)


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.name)
def test_a_part_of_the_page_is_short_and_says_its_purpose(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("//")
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 130
