"""Training on two machines, which are two network namespaces of this one: each has its own addresses, and one cable."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from processes import HERE, PATIENCE, PYTHON_TORCHRUN, output

PORT = "29511"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def machines():
    """The names of two namespaces, whose network device `cable` leads from 10.77.0.1 to 10.77.0.2."""
    if shutil.which("ip") is None:
        pytest.skip("two machines are two network namespaces, and there is no command `ip` to make them")
    names = [f"twostage-{os.getpid()}-{i}" for i in (0, 1)]
    try:
        for name in names:
            made = ip("netns", "add", name)
            if made.returncode:
                pytest.skip(
                    f"two machines are two network namespaces, which cannot be made here: {made.stderr.strip()}"
                )
        peer = ["peer", "name", "cable", "netns", names[1]]
        made = [ip("-n", names[0], "link", "add", "cable", "type", "veth", *peer)]
        for i, name in enumerate(names):
            made.append(ip("-n", name, "address", "add", f"10.77.0.{i + 1}/24", "dev", "cable"))
            made += [ip("-n", name, "link", "set", device, "up") for device in ("lo", "cable")]
        if any(step.returncode for step in made):
            pytest.skip("no cable can be laid between network namespaces here: " + " ".join(s.stderr for s in made))
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


def start(machine, number, *command, cwd):
    words = ["--nnodes", "2", "--node-rank", str(number), "--nproc-per-node", "1", "--master-addr", "10.77.0.1"]
    return subprocess.Popen(
        ["ip", "netns", "exec", machine, *PYTHON_TORCHRUN, *words, "--master-port", PORT, *command],
        cwd=cwd,
        env=os.environ | {"GLOO_SOCKET_IFNAME": "cable"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(processes):
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
def test_two_machines_train_as_one_process_does(machines):
    script = str(HERE / "two_processes.py")
    one = json.loads(output([sys.executable, script]).stdout)
    (first, _), (second, _) = ends([start(name, i, script, cwd=HERE) for i, name in enumerate(machines)])
    np.testing.assert_allclose(json.loads(first), one, rtol=1e-9)
    assert second == ""
