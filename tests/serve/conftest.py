import contextlib
import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from fastapi.testclient import TestClient
from helpers import TINY

from twostage.data.simulated import render_photographs
from twostage.options.compose import load_config
from twostage.options.serve import LimitsConfig
from twostage.orchestrator import train
from twostage.predictor import Predictor
from twostage.serve.app import make_app
from twostage.serve.server import listen, make_server


@pytest.fixture(scope="session")
def served_model(tmp_path_factory):
    """The folder of a tiny model."""
    folder, before = tmp_path_factory.mktemp("served"), os.getcwd()
    os.chdir(folder)
    try:
        train(load_config([*TINY, "run=tiny"]))
    finally:
        os.chdir(before)
    return folder / "outputs" / "tiny"


@pytest.fixture(scope="session")
def predictor(served_model):
    return Predictor.load(served_model, "cpu")


@pytest.fixture(scope="session")
def pngs():
    """Photographs as files, by their bytes."""
    found = []
    for pixels in render_photographs(np.linspace(90, 340, 6), 48, 3):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        found.append(file.getvalue())
    return found


@pytest.fixture
def opened(predictor):
    """An application with limits: opened(files=3) -> its client."""
    clients = []

    def client(*, token=None, local=True, headers=None, **limits):
        app = make_app(predictor, LimitsConfig(**limits), token=token, local=local)
        clients.append(TestClient(app, "http://localhost", headers=headers))
        return clients[-1].__enter__()

    yield client
    for one in clients:
        one.__exit__(None, None, None)


@pytest.fixture
def live(predictor):
    """Start a server on a socket of this process: live(seconds=1) -> its listening socket."""
    with contextlib.ExitStack() as stack:

        def start(predictor=predictor, *, token=None, **limits):
            given = LimitsConfig(**limits)
            listener = stack.enter_context(listen("127.0.0.1", 0))
            server = make_server(make_app(predictor, given, token=token), given.seconds)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()

            def stop():
                server.should_exit = True
                thread.join(10)
                assert not thread.is_alive()

            stack.callback(stop)
            return listener

        yield start
