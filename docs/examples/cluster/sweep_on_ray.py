"""A sweep on Ray: each run is a task with a processor of its own, on whatever machine of the cluster has one free.

`python sweep_on_ray.py run=NAME experiment=smoke bins.count=6,9 seed=0,1`, in a folder that all machines share.
"""

import itertools
import subprocess
import sys
from pathlib import Path

import ray

from twostage.studies.sweep import sweep_so_far


@ray.remote(num_cpus=1, max_retries=2)  # a task whose machine is lost is given to another, and goes on there
def train(*options):
    command = [sys.executable, "-m", "twostage", "train", *options, "runtime.threads=1", "runtime.progress=false"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder).stderr.splitlines()[-1:]


folder, (run, *options) = Path.cwd(), sys.argv[1:]
values = [[f"{name}={value}" for value in text.split(",")] for name, text in (word.split("=", 1) for word in options)]
ray.init(ignore_reinit_error=True, log_to_driver=False)
tasks = [train.remote(f"{run}/{number}", *words) for number, words in enumerate(itertools.product(*values))]
for number, said in enumerate(ray.get(tasks)):
    print(number, *said)
print(sweep_so_far(Path("outputs") / run.removeprefix("run=")))
