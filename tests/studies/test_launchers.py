"""Sweeps on launchers of Hydra, each as far as one machine can."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers import TINY, one_line

CLUSTER = Path(__file__).parents[2] / "docs" / "examples" / "cluster"
OPTIONS = [*TINY[1:], "train.epochs=2", "method=direct", "runtime.threads=1"]

SBATCH = """#!/bin/sh
cp "$1" submitted.sh
for task in 0 1 2; do
  SLURM_JOB_ID=8$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task sh "$1" > /dev/null 2>&1 &
done
echo Submitted batch job 7
"""
SRUN = """#!/bin/sh
export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here
name=$(echo "$3" | sed "s/%A/7/; s/%a/$SLURM_ARRAY_TASK_ID/; s/%t/0/")
shift 5
exec "$@" > "$name" 2>&1
"""
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
for task in 0 1 2; do echo "7_$task|RUNNING|here"; done
"""
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "submitit_slurm": ["hydra.launcher.cpus_per_task=3", "hydra.launcher.timeout_min=77"],
}


@pytest.fixture
def slurm(tmp_path):
    """The commands of Slurm, as far as submitit asks for them, on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def sweep(folder, environment, *words):
    command = [sys.executable, "-m", "twostage", "train", "-m", *OPTIONS, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_runs_beside_each_other_are_those_one_by_one(here, run, slurm, launcher):
    """They share the store of decoded photographs, one of them fails, and the table at the end has all others."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher", reason="needs the extra `sweep`")
    done = sweep(here, slurm, f"hydra/launcher={launcher}", *LAUNCHERS[launcher], "run=s", "data.count=60,4,61")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("twostage: 1 run of the sweep failed: 1 (data.count=4 is out of range")
    table = pd.read_csv(here / "outputs/s/leaderboard.csv")
    assert sorted(table["run"]) == [0, 2]
    assert done.stdout.count("The sweep so far") == 1
    if launcher == "submitit_slurm":
        script = (here / "submitted.sh").read_text()
        for line in ("--array=0-2%3", "--cpus-per-task=3", "--time=77", "--job-name=twostage"):
            assert f"#SBATCH {line}\n" in script
    status, _, _ = run("train", *OPTIONS, "run=alone", "data.count=60")
    assert status == 0
    metrics = [json.loads((here / f"outputs/{name}/metrics.json").read_text()) for name in ("s/0", "alone")]
    assert metrics[0]["rmse"] == metrics[1]["rmse"]


def test_a_run_that_fails_does_not_end_its_sweep(here, run):
    status, _, err = run("train", "-m", *OPTIONS, "run=s", "data.count=4,60")
    assert status == 1
    assert [line for line in err.splitlines() if line.startswith("twostage: ")] == [
        "twostage: run outputs/s/0: data.count=4 is out of range: allowed is 20..1e+06",
        "twostage: 1 run of the sweep failed: 0 (data.count=4 is out of range: allowed is 20..1e+06); the same command "
        "tries them again",
    ]
    assert pd.read_csv(here / "outputs/s/leaderboard.csv")["run"].tolist() == [1]
    status, _, err = run("train", "-m", *OPTIONS, "run=s", "data.count=60")
    assert status == 0, err  # what failed is forgotten


def test_a_launcher_that_is_not_there_is_named(run, here):
    one_line(run("train", "-m", "hydra/launcher=ray", "seed=1,2"), "hydra/launcher=ray is not known", "twostage[sweep]")


@pytest.mark.slow
def test_the_recipe_for_ray_sweeps(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `ray`")
    command = [sys.executable, str(CLUSTER / "sweep_on_ray.py"), "run=s", *OPTIONS, "data.count=60,4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "1 twostage: data.count=4 is out of range" in done.stdout
    assert pd.read_csv(tmp_path / "outputs/s/leaderboard.csv")["run"].tolist() == [0]


@pytest.mark.parametrize("file", sorted(CLUSTER.glob("*.sbatch")), ids=lambda file: file.name)
def test_the_options_of_the_files_for_slurm_are_known(file):
    text = file.read_text().replace("\\\n", " ")
    assert subprocess.run(["bash", "-n", str(file)]).returncode == 0
    words = re.search(r"twostage train (.*)", text)[1].split("'")[0].split()
    check = "import sys; from twostage.options.compose import load_config; load_config(sys.argv[1:])"
    composed = [re.sub(r"(=[^,]*),.*", r"\1", word) for word in words if word != "-m"]
    done = subprocess.run([sys.executable, "-c", check, *composed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
