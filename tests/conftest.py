import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from PIL import Image

from twostage.cli import main
from twostage.data.simulated import render_photographs, sample_targets

pytest.register_assert_rewrite("helpers")  # before anything imports it, so that its assertions say what they compared


os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests start


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks gain nothing from a second thread, and threads wait for one another on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def one_store():
    """Hydra copies all schemas for each command, in a third of a second, and changes nothing of them."""
    ConfigStore.__deepcopy__ = lambda self, _: self


@pytest.fixture(autouse=True)
def quick_measurement(monkeypatch):
    """A few steps are enough to choose a number format where speed does not matter."""
    monkeypatch.setattr("twostage.training.precision.SECONDS", 0.0)


@pytest.fixture
def drawn():
    """What a test takes that looks at figures."""


@pytest.fixture(autouse=True)
def blank_figures(request, monkeypatch):
    """Figures are composed and written, but stay blank where no test looks at them: half of a tiny run is drawing."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("matplotlib.figure.Figure.draw", lambda *_: None)
        monkeypatch.setattr("twostage.report.canvas.DPI", 20)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(here):
    """40 photographs of 10 specimens in photos.csv: columns image, target, group, day."""
    targets = np.repeat(sample_targets(10, 80, 350, "uniform", 0), 4)
    lines = ["image,target,group,day"]
    for i, pixels in enumerate(render_photographs(targets, 40, 0)):
        Image.fromarray(pixels).save(here / f"p{i:02d}.png")
        lines.append(f"p{i:02d}.png,{targets[i]:.3f},g{i // 4},{'mon' if i < 28 else 'tue'}")
    (here / "photos.csv").write_text("\n".join(lines) + "\n")
    return here


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the command line in this process: run("train", ...) -> (exit status, stdout, stderr)."""
    # Hydra composes all options a first time only to learn whether they set hydra.mode
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(scope="session")
def nitrite(tmp_path_factory):
    """Options of a run on the real photographs of nitrite, which are decoded once for each size."""
    from helpers import SHARED

    table = SHARED / "nitrite" / "labels.csv"
    return ["data=csv", f"data.table={table}", f"runtime.cache_dir={tmp_path_factory.mktemp('nitrite')}"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """What `once` has done so far: {command and table: (what it answered, the outputs it left)}."""
    return {}


@pytest.fixture
def once(run, finished, tmp_path_factory):
    """As `run`, for the first command of a test; what it leaves is copied where an earlier test gave the same one."""

    def call(*arguments: str) -> tuple[int, str, str]:
        assert not Path("outputs").exists()
        key = (*arguments, Path("photos.csv").read_text() if "data=csv" in arguments else "")
        if key in finished:
            answer, kept = finished[key]
            shutil.copytree(kept, "outputs", symlinks=True)
            return answer
        answer = run(*arguments)
        kept = tmp_path_factory.mktemp("once") / "outputs"
        shutil.copytree("outputs", kept, symlinks=True)
        finished[key] = answer, kept
        return answer

    return call


@pytest.fixture
def bench(monkeypatch):
    """Import a module of tests/benchmarks by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    return importlib.import_module
