"""Processes of torchrun, and how tests look after them."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent / "training"
PYTHON_TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TORCHRUN = [*PYTHON_TORCHRUN, "--standalone", "--nproc-per-node", "2"]
PATIENCE = 600  # seconds: processes that wait for each other are slow where the machine has other work


def output(command, cwd=HERE):
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done


def curve(folder, run):
    frames = [pd.read_csv(folder / "outputs" / run / stage / "history.csv") for stage in ("classifier", "regressor")]
    return pd.concat(frames)[["learning_rate", "train_loss", "validation_rmse"]].to_numpy()


def written(path):
    return path.stat().st_mtime_ns if path.is_file() else 0


def wait_until_written(path, before=0, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while written(path) == before and time.monotonic() < deadline:
        time.sleep(0.05)


def processes_in(folder, **environment):
    """Those that work in a folder, with these variables: torchrun and what it started, in sessions of their own."""
    wanted = {f"{name}={value}" for name, value in environment.items()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            at_home = (process / "cwd").resolve() == folder.resolve()
            if at_home and wanted <= set((process / "environ").read_text().split("\0")):
                yield int(process.name)
