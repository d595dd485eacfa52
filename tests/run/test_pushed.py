"""The card of a model, and what `twostage push` hands out."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers import TINY, TINY_TABLE, one_line
from huggingface_hub import ModelCard

import twostage
from twostage import Predictor, load_config
from twostage.options.flat import flatten, walk, without_places

TRAINED = [*TINY, "run=a", "split.calibration=0.3"]


class Hub:
    """Takes what is uploaded."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.asked = folder, {}
        monkeypatch.setattr("huggingface_hub.HfApi.create_repo", self.create)
        monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", self.upload)

    def create(self, repo, private, exist_ok):
        self.asked = {"repo": repo, "private": private}
        return type("Url", (str,), {"repo_id": repo})(f"https://hub.example/{repo}")

    def upload(self, folder_path, repo_id, allow_patterns, commit_message):
        shutil.copytree(folder_path, self.folder)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    return Hub(monkeypatch, tmp_path / "uploaded")


def test_a_card_tells_the_figures_of_the_run_and_loads_as_a_card(here, once):
    assert once("train", *TRAINED)[0] == 0
    card = ModelCard.load(here / "outputs/a/MODEL_CARD.md")
    metrics = json.loads((here / "outputs/a/metrics.json").read_text())
    digest = json.loads((here / "outputs/a/model/model.json").read_text())["digest"]
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        key: pytest.approx(metrics[key], abs=1e-6) for key in ("rmse", "mae", "r2")
    }
    assert card.data.license == "unknown"
    for words in (f"{metrics['rmse']:.4g}", "# a\n", "80 to 350, in 3 bins", digest[:16], *metrics["statuses"]):
        assert words in card.text
    assert all(remark[1:] in card.text for remark in metrics["remarks"])


def test_what_is_pushed_reads_the_same_and_holds_the_model_and_its_card_alone(here, once, hub):
    assert once("train", *TRAINED)[0] == 0
    assert twostage.push("a", "me/model") == "https://hub.example/me/model"
    assert hub.asked == {"repo": "me/model", "private": True}
    files = {file.name for file in hub.folder.iterdir()}
    assert files == {"model.json", "classifier.safetensors", "regressor.safetensors", "README.md"}
    assert (hub.folder / "README.md").read_text() == (here / "outputs/a/MODEL_CARD.md").read_text()
    assert (hub.folder / "model.json").read_bytes() == (here / "outputs/a/model/model.json").read_bytes()
    Predictor.load(hub.folder)


def test_nothing_that_is_pushed_tells_where_things_lie_here(photos, run, hub, tmp_path):
    away = tmp_path / "patients of Dr Smith"
    away.mkdir()
    for file in photos.glob("p*.*"):
        file.rename(away / file.name)
    table = [
        f"data.table={away / 'photos.csv'}" if option.startswith("data.table=") else option for option in TINY_TABLE
    ]
    status, _, err = run("train", *table, f"run={away / 'a'}", f"runtime.cache_dir={away / 'cache'}")
    assert status == 0, err
    status, out, err = run("push", f"run={away / 'a'}", "repo=me/model", "private=false")
    assert status == 0, err
    assert "hf://me/model" in out
    assert hub.asked["private"] is False
    for file in hub.folder.iterdir():
        content = file.read_bytes()
        assert b"Smith" not in content
        assert str(tmp_path).encode() not in content
        assert b"p00.png" not in content
    Predictor.load(hub.folder)


def test_a_card_that_a_user_has_changed_is_the_one_that_is_pushed(here, once, hub):
    assert once("train", *TRAINED)[0] == 0
    card = here / "outputs/a/MODEL_CARD.md"
    card.write_text(card.read_text().replace("license: unknown", "license: cc-by-4.0"))
    twostage.push(here / "outputs/a/model", "me/model")
    assert ModelCard.load(hub.folder / "README.md").data.license == "cc-by-4.0"


def test_a_recalibrated_model_says_whose_figures_its_card_gives(photos, once, run, hub):
    assert once("train", *TRAINED)[0] == 0
    pd.read_csv("photos.csv").head(16).to_csv("four.csv", index=False)
    status, _, err = run("recalibrate", "run=a", "table=four.csv", "output=tuesday", "group_column=group")
    assert status == 0, err
    card = ModelCard.load("tuesday/MODEL_CARD.md")
    assert "recalibrated for another day with 4 specimens" in card.text
    assert "figures of its parent, not of itself" in card.text
    assert not card.data.eval_results
    status, _, err = run("push", "run=tuesday", "repo=me/model")
    assert status == 0, err
    assert "names 4 specimens of the standards" in err


def test_a_model_without_a_card_gets_one(here, once, hub):
    assert once("train", *TRAINED)[0] == 0
    shutil.move(here / "outputs/a/model", here / "alone")
    twostage.push(here / "alone", "me/model")
    card = ModelCard.load(hub.folder / "README.md")
    assert "are not known here" in card.text
    assert not card.data.eval_results


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["repo=me/model", "run=none"], "no run 'none'"),
        (["repo=a/b/c", "run=a"], "OWNER/NAME"),
        (["run=a"], "repo is not set"),
    ],
)
def test_mistakes_of_push_are_one_line(here, once, run, hub, options, words):
    assert once("train", *TRAINED)[0] == 0
    one_line(run("push", *options), words)
    assert not hub.folder.exists()


def test_paths_lose_what_leads_to_them_and_everything_else_stays():
    config = load_config(
        ["data=csv", "data.table=/home/me/t.csv", "data.images=photos", "start=../runs/scenes", "run=a/b"]
    )
    told, plain = flatten(without_places(config)), {key: value for key, value, _ in walk(config)}
    changed = {key: value for key, value in told.items() if plain.get(key, value) != value}
    assert changed == {"data.table": ".../t.csv", "start": ".../scenes", "run": ".../b"}
    assert Path(told["start"]).name == "scenes"
    assert told["start"] not in ("scenes", "none", "auto")  # which mean something else
