import contextlib
import os
import subprocess
import sys

import pytest
from helpers import TINY

from twostage.training.checkpoint import Checkpoint


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_if_it_never_was(bench, tmp_path):
    *_, total = bench("resume").run(tmp_path, kills=6)
    assert total["kills"] == 6
    assert total["classifier"] + total["regressor"] + total["evaluation"] >= 3
    assert (total["differences"], total["leftovers"]) == (0, 0)


@contextlib.contextmanager
def mounted(folder, size):
    """A file system of so many bytes, where this process may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            try:
                yield
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    pytest.skip("needs the right to mount a file system")


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_the_checkpoint_whole(tmp_path):
    with mounted(tmp_path / "small", 30_000_000):
        command = [sys.executable, "-m", "twostage", "train", *TINY, "run=a", "runtime.threads=1"]
        classifier = [word.replace("train", "train-classifier") if word == "train" else word for word in command]
        subprocess.run(classifier, cwd=tmp_path / "small", check=True, capture_output=True)
        filler = tmp_path / "small" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        full = subprocess.run(command, cwd=tmp_path / "small", capture_output=True, text=True)
        assert full.returncode == 1
        assert full.stderr.splitlines()[-1].startswith("twostage: ")
        assert "No space left on device" in full.stderr
        assert "Traceback" not in full.stderr
        assert Checkpoint(tmp_path / "small" / "outputs" / "a" / "classifier", force=True).load() is not None
        filler.unlink()
        subprocess.run(command, cwd=tmp_path / "small", check=True, capture_output=True)


def test_a_run_folder_that_cannot_be_written_gets_one_line(here, run):
    (here / "outputs").mkdir()
    if os.geteuid():
        (here / "outputs").chmod(0o500)
    else:  # who may write everywhere is stopped by a file in the folder's place
        (here / "outputs" / "a").write_text("")
    status, _, err = run("train", *TINY, "run=a", f"runtime.cache_dir={here / 'cache'}")
    (here / "outputs").chmod(0o700)
    assert status == 1
    assert err.splitlines()[-1].startswith("twostage: outputs/a: cannot be written (")
    assert "Traceback" not in err
