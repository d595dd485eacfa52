"""Short trainings under torchrun, one after another: how do their processes end?

A process that dies at its very end, after all was saved, shows in the exit status and in a line on stderr alone.
"""

import collections
import re
import shutil
import subprocess
import sys
import time

from common import seconds

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
OPTIONS = ["data.count=60", "image.size=32", "train.epochs=2", "bins.count=2", "combine.views=1", "runtime.threads=1"]
CRASHES = re.compile("terminate called|Signal|exitcode|Traceback")
"""What stderr says of a process that ended badly; torchrun itself prints the last three."""


def run(work, options=()):
    """``runs=200`` trainings by ``processes=2``; one row for each exit status and set of lines that came."""
    asked = {"runs": "200", "processes": "2"} | dict(option.split("=", 1) for option in options)
    folder = work / "torchrun"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ends, took = collections.Counter(), collections.Counter()
    for number in range(int(asked["runs"])):
        command = [
            *TORCHRUN,
            "--nproc-per-node",
            asked["processes"],
            "-m",
            "twostage",
            "train",
            f"run={number}",
            *OPTIONS,
        ]
        ended = []
        time_taken = seconds(lambda command=command, ended=ended: ended.append(_end(command, folder)))
        ends[ended[0]] += 1
        took[ended[0]] += time_taken
        shutil.rmtree(folder / "outputs" / str(number), ignore_errors=True)
        print(f"{time.strftime('%H:%M:%S')} {number + 1} runs: {dict(ends)}", file=sys.stderr, flush=True)
    return [
        {"status": status, "lines": lines, "runs": count, "differences": count if status or lines else 0}
        | {"seconds": took[status, lines] / count}
        for (status, lines), count in ends.items()
    ]


def _end(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, " / ".join(sorted({line for line in done.stderr.splitlines() if CRASHES.search(line)}))
