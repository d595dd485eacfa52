import hashlib
import io
import logging
import os
import pickle
import random
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_stages import BINS, Line, differing, line_examples, options_of, parts

from twostage.errors import RunError, Stopped, StorageError, TrainingError
from twostage.options.run import TrainConfig
from twostage.stages.build import build_classifier, build_regressor
from twostage.training.checkpoint import Checkpoint
from twostage.training.course import Course
from twostage.training.fit import fit


def a_state(number=1.0):
    return {"weights": {"a": torch.full((50, 20), number), "b": torch.arange(7)}, "step": 3, "losses": [0.5, number]}


def same(one, other):
    return (
        one is not None
        and torch.equal(one["weights"]["a"], other["weights"]["a"])
        and torch.equal(one["weights"]["b"], other["weights"]["b"])
        and (one["step"], one["losses"]) == (other["step"], other["losses"])
    )


def test_what_was_saved_is_loaded(tmp_path):
    checkpoint = Checkpoint(tmp_path, {"seed": "0"})
    assert checkpoint.load() is None
    for number in (1.0, 2.0, 3.0):
        checkpoint.save(a_state(number))
        assert same(Checkpoint(tmp_path, {"seed": "0"}).load(), a_state(number))
    assert {file.name for file in tmp_path.iterdir()} == {"last.pt", "previous.pt"}
    checkpoint.forget_earlier()
    assert {file.name for file in tmp_path.iterdir()} == {"last.pt"}


def test_torch_reads_it_without_us(tmp_path):
    Checkpoint(tmp_path).save(a_state())
    assert same(torch.load(tmp_path / "last.pt", weights_only=True)["state"], a_state())


@pytest.fixture
def two_saved(tmp_path):
    Checkpoint(tmp_path).save(a_state(1.0))
    Checkpoint(tmp_path).save(a_state(2.0))
    return tmp_path, (tmp_path / "last.pt").read_bytes()


@pytest.mark.parametrize("percent", range(100))
def test_truncated_anywhere_the_one_before_is_used(two_saved, caplog, percent):
    folder, content = two_saved
    (folder / "last.pt").write_bytes(content[: len(content) * percent // 100])
    assert same(Checkpoint(folder).load(), a_state(1.0))
    assert "last.pt is damaged" in caplog.text
    # the damaged one must not push out the good one
    Checkpoint(folder).save(a_state(3.0))
    (folder / "last.pt").write_bytes(b"")
    assert same(Checkpoint(folder).load(), a_state(1.0))


def test_a_flipped_bit_is_always_noticed(two_saved):
    folder, content = two_saved
    chance = random.Random(0)
    for position in [*range(200), *(chance.randrange(len(content)) for _ in range(200)), len(content) - 1]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << chance.randrange(8)
        (folder / "last.pt").write_bytes(flipped)
        assert same(Checkpoint(folder).load(), a_state(1.0))


def test_all_damaged_is_said_and_the_stage_starts_again(two_saved, caplog):
    folder, _ = two_saved
    for name in ("last.pt", "previous.pt"):
        (folder / name).write_bytes(b"x" * 100)
    assert Checkpoint(folder).load() is None
    assert "last.pt is damaged" in caplog.text
    assert "previous.pt is damaged" in caplog.text


def sealed(content):
    return content + hashlib.sha256(content).digest()


def saved_by_torch(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return sealed(buffer.getvalue())


def test_another_version_is_refused_in_one_line(tmp_path):
    content = {"format": 99, "identity": {}, "state": a_state()}
    (tmp_path / "last.pt").write_bytes(saved_by_torch(content))
    with pytest.raises(RunError, match=r"has format 99, this version reads 2: .*delete") as error:
        Checkpoint(tmp_path).load()
    assert "\n" not in str(error.value)
    assert (tmp_path / "last.pt").is_file()


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("was_here",))


@pytest.mark.parametrize("content", [sealed(pickle.dumps(Evil())), saved_by_torch(Evil()), saved_by_torch([1, 2])])
def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(RunError, match="whole but cannot be loaded"):
        Checkpoint(tmp_path).load()
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (PermissionError(13, "Permission denied"), StorageError),
        (OSError(5, "Input/output error"), StorageError),
        (MemoryError(), RunError),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"), RunError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_to_load_leaves_a_good_checkpoint_alone(two_saved, monkeypatch, failure, error):
    folder, content = two_saved

    def fail(*_, **__):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr("torch.load", fail)
        with pytest.raises(error, match=r"last\.pt.* cannot be ") as caught:
            Checkpoint(folder).load()
    assert "\n" not in str(caught.value)
    assert (folder / "last.pt").read_bytes() == content
    assert same(Checkpoint(folder).load(), a_state(2.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_was_trained_on_a_gpu_goes_on_there(prepared, tmp_path):
    train, validation = prepared[build_regressor]
    course = replace(course_of(), device=torch.device("cuda"))
    with pytest.raises(Interrupted):
        fit(cut_after(build_regressor(options_of(), BINS), 3), train, validation, course, Checkpoint(tmp_path))
    assert Checkpoint(tmp_path).load()["stage"]["center"].device.type == "cpu"
    history = fit(build_regressor(options_of(), BINS), train, validation, course, Checkpoint(tmp_path))
    assert len(history) == 3


def test_of_another_training_it_is_refused_by_name(tmp_path):
    Checkpoint(tmp_path, {"seed": "0", "photographs": "ab"}).save(a_state())
    with pytest.raises(RunError, match=r"another training \(seed: 0 -> 1\).*resume=force"):
        Checkpoint(tmp_path, {"seed": "1", "photographs": "ab"}).load()
    assert same(Checkpoint(tmp_path, {"seed": "1", "photographs": "ab"}, force=True).load(), a_state())


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_ones(two_saved, monkeypatch):
    folder, content = two_saved

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"last\.pt: cannot be written \(No space left on device\)"):
        Checkpoint(folder).save(a_state(3.0))
    assert (folder / "last.pt").read_bytes() == content
    assert {file.name for file in folder.iterdir()} == {"last.pt", "previous.pt"}


class Interrupted(Exception):
    pass


def cut_after(stage, count, what=Interrupted):
    """Let the stage's loss fail when it is asked for once more than `count` times."""
    loss, asked = stage.loss, []

    def until(images, targets):
        asked.append(1)
        if len(asked) > count:
            raise what
        return loss(images, targets)

    stage.loss = until
    return stage


def course_of(epochs=3, seconds=0.0, **options):
    options = {"batch_size": 8, "learning_rate": 0.01} | options
    return Course(
        TrainConfig(**options), epochs, "stage", "optical_density", progress=False, checkpoint_seconds=seconds
    )


@pytest.fixture(scope="module")
def prepared():
    builds = (build_classifier, build_regressor)
    return {build: parts(build(options_of(), BINS), options_of(), 20, 6) for build in builds}


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.0}, {"patience": 1, "learning_rate": 0.2}], ids=str)
@pytest.mark.parametrize("build", [build_classifier, build_regressor])
def test_interrupted_after_any_step_it_ends_with_the_same_weights(prepared, tmp_path, build, options):
    train, validation = prepared[build]
    course = course_of(**options)
    whole = build(options_of(), BINS)
    history = fit(whole, train, validation, course)
    for count in range(2 * len(history)):  # two steps an epoch; patience may end it early
        folder = tmp_path / str(count)
        with pytest.raises(Interrupted):
            fit(cut_after(build(options_of(), BINS), count), train, validation, course, Checkpoint(folder))
        again = build(options_of(), BINS)
        resumed = fit(again, train, validation, course, Checkpoint(folder))
        assert differing(whole, again) == []
        assert [row.validation_rmse for row in resumed] == [row.validation_rmse for row in history]
        assert [row.train_loss for row in resumed] == [row.train_loss for row in history]
        finished = build(options_of(), BINS)  # killed after the last epoch: nothing is trained again
        fit(cut_after(finished, 0), train, validation, course, Checkpoint(folder))
        assert differing(whole, finished) == []


def test_without_time_for_it_the_last_whole_epoch_is_kept(prepared, tmp_path):
    train, validation = prepared[build_regressor]
    stage = cut_after(build_regressor(options_of(), BINS), 3)
    with pytest.raises(Interrupted):
        fit(stage, train, validation, course_of(seconds=1e9), Checkpoint(tmp_path))
    state = Checkpoint(tmp_path).load()
    assert (len(state["history"]), state["step"]) == (1, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves(prepared, tmp_path, number):
    train, validation = prepared[build_regressor]
    stage = build_regressor(options_of(), BINS)
    loss, asked = stage.loss, []

    def signalled(images, targets):
        asked.append(1)
        if len(asked) == 4:
            os.kill(os.getpid(), number)
        return loss(images, targets)

    stage.loss = signalled
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped in epoch 2 of 3, and saved") as stop:
        fit(stage, train, validation, course_of(seconds=1e9), Checkpoint(tmp_path))
    assert stop.value.number == number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    state = Checkpoint(tmp_path).load()
    assert (len(state["history"]), state["step"]) == (1, 2)
    whole, again = build_regressor(options_of(), BINS), build_regressor(options_of(), BINS)
    fit(whole, train, validation, course_of())
    fit(again, train, validation, course_of(), Checkpoint(tmp_path))
    assert differing(whole, again) == []


def signalled_in_validation(stage, epoch, number=signal.SIGTERM):
    """Let a signal come while the stage is validated for that time."""
    estimate, asked = stage.estimate, []

    def signalled(images, targets):
        asked.append(1)
        if len(asked) == epoch:
            os.kill(os.getpid(), number)
        return estimate(images, targets)

    stage.estimate = signalled
    return stage


@pytest.mark.parametrize("options", [{}, {"patience": 1, "learning_rate": 0.2}], ids=str)
def test_a_signal_in_the_last_validation_is_heard(prepared, tmp_path, options):
    train, validation = prepared[build_regressor]
    course = course_of(ema_decay=0.0, **options)
    whole = build_regressor(options_of(), BINS)
    epochs = len(fit(whole, train, validation, course))
    stage = signalled_in_validation(build_regressor(options_of(), BINS), epochs)
    with pytest.raises(Stopped, match="stopped at the end, and saved"):
        fit(stage, train, validation, course, Checkpoint(tmp_path))
    again = cut_after(build_regressor(options_of(), BINS), 0)  # nothing is trained again
    fit(again, train, validation, course, Checkpoint(tmp_path))
    assert differing(whole, again) == []


def test_a_signal_is_heard_before_a_retry(caplog):
    class Signalled(Explosive):
        def loss(self, images, targets):
            value = super().loss(images, targets)
            if not value.isfinite():
                os.kill(os.getpid(), signal.SIGTERM)
            return value

    examples = line_examples()
    options = TrainConfig(batch_size=4, ema_decay=0.0, schedule="constant", learning_rate=0.1, retry=True)
    with pytest.raises(Stopped):
        fit(Signalled(), examples, examples, Course(options, 2, "line", "srgb", progress=False))
    assert "once more" not in caplog.text


def test_a_history_that_a_kill_cut_short_is_written_again(prepared, tmp_path):
    train, validation = prepared[build_classifier]
    fit(build_classifier(options_of(), BINS), train, validation, course_of(), Checkpoint(tmp_path))
    whole = (tmp_path / "history.csv").read_bytes()
    (tmp_path / "history.csv").unlink()
    fit(build_classifier(options_of(), BINS), train, validation, course_of(), Checkpoint(tmp_path))
    assert (tmp_path / "history.csv").read_bytes() == whole


def test_a_checkpoint_of_another_network_is_refused_even_by_force(prepared, tmp_path):
    train, validation = prepared[build_regressor]
    fit(build_regressor(options_of(), BINS), train, validation, course_of(1), Checkpoint(tmp_path))
    other = build_regressor(options_of("backbone.widths=[8,9]"), BINS)
    with pytest.raises(RunError, match="of another network"):
        fit(other, train, validation, course_of(1), Checkpoint(tmp_path, force=True))


def test_by_force_it_goes_on_at_another_rate_and_decay(prepared, tmp_path):
    train, validation = prepared[build_classifier]
    stage = cut_after(build_classifier(options_of(), BINS), 3)
    with pytest.raises(Interrupted):
        fit(stage, train, validation, course_of(schedule="cosine"), Checkpoint(tmp_path))
    changed = course_of(schedule="cosine", learning_rate=0.001, weight_decay=0.5)
    again = build_classifier(options_of(), BINS)
    fit(again, train, validation, changed, Checkpoint(tmp_path))
    rates = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)["learning_rate"]
    fit(build_classifier(options_of(), BINS), train, validation, changed, Checkpoint(tmp_path / "whole"))
    whole = np.genfromtxt(tmp_path / "whole" / "history.csv", delimiter=",", names=True)["learning_rate"]
    assert rates[0] == pytest.approx(10 * whole[0])  # this epoch was over
    np.testing.assert_array_equal(rates[1:], whole[1:])
    decays = [group["weight_decay"] for group in Checkpoint(tmp_path).load()["optimizer"]["param_groups"]]
    assert decays == [0.5, 0.0]


class Explosive(Line):
    """Its loss is no number once the weights have moved by more than a little."""

    def loss(self, images, targets):
        value = super().loss(images, targets)
        return value * (torch.inf if float(self.bias.detach().abs()) > 0.3 else 1)


@pytest.mark.parametrize("interrupted", [False, True])
def test_one_retry_at_half_the_rate(tmp_path, caplog, interrupted):
    caplog.set_level(logging.INFO)
    examples = line_examples()

    def course(retry, rate=0.1):
        options = TrainConfig(
            batch_size=4, ema_decay=0.0, schedule="constant", learning_rate=rate, weight_decay=0.0, retry=retry
        )
        return Course(options, 2, "line", "srgb", progress=False, checkpoint_seconds=0.0)

    with pytest.raises(TrainingError, match="line: the loss is inf"):
        fit(Explosive(), examples, examples, course(False))
    with pytest.raises(TrainingError):  # half of this is still too much, and there is one retry only
        fit(Explosive(), examples, examples, course(True, 0.4))
    half = Explosive()
    fit(half, examples, examples, course(False, 0.05))
    stage = Explosive()
    if interrupted:
        with pytest.raises(Interrupted):
            fit(cut_after(Explosive(), 7), examples, examples, course(True), Checkpoint(tmp_path))
        assert Checkpoint(tmp_path).load()["halved"]
    fit(stage, examples, examples, course(True), Checkpoint(tmp_path))
    assert "once more at half the learning rate" in caplog.text
    assert differing(stage, half) == []


def test_the_history_on_the_disk_is_that_of_the_training(prepared, tmp_path):
    train, validation = prepared[build_classifier]
    history = fit(build_classifier(options_of(), BINS), train, validation, course_of(), Checkpoint(tmp_path))
    rows = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    np.testing.assert_allclose(rows["validation_rmse"], [row.validation_rmse for row in history])
