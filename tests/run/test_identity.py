"""A run is what its folder holds: another folder, another table or other photographs are another run."""

import json
import os
import shutil

import pytest
from helpers import TINY, TINY_TABLE, one_line

from twostage.run.folder import RunFolder, find_run


def contents(folder):
    """Every file below a folder, but for the lock."""
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_copied_or_renamed_run_is_the_folder_that_is_named(here, once, run, how):
    once("train", *TINY, "run=a")
    before = contents(here / "outputs/a")
    how(here / "outputs/a", here / "outputs/b")
    (here / "outputs/b/metrics.json").unlink()
    (here / "outputs/b/model/regressor.safetensors").unlink()
    status, out, err = run("train-regressor", "run=b")
    assert status == 0, err
    assert "outputs/b" in out
    assert "run=b" in out
    status, out, err = run("evaluate", "run=b")
    assert status == 0, err
    assert "Results in outputs/b" in out
    assert json.loads((here / "outputs/b/metrics.json").read_text())["n_test_openings"] == 2
    assert find_run("b").saved_config().run == "b"
    if how is shutil.copytree:
        assert contents(here / "outputs/a") == before
    else:
        assert not (here / "outputs/a").exists()


def test_a_copy_with_other_options_is_compared_with_itself(here, once, run):
    once("train", *TINY, "run=a")
    shutil.copytree(here / "outputs/a", here / "outputs/b")
    one_line(run("evaluate", *TINY, "run=b", "bins.count=4"), "run 'b' is finished", "delete outputs/b")


@pytest.mark.parametrize("name", ["a", "sweep/0", "outputs/a", "outputs/outputs/a", "/somewhere/a"])
def test_a_folder_knows_by_which_name_it_is_found(name):
    folder = RunFolder.named(name)
    assert RunFolder.named(folder.run).path == folder.path
    assert RunFolder.named("a").run == "a"


@pytest.mark.parametrize("name", ["a", "sweep/0", "elsewhere"])
def test_latest_is_the_folder_that_it_leads_to(here, name):
    folder = RunFolder.named(str(here / "elsewhere/a") if name == "elsewhere" else name)
    folder.path.mkdir(parents=True)
    folder.config.write_text("")
    (here / "outputs").mkdir(exist_ok=True)
    os.symlink(os.path.relpath(folder.path, "outputs"), "outputs/latest")
    found = find_run("latest")
    assert found.path.resolve() == folder.path.resolve()
    assert RunFolder.named(found.run).path.resolve() == folder.path.resolve()
    assert found.name == folder.name
