"""A server under load: 32 clients at once, one upload in ten broken; is every request answered rightly, how soon?"""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from common import TWOSTAGE, files_of, photographs, twostage

CLIENTS, REQUESTS, ROUNDS = 32, 500, 4
BROKEN = ("not_a_photograph", "cut_photograph", "no_end", "too_large", "hangs_up")
"""One request in ten is broken, in these ways in turn."""
NEAR = 0.05
"""Of a range of 270: float32 adds up otherwise in another batch, which a robust surface may enlarge."""
STATUS = {"no_end": 400, "too_large": 413}
HEAD = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'
KIND = {"Content-Type": "multipart/form-data; boundary=x"}


def run(work):
    from twostage import Predictor

    files = [file.read_bytes() for file in files_of(photographs(work / "photographs", 1024))[:REQUESTS]]
    if not (work / "outputs" / "predict" / "metrics.json").is_file():
        twostage(work, "train", "run=predict", "data.count=200", "train.epochs=2", "runtime.precision=float32")
    predictor = Predictor.load(work / "outputs" / "predict")
    predictor.predict(files[:8])
    begin = time.perf_counter()
    expected = predictor.predict(files).concentration
    offline = len(files) / (time.perf_counter() - begin)
    with Served(work, "limits.file_mb=1") as served:
        rows = [served.round(number, files, expected) for number in range(ROUNDS)]
        rows[-1]["leftovers"] += json.loads(ask(served.port, "GET", "/health")[1])["requests"]
    return [row | {"predict_images_per_second": round(offline, 1)} for row in rows]


class Served:
    """`twostage serve` in a process of its own."""

    def __init__(self, folder, *options):
        words = [*TWOSTAGE, "serve", "run=predict", "port=0", "limits.client_requests=64", *options]
        self.process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True)
        while (found := re.search(r"served at http://\S+:(\d+)/", line := self.process.stderr.readline())) is None:
            if not line:
                raise SystemExit("twostage serve did not start")
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60):
            raise SystemExit(f"twostage serve ended with status {self.process.returncode}")

    def memory(self, name="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as file:
            return round(int(re.search(rf"{name}:\s+(\d+)", file.read())[1]) / 1024)

    def round(self, number, files, expected):
        """All requests once; how many were answered wrongly, and in which time."""
        seconds, wrong = {}, []

        def one(i):
            broken = BROKEN[i // 10 % len(BROKEN)] if i % 10 == 3 else None
            begin = time.perf_counter()
            if broken == "hangs_up":
                hang_up(self.port, files[i])
                return
            status, answer = ask(self.port, "POST", "/predict", body_of(files[i], f"{i}.jpg", broken))
            seconds[i] = time.perf_counter() - begin
            if status != STATUS.get(broken, 200) or not is_right(json.loads(answer), i, broken, expected):
                wrong.append(f"{i} ({broken}): {status} {answer[:200]}")

        begin = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(one, range(len(files))))
        spent = time.perf_counter() - begin
        for line in wrong[:5]:
            print(line, flush=True)
        hung_up = len(files) // 50
        good = [value for i, value in seconds.items() if i % 10 != 3]
        return {
            "round": number,
            "clients": CLIENTS,
            "requests": len(files),
            "broken": len(files) // 10,
            "differences": len(wrong),
            "leftovers": len(files) - hung_up - len(seconds),
            "p50_ms": round(1000 * float(np.quantile(good, 0.5))),
            "p99_ms": round(1000 * float(np.quantile(good, 0.99))),
            "requests_per_second": round(len(files) / spent, 1),
            "memory_mb": self.memory(),
            "peak_mb": self.memory("VmHWM"),
        }


def body_of(content, name, broken):
    if broken == "not_a_photograph":
        content = b"no photograph"
    elif broken == "cut_photograph":
        content = content[: len(content) // 2]
    elif broken == "too_large":
        content = bytes(1_500_000)
    return HEAD.format(name).encode() + content + (b"" if broken == "no_end" else b"\r\n--x--\r\n")


def is_right(answer, i, broken, expected):
    if broken in STATUS:
        return isinstance(answer["detail"], str)
    [row] = answer["rows"]
    if broken:
        return row["status"] == "refused" and row["concentration"] is None and row["image"] == f"{i}.jpg"
    return row["image"] == f"{i}.jpg" and abs(row["concentration"] - expected[i]) < NEAR


def ask(port, method, path, body=None):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        client.request(method, path, body, KIND)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def hang_up(port, content):
    with socket.create_connection(("127.0.0.1", port)) as gone:
        body = body_of(content, "gone.jpg", None)
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {KIND['Content-Type']}\r\n"
        gone.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
