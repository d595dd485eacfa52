import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from helpers import TINY, few
from small_stages import Line, line_examples

from twostage import load_config
from twostage.errors import ConfigError, RunError
from twostage.orchestrator import train, train_stage
from twostage.run.folder import RunFolder
from twostage.run.length import _length, _seconds_left, epochs_of_stages, with_length
from twostage.run.preparation import prepare
from twostage.training.course import Course
from twostage.training.fit import fit

MINUTES = [*(text for text in TINY if "epochs" not in text), "train.minutes=0.03"]


def course(**options):
    return Course(load_config().train, epochs=1, label="classifier", color="srgb", **options)


@pytest.mark.parametrize(
    ("count", "seconds", "expected"),
    [
        (160, 100.0, {"epochs": 66, "steps": 10}),  # an epoch takes 0.5 + 10 * 0.1 s
        (1600, 42.0, {"epochs": 8, "steps": 47}),  # fewer passes than 8: epochs end earlier
        (1600, 10.0, {"epochs": 4, "steps": 20}),  # and are fewer where validation would take more than a fifth
        (160, 0.1, {"epochs": 1, "steps": 1}),  # too little for anything
    ],
)
def test_as_many_epochs_as_fit(monkeypatch, count, seconds, expected):
    """Where validation takes 0.5 s and a step 0.1 s."""
    monkeypatch.setattr(
        "twostage.run.length.fit", lambda stage, train, validation, c: [SimpleNamespace(seconds=0.5 + 0.1 * c.steps)]
    )
    examples = SimpleNamespace(names=[""] * count)
    assert _length(seconds, course(), torch.nn.Identity(), examples, examples) == expected


def test_the_regressor_has_the_minutes_that_the_classifier_left_and_half_of_its_share_at_least(tmp_path):
    def left(stage, *options):
        config = load_config(["train.minutes=1", "classifier.share=0.25", *options])
        return _seconds_left(stage, SimpleNamespace(config=config, folder=RunFolder(tmp_path)))

    (tmp_path / "classifier").mkdir()
    assert left("classifier") == 15
    for spent, expected in ((10, 50), (20, 40), (50, 22.5)):
        (tmp_path / "classifier" / "history.csv").write_text(f"seconds\n{spent - 5}\n5\n")
        assert left("regressor") == expected
    assert left("regressor", "method=direct") == 60


def test_an_epoch_may_end_early_and_shows_other_photographs_each_time():
    stage, examples = Line(), line_examples(12)
    options = replace(load_config().train, batch_size=4, learning_rate=0.01)
    history = fit(stage, examples, examples, replace(course(steps=2), options=options, epochs=4))
    assert len(history) == 4
    assert [len(seen) for seen in stage.seen] == [4] * 8
    shown = [sorted(first + second) for first, second in zip(stage.seen[::2], stage.seen[1::2], strict=True)]
    assert all(len(set(epoch)) == 8 for epoch in shown)
    assert len({tuple(epoch) for epoch in shown}) > 1
    assert history[0].images_per_second * history[0].seconds == pytest.approx(8)


@pytest.mark.slow
def test_a_run_of_minutes_keeps_its_length(here, run):
    status, _, err = run("train-classifier", *MINUTES, "run=a")
    assert status == 0, err
    folder = here / "outputs/a/classifier"
    assert len(pd.read_csv(folder / "history.csv")) == json.loads((folder / "length.json").read_text())["epochs"]
    # as if it had been killed before its first checkpoint
    for name in ("classifier/last.pt", "model/classifier.safetensors"):
        (here / "outputs/a" / name).unlink()
    (folder / "length.json").write_text('{"minutes": 0.03, "batch_size": 16, "epochs": 3, "steps": 1}')
    train_stage("classifier", load_config([*MINUTES, "run=a"]))
    assert len(pd.read_csv(folder / "history.csv")) == 3
    metrics = train(load_config([*MINUTES, "run=a"]))
    assert 0 < metrics["train_seconds"] < 60
    assert metrics["images_per_second"] > 0


def test_other_minutes_are_another_length(here, run):
    assert run("train-classifier", *MINUTES, "run=a")[0] == 0
    (here / "outputs/a/model/classifier.safetensors").unlink()
    status, _, err = run("train-classifier", *MINUTES, "run=a", "train.minutes=0.06", "resume=force")
    assert status == 0, err
    assert json.loads((here / "outputs/a/classifier/length.json").read_text())["minutes"] == 0.06


def test_a_length_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / "length.json").write_text("{}")
    prepared = SimpleNamespace(config=load_config(["train.minutes=1"]), folder=RunFolder(tmp_path))
    with pytest.raises(RunError, match="delete it"):
        with_length(course(), None, None, None, prepared)


def test_epochs_and_minutes_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        load_config(["train.epochs=3", "train.minutes=1"])


@pytest.mark.parametrize("share", few([0.25], [0.1, 0.25, 1.0]))
@pytest.mark.parametrize("epochs", ["null", "12"])
def test_a_share_of_the_photographs_is_shown_as_many_times_more(here, share, epochs):
    options = [text for text in TINY if "epochs" not in text]
    config = load_config([*options, "data.count=400", f"train.epochs={epochs}", f"split.train_share={share}", "run=a"])
    prepared = prepare(config, RunFolder(here / "outputs/a"))
    used, total = len(prepared.part("train")), sum(epochs_of_stages(prepared))
    assert used == pytest.approx(250 * share, abs=1)
    assert used * total == pytest.approx(250 * (12 if epochs == "12" else 400), rel=0.01)


@pytest.mark.parametrize(
    ("options", "count", "expected"),
    [
        (["train=fast"], 2000, (2, 30)),  # 64,000 photographs
        (["train=thorough"], 4000, (3, 59)),  # 250,000
        (["train.images=100000", "classifier.share=0.5"], 1000, (50, 50)),
        (["train.images=100000"], 20, (20, 380)),  # 400 epochs at most
        (["train.images=100000"], 100_000, (2, 30)),  # and 32 at least
        (["train.images=100000", "method=direct"], 1000, (100, 100)),
        (["train.epochs=10", "classifier.share=0.2"], 1000, (2, 8)),
    ],
)
def test_epochs_show_so_many_photographs(options, count, expected):
    prepared = SimpleNamespace(config=load_config(options), part=lambda _: (), training_rows=range(count), few=False)
    assert epochs_of_stages(prepared) == expected


def test_few_specimens_are_shown_less_and_none_where_closed_forms_are_all():
    prepared = SimpleNamespace(config=load_config([]), part=lambda _: (), training_rows=range(100), few=True)
    assert sum(epochs_of_stages(prepared)) == 100
    prepared.config.train.epochs = 0
    assert epochs_of_stages(prepared) == (0, 0)
