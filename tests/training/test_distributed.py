import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import one_line
from processes import HERE, PATIENCE, TORCHRUN, curve, output, processes_in, wait_until_written, written

from twostage.data.augment import augment
from twostage.options.run import AugmentConfig
from twostage.training import distributed


@pytest.mark.slow
def test_two_processes_train_as_one_does():
    script = str(HERE / "two_processes.py")
    one = json.loads(output([sys.executable, script]).stdout)
    together = output([*TORCHRUN, script])
    np.testing.assert_allclose(json.loads(together.stdout), one, rtol=1e-9)
    assert set(re.findall(r"the loss is (\w+)", together.stderr)) == {"nan"}  # said alike by whoever had a good one


def test_processes_wait_for_one_another_as_long_as_it_takes(monkeypatch):
    asked = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **more: asked.update(more))
    monkeypatch.setattr(distributed.atexit, "register", lambda function: None)
    distributed.join_processes()
    assert asked["timeout"].days >= 7  # a million photographs are decoded by the first alone


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds threads through /proc")
def test_no_thread_of_the_group_outlives_it():
    """One that lets go of a tensor after Python has ended aborts its process, rarely."""
    said = output([sys.executable, str(HERE / "leaving.py")]).stdout
    assert said.count("python") == 2, said
    assert "gloo" not in said


def test_alone_nothing_is_shared():
    rows = np.arange(10)
    assert distributed.process_count() == 1
    assert distributed.is_first_process()
    assert distributed.my_share(rows) == slice(None)
    assert distributed.gather(rows) is rows
    assert distributed.from_first_process("name") == "name"
    assert distributed.process_number() == 0
    assert distributed.mean_over_processes(0.3) == 0.3
    assert distributed.any_process(True)
    assert not distributed.any_process(False)


@pytest.mark.parametrize("count", [10, 7, 3])
def test_shares_cover_every_row_once(monkeypatch, count):
    rows, shares = np.arange(count), []
    for rank in range(3):
        monkeypatch.setattr(distributed, "process_count", lambda: 3)
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        shares.append(rows[distributed.my_share(rows)])
    assert np.concatenate(shares).tolist() == rows.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


EVERYTHING = AugmentConfig(rotation=30.0, shift=0.1, scale=0.1, brightness=0.1, gamma=[-0.2, 0.2], noise=0.1)


@pytest.mark.parametrize("options", [AugmentConfig(), EVERYTHING], ids=["turns", "everything"])
def test_a_photograph_is_augmented_alike_whoever_does_it(options):
    images = torch.rand(7, 3, 16, 16)

    def changed(share):
        return augment(images[share], options, torch.Generator().manual_seed(3), 7, share)

    shares = torch.cat([changed(slice(0, 3)), changed(slice(3, 7))])
    torch.testing.assert_close(shares, augment(images, options, torch.Generator().manual_seed(3)))


RUN = [
    "-m",
    "twostage",
    "train",
    "data.count=60",
    "image.size=32",
    "train.epochs=30",
    "bins.count=3",
    "seed=3",
    "runtime.precision=float32",
    "combine.views=1",
    "runtime.checkpoint_seconds=0",
    "runtime.threads=1",
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes through /proc")
def test_the_command_under_torchrun_is_killed_and_goes_on(tmp_path):
    whole = output([*TORCHRUN, *RUN, "run=whole"], tmp_path)
    assert whole.stdout.count("Test set:") == 1  # one process talks
    assert whole.stderr.count("photographs: 60") == 1
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen([*TORCHRUN, *RUN, "run=killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        last = tmp_path / "outputs" / "killed" / "classifier" / "last.pt"
        wait_until_written(last, written(last))
        for worker in processes_in(tmp_path) if number == signal.SIGKILL else [process.pid]:
            os.kill(worker, number)
        process.wait()
        assert not (tmp_path / "outputs" / "killed" / "metrics.json").exists()
    output([*TORCHRUN, *RUN, "run=killed"], tmp_path)
    np.testing.assert_array_equal(curve(tmp_path, "killed"), curve(tmp_path, "whole"))
    weights = [(tmp_path / "outputs" / run / "model" / "regressor.safetensors") for run in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not list((tmp_path / "outputs").rglob("*.tmp"))


@pytest.mark.slow
def test_mistakes_under_torchrun_are_said_once(tmp_path):
    command = [*TORCHRUN, "-m", "twostage", "train", "data=csv", "data.table=none.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode
    assert done.stderr.count("none.csv: no such table") == 1


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes through /proc")
@pytest.mark.parametrize("restarts", [0, 1])
def test_one_worker_is_killed(tmp_path, restarts):
    """Without restarts one line says so and the same command goes on; with one the command itself does."""
    output([*TORCHRUN, *RUN, "run=whole"], tmp_path)
    command = [*TORCHRUN, "--max-restarts", str(restarts), *RUN, "run=killed"]
    fresh = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # else torch has new workers look for dead ones
    process = subprocess.Popen(command, cwd=tmp_path, env=fresh, stderr=subprocess.PIPE, text=True)
    wait_until_written(tmp_path / "outputs" / "killed" / "classifier" / "last.pt")
    for worker in processes_in(tmp_path, RANK="1"):
        os.kill(worker, signal.SIGKILL)
    said = process.communicate(timeout=PATIENCE)[1]
    assert "Exception ignored" not in said
    assert said.count("twostage: ") == 1, said  # that another process has ended, or that torchrun stopped it first
    if restarts:
        assert process.returncode == 0, said
        assert "goes on at epoch" in said
    else:
        assert process.returncode, said
        assert not (tmp_path / "outputs" / "killed" / "metrics.json").exists()
        output([*TORCHRUN, *RUN, "run=killed"], tmp_path)
    np.testing.assert_array_equal(curve(tmp_path, "killed"), curve(tmp_path, "whole"))
    weights = [(tmp_path / "outputs" / name / "model" / "regressor.safetensors") for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_command_that_may_start_anew_has_a_name_and_a_place_to_meet(run, monkeypatch, here):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    one_line(run("train", "data.count=60"), "--max-restarts", "give run=NAME")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    one_line(run("train", "data.count=60", "run=a"), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1")
