"""Trackers: what they show of a run, what a resumed run adds to it, and what a broken one does to a training."""

import json
import os
import signal

import pandas as pd
import pytest
from helpers import TINY, one_line

from twostage import load_config
from twostage.run.folder import RunFolder
from twostage.run.tracked import tracked
from twostage.tracking.tracker import Record, Tracker, Trackers


def a_history(epochs, seed=0):
    columns = ("learning_rate", "train_loss", "validation_rmse", "best_rmse", "seconds", "images_per_second")
    return pd.DataFrame([{"epoch": n, **{name: seed + n / 7 for name in columns}} for n in range(1, epochs + 1)])


def a_record(folder, metrics=None, **histories):
    return Record("a", folder, {"bins.count": 3}, histories, metrics, folder / "model")


class Listening(Tracker):
    """Keeps what it is told, as a server would that lives longer than a command."""

    def __init__(self, server=None):
        super().__init__()
        self.server = {} if server is None else server

    def begin(self, record, anew):
        if anew:
            self.server.clear()
        return {stage: len(rows) for stage, rows in self.server.items()}

    def add(self, stage, rows):
        self.server[stage] = pd.concat([self.server.get(stage), rows])

    def complete(self, record):
        self.server["figures"] = record.figures

    def close(self):
        self.closed = True


@pytest.mark.parametrize("seen", [[1, 2, 3, 5], [5], [2, 2, 5]])
def test_every_epoch_is_told_once_however_many_commands_it_takes(tmp_path, seen):
    whole, server = a_history(5), {}
    for commands in (1, len(seen)):
        server.clear()
        for k, epochs in enumerate(seen):
            if k % max(1, len(seen) // commands) == 0:
                tracker = Listening(server)  # another command goes on
            tracker.show(a_record(tmp_path, classifier=whole, regressor=whole[:epochs]))
        pd.testing.assert_frame_equal(server["regressor"], whole)
        pd.testing.assert_frame_equal(server["classifier"], whole)


def test_a_stage_that_starts_once_more_is_shown_anew(tmp_path):
    tracker, second = Listening(), a_history(4, seed=1)
    tracker.show(a_record(tmp_path, classifier=a_history(2), regressor=a_history(3)))
    tracker.show(a_record(tmp_path, classifier=a_history(2), regressor=second))
    pd.testing.assert_frame_equal(tracker.server["regressor"], second)
    pd.testing.assert_frame_equal(tracker.server["classifier"], a_history(2))


def test_the_figures_are_the_numbers_of_metrics_json(tmp_path):
    metrics = {"rmse": 1.5, "n_test": 8, "unit": "mg/l", "coverage_90": None, "remarks": [], "laboratory": {"x": 1.0}}
    assert a_record(tmp_path, metrics).figures == {"rmse": 1.5, "n_test": 8.0}


def test_a_tracker_that_fails_is_one_warning_and_is_asked_again_at_the_end(tmp_path, monkeypatch, caplog):
    class Down(Listening):
        fails = True

        def add(self, stage, rows):
            if self.fails:
                raise OSError("the server\nis down")
            super().add(stage, rows)

    monkeypatch.setattr("twostage.tracking.tracker._made", lambda name: Down())
    trackers = Trackers(["mlflow"], lambda: a_record(tmp_path, regressor=a_history(2)))
    trackers.tell()
    trackers.tell()
    assert len(caplog.records) == 1
    assert "runtime.tracker=mlflow failed (the server is down); the run is not touched" in caplog.text
    Down.fails = False
    trackers.tell(last=True)
    trackers.close()
    assert len(caplog.records) == 1
    assert len(trackers.trackers["mlflow"].server["regressor"]) == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[tensorbord]", ["runtime.tracker=tensorbord is not known", "tensorboard"]),
        ("mlflow", ["runtime.tracker=mlflow must be a list", "runtime.tracker=[mlflow]"]),
    ],
)
def test_a_tracker_that_is_none_is_told_in_one_line(here, run, value, words):
    one_line(run("train", *TINY, "run=a", f"runtime.tracker={value}"), *words)
    assert not (here / "outputs").exists()


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_without_its_extra_a_tracker_is_refused_before_anything_is_done(here, run, monkeypatch, name, package):
    def missing(thing):
        raise ImportError(f"No module named '{package}'", name=package)

    monkeypatch.setattr("twostage.tracking.tracker.resolve", missing)
    one_line(run("train", *TINY, "run=a", f"runtime.tracker=[{name}]"), "pip install 'twostage[track]'")
    assert not (here / "outputs").exists()


def test_only_the_first_process_of_several_tells(here, monkeypatch):
    monkeypatch.setattr("twostage.run.tracked.is_first_process", lambda: False)
    config = load_config([*TINY, "run=a", "runtime.tracker=[tensorboard]"])
    with tracked(RunFolder.named("a"), config) as tell:
        tell(1.0)
    assert list(here.iterdir()) == []


@pytest.fixture
def own_mlflow(monkeypatch):
    """MLflow as a user has it who has set nothing."""
    mlflow = pytest.importorskip("mlflow", reason="the extra track is not installed")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    yield mlflow
    mlflow.set_tracking_uri(None)


def points_of_tensorboard(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(name)]


def shown_by_mlflow(folder, mlflow):
    """MLflow's client, and its run."""
    noted = json.loads((folder / "mlflow.json").read_text())
    client = mlflow.MlflowClient(tracking_uri=noted["tracking_uri"])
    return client, client.get_run(noted["run_id"])


def test_mlflow_has_every_epoch_once(here, own_mlflow):
    from twostage.tracking.mlflow_runs import MLflow

    for epochs in (2, 3):  # two commands
        tracker = MLflow()
        tracker.show(a_record(here, regressor=a_history(epochs)))
        tracker.close()
    client, shown = shown_by_mlflow(here, own_mlflow)
    points = client.get_metric_history(shown.info.run_id, "regressor/train_loss")
    assert [(point.step, point.value) for point in points] == [(n, n / 7) for n in (1, 2, 3)]
    assert (shown.info.status, shown.info.run_name, shown.data.params) == ("KILLED", "a", {"bins.count": "3"})
    tracker.show(a_record(here, regressor=a_history(1, seed=1)))  # train.retry
    client, again = shown_by_mlflow(here, own_mlflow)
    assert len(client.get_metric_history(again.info.run_id, "regressor/train_loss")) == 1
    assert client.get_run(shown.info.run_id).info.status == "FAILED"


def test_tensorboard_has_every_epoch_once(here):
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    from twostage.tracking.tensorboard_files import TensorBoard

    for epochs in (2, 3):  # two commands
        tracker = TensorBoard()
        tracker.show(a_record(here, {"rmse": 1.5}, regressor=a_history(epochs)))
        tracker.close()
    points = points_of_tensorboard(here / "tensorboard/regressor", "train_loss")
    assert points == [(n, pytest.approx(n / 7)) for n in (1, 2, 3)]
    assert points_of_tensorboard(here / "tensorboard/test", "test/rmse") == [(0, 1.5)]


@pytest.mark.slow
def test_a_run_that_was_killed_is_shown_whole(here, run, monkeypatch, own_mlflow):
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    command = ["train", *TINY, "run=a", "runtime.checkpoint_seconds=0", "runtime.tracker=[tensorboard,mlflow]"]
    from twostage.training.fit import _Training

    learn, steps = _Training._learn, []

    def stopped(self, rows, epoch):
        steps.append(epoch)
        if len(steps) == 5 and self.course.label == "regressor":  # some way into stage 2
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(self, rows, epoch)

    monkeypatch.setattr(_Training, "_learn", stopped)
    status, _, err = run(*command)
    assert status == 143, err
    folder = here / "outputs/a"
    assert shown_by_mlflow(folder, own_mlflow)[1].info.status == "KILLED"
    for _ in range(2):  # it goes on, and then it is finished already
        status, _, err = run(*command)
        assert status == 0, err
        metrics = json.loads((folder / "metrics.json").read_text())
        client, shown = shown_by_mlflow(folder, own_mlflow)
        for stage in ("classifier", "regressor"):
            history = pd.read_csv(folder / stage / "history.csv")
            for name in history.columns[1:]:
                wanted = list(zip(history["epoch"], history[name], strict=True))
                there = client.get_metric_history(shown.info.run_id, f"{stage}/{name}")
                assert [(point.step, point.value) for point in there] == wanted
                points = points_of_tensorboard(folder / "tensorboard" / stage, name)
                assert [step for step, _ in points] == [step for step, _ in wanted]
                assert [value for _, value in points] == pytest.approx([value for _, value in wanted])
        assert shown.data.metrics["rmse"] == metrics["rmse"]
        assert len(client.get_metric_history(shown.info.run_id, "rmse")) == 1
        assert points_of_tensorboard(folder / "tensorboard/test", "test/rmse") == [(0, pytest.approx(metrics["rmse"]))]
        assert shown.info.status == "FINISHED"
        assert shown.data.params["bins.count"] == "3"
        digest = json.loads((folder / "model/model.json").read_text())["digest"]
        assert shown.data.tags.items() >= {"twostage.run": "a", "twostage.digest": digest}.items()
    made = [file for file in (here / "outputs/mlruns").rglob("*") if file.is_file()]
    assert [file for file in made if file.suffix in (".pkl", ".pickle", ".pt")] == []
    model = own_mlflow.pyfunc.load_model(str(next(file for file in made if file.name == "MLmodel").parent))
    frame = model.predict(pd.DataFrame({"image": ["missing.png"]}))
    assert list(frame["status"]) == ["refused"]
