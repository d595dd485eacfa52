"""The server itself: slow and broken clients, ports, signals; on sockets of this computer."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import one_line

from twostage.serve import server

ROOT = Path(__file__).resolve().parents[2]
KIND = "multipart/form-data; boundary=x"


def form(*contents):
    head = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'
    parts = [head.format(i).encode() + content + b"\r\n" for i, content in enumerate(contents)]
    return b"".join(parts) + b"--x--\r\n"


def head(length, path="/predict"):
    kind = f"Content-Type: {KIND}\r\nContent-Length: {length}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n".encode()


def port_of(listener):
    return listener.getsockname()[1]


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer_on(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def ask(port, path, body=None, headers=()):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET" if body is None else "POST", path, body, {"Content-Type": KIND, **dict(headers)})
    answer = client.getresponse()
    text = answer.read()
    client.close()
    return answer.status, text


def is_idle(port):
    """Whether nobody is inside, within a second."""
    for _ in range(100):
        if json.loads(ask(port, "/health")[1])["requests"] == 0:
            return True
        time.sleep(0.01)
    return False


def ended(connection):
    """Seconds until the server ends a connection."""
    begin = time.perf_counter()
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return time.perf_counter() - begin


def test_who_sends_too_slowly_is_told_and_others_are_read(live, pngs):
    port = port_of(live(seconds=0.5))
    body = form(pngs[0])
    with connected(port) as slow:
        slow.sendall(head(len(body)) + body[:100])
        assert ask(port, "/predict", form(*pngs[:2]))[0] == 200
        status, said = answer_on(slow)
        assert status == 408
        assert "0.5 seconds" in said["detail"]
        assert ended(slow) < 3  # the rest is not waited for
    assert is_idle(port)


@pytest.mark.parametrize("sent", [b"", b"POST /pre", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_connection_on_which_no_request_comes_ends(live, sent):
    port = port_of(live(seconds=0.3))
    with connected(port) as silent:
        silent.sendall(sent)
        assert 0.1 < ended(silent) < 3


def test_a_connection_is_used_again_and_ends_when_it_rests(live, pngs):
    port = port_of(live(seconds=0.5))
    with connected(port) as twice:
        for _ in range(2):
            body = form(pngs[0])
            twice.sendall(head(len(body)) + body)
            status, said = answer_on(twice)
            assert status == 200
            assert len(said["rows"]) == 1
        twice.sendall(b"G")
        assert 0.1 < ended(twice) < 3


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.95])
def test_who_leaves_half_way_leaves_nothing_behind(live, pngs, caplog, part, reset):
    port = port_of(live())
    body = form(*pngs)
    for _ in range(5):
        with connected(port) as gone:
            gone.sendall(head(len(body)) + body[: int(part * len(body))])
            if reset:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert is_idle(port)
    assert ask(port, "/predict", body)[0] == 200
    assert caplog.text == ""


def test_who_leaves_before_the_answer_is_no_trouble(live, pngs, caplog):
    port = port_of(live())
    body = form(*pngs)
    for _ in range(5):
        with connected(port) as gone:
            gone.sendall(head(len(body)) + body)
    assert ask(port, "/predict", body)[0] == 200
    assert is_idle(port)
    assert caplog.text == ""


def test_a_length_beyond_the_limit_is_refused_before_it_is_sent(live):
    port = port_of(live(request_mb=1.0))
    with connected(port) as large:
        large.sendall(head(10**15))
        assert answer_on(large)[0] == 413


@pytest.mark.parametrize("limits", [{"request_mb": 0.1}, {"file_mb": 0.1}, {"held_mb": 0.1}])
def test_a_length_that_is_not_told_is_counted_while_it_comes(live, limits):
    port = port_of(live(**limits))
    with connected(port) as endless:
        chunk = b"%x\r\n%s\r\n" % (50_000, bytes(50_000))
        endless.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        start = form(b"").split(b"\r\n--x--")[0]
        endless.sendall(b"%x\r\n%s\r\n" % (len(start), start) + 4 * chunk)
        status, said = answer_on(endless)
        assert status == (503 if "held_mb" in limits else 413)
        assert list(said) == ["detail"]
    assert is_idle(port)


@pytest.mark.parametrize(
    "sent", [b"\0\1\2\3\r\n\r\n", b"GET http:// HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\n" + bytes(70_000)]
)
def test_what_is_no_request_ends_its_connection_alone(live, sent):
    port = port_of(live())
    with connected(port) as wrong:
        wrong.sendall(sent)
        assert wrong.recv(100).startswith(b"HTTP/1.1 400 ")
    assert ask(port, "/health")[0] == 200


def test_more_connections_than_can_be_held_are_closed(live, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    port = port_of(live(seconds=5))
    kept = [connected(port) for _ in range(3)]
    time.sleep(0.1)
    with connected(port) as more:
        assert ended(more) < 1
    for one in kept:
        one.close()
    time.sleep(0.1)
    assert ask(port, "/health")[0] == 200


def test_who_takes_nothing_of_the_answers_is_left(live):
    listener = live(seconds=0.3)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # else this computer takes megabytes for the client
    count, size = 100, len(ask(port_of(listener), "/")[1])
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(listener.getsockname())
        idle.sendall(count * b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while chunk := idle.recv(1 << 20):
                taken += len(chunk)
    assert taken < count * size / 2


class Process:
    """The command in a process of its own, in an empty folder."""

    def __init__(self, folder, model, *options):
        words = [sys.executable, "-m", "twostage", "serve", f"run={model}", "port=0", *options]
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder)}
        self.process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment)
        self.said = []
        while "is served at" not in (line := self.process.stderr.readline()):
            assert line, self.said
            self.said.append(line)
        self.address = re.search(r"http://\S+", line)[0]
        self.port = int(re.search(r":(\d+)/", self.address)[1])

    def end(self, number):
        self.process.send_signal(number)
        self.said += self.process.communicate(timeout=20)[1].splitlines()
        return self.process.returncode


@pytest.mark.slow
def test_a_process_answers_to_its_end_without_its_model_folder(served_model, tmp_path, run, pngs):
    model, body = tmp_path / "model", form(*pngs)
    shutil.copytree(served_model / "model", model)
    folder = tmp_path / "empty"
    folder.mkdir()
    process = Process(folder, model)
    shutil.rmtree(model)  # it is in memory
    one_line(run("serve", f"port={process.port}", "run=nothing"), f"port={process.port} is in use", "port=0")
    with connected(process.port) as late, connected(process.port) as silent:
        late.sendall(head(len(body)) + body[:-100])
        assert ask(process.port, "/predict", body)[0] == 200
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        late.sendall(body[-100:])
        status, said = answer_on(late)
        assert status == 200
        assert len(said["rows"]) == 6
        assert ended(silent) < 3
    assert process.process.wait(20) == 0
    assert process.process.stderr.read() == "no longer served\n"
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_any_other_address_makes_a_token_and_control_c_ends_it(served_model, tmp_path):
    process = Process(tmp_path, served_model, "host=0.0.0.0", "log=true")
    token = process.address.partition("#token=")[2]
    assert len(token) >= 32
    assert ask(process.port, "/card")[0] == 401
    assert ask(process.port, "/card", headers={"Authorization": f"Bearer {token}", "Host": "any.example"})[0] == 200
    assert process.end(signal.SIGINT) == 0
    assert [" ".join(line.split()[:4]) for line in process.said[-3:-1]] == [
        "127.0.0.1 GET /card 401",
        "127.0.0.1 GET /card 200",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["run=nothing"], ["no run 'nothing'", "twostage train"]),
        (["host=192.0.2.1"], ["host=192.0.2.1 is no address of this computer", "127.0.0.1"]),
        (["host=no.such.host.invalid"], ["host=no.such.host.invalid is no address", "0.0.0.0"]),
        (["host=" + 70 * "a"], ["is no address"]),
        (["host=a..b"], ["is no address"]),
        (["port=70000"], ["port=70000 is out of range"]),
        (["token=short"], ["16 or more"]),
        (["token='with a space and more'"], ["16 or more"]),
        (["limits.files=0"], ["limits.files=0 is out of range"]),
        (["confidence=0.999"], ["confidence=0.999 needs"]),
    ],
)
def test_a_mistake_is_one_line(served_model, here, run, options, words):
    given = [] if options[0].startswith("run=") else [f"run={served_model}"]
    one_line(run("serve", "port=0", *given, *options), *words)


def test_without_the_extra_one_line_says_how_to_get_it(here, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "twostage.serve.server")
    one_line(run("serve", "run=nothing"), "uvicorn", "pip install 'twostage[serve]'")
