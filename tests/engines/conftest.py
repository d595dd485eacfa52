import os
import signal

import numpy as np
import pytest
from helpers import TINY
from PIL import Image

from twostage.data.simulated import render_photographs
from twostage.options.compose import load_config
from twostage.orchestrator import train

COUNT = 40


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a tiny model and photographs p00.png to p39.png."""
    folder, before = tmp_path_factory.mktemp("engines"), os.getcwd()
    os.chdir(folder)
    try:
        train(load_config([*TINY, "run=a", "runtime.threads=1", "runtime.precision=float32"]))
    finally:
        os.chdir(before)
    for i, pixels in enumerate(render_photographs(np.linspace(90, 340, COUNT), 40, 7)):
        Image.fromarray(pixels).save(folder / f"p{i:02d}.png")
    return folder


@pytest.fixture
def work(trained, here):
    """A working folder of its own, with links to that model and these photographs."""
    for path in trained.iterdir():
        (here / path.name).symlink_to(path)
    return here


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster of two workers, on which all commands of this process run."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from twostage.engines import ray_engine

    ray, before = ray_engine.imported(), signal.getsignal(signal.SIGTERM)
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=2, object_store_memory=2**27, **quiet)
    signal.signal(signal.SIGTERM, before)
    yield ray
    ray.shutdown()
