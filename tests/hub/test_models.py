"""The hub, which no test reaches: its client is replaced."""

import pytest

from twostage import Predictor
from twostage.errors import ConfigError, HubError
from twostage.hub.models import download, upload


def answer(monkeypatch, name, error):
    def fails(*arguments, **named):
        raise error

    monkeypatch.setattr(f"huggingface_hub.{name}", fails)


def refusal(status):
    from httpx import Request, Response
    from huggingface_hub.errors import HfHubHTTPError

    request = Request("POST", "https://hub.example/api")
    return HfHubHTTPError(f"{status} for url", response=Response(status, request=request))


@pytest.mark.parametrize("repo", ["", "a/b/c", "a b/c", "../x", "own/na me", "own/--x--y", "https://hub.example/a/b"])
def test_what_is_no_name_of_a_repository_is_refused_before_anything_is_sent(tmp_path, monkeypatch, repo):
    answer(monkeypatch, "HfApi.create_repo", AssertionError)
    answer(monkeypatch, "snapshot_download", AssertionError)
    with pytest.raises(ConfigError, match="repo="):
        upload(tmp_path, repo)
    with pytest.raises(ConfigError, match="repo="):
        download(f"hf://{repo}")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refusal(401), "token"),
        (refusal(403), "token"),
        (refusal(503), "refuses"),
        (ConnectionError("no route\nto host"), "cannot be reached"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=str,
)
def test_whatever_the_hub_answers_is_one_line(tmp_path, monkeypatch, error, words):
    answer(monkeypatch, "HfApi.create_repo", error)
    with pytest.raises(HubError, match=words) as found:
        upload(tmp_path, "me/model")
    assert "\n" not in str(found.value)


def test_a_model_of_the_hub_is_fetched_and_nothing_but_its_files(tmp_path, monkeypatch):
    asked = {}

    def fetch(repo, revision, allow_patterns):
        asked.update(repo=repo, revision=revision, files=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(ValueError, match=r"no model\.json"):
        Predictor.load("hf://me/model@v2")
    assert asked == {"repo": "me/model", "revision": "v2", "files": ["model.json", "*.safetensors", "README.md"]}
