"""What is sent is answered, whatever it is: a row for each file, or one sentence."""

import asyncio
import base64
import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import files, refused

from twostage.options.serve import LimitsConfig
from twostage.serve import uploads
from twostage.serve.app import make_app
from twostage.serve.reader import Reader

NOTHING = ("concentration", "lower", "upper", "bin_index", "bin_low", "bin_high", "bin_probability", "picture")
FORM = {"content-type": "multipart/form-data; boundary=x"}
PART = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'


def test_rows_are_those_of_predict_in_the_order_of_the_files(opened, predictor, pngs):
    answer = opened().post("/predict", files=files(*pngs))
    assert answer.status_code == 200
    rows, expected = answer.json()["rows"], predictor.predict(pngs).to_frame()
    assert [row["image"] for row in rows] == [f"{i}.png" for i in range(6)]
    np.testing.assert_allclose([row["concentration"] for row in rows], expected["concentration"], rtol=1e-5)
    for name in ("bin_index", "status", "reason"):
        assert [row[name] for row in rows] == expected[name].tolist()
    assert set(expected.columns) <= set(rows[0])
    np.testing.assert_allclose([sum(row["bin_probabilities"]) for row in rows], 1)
    assert {row["picture"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (b"", "not a photograph"),
        (b"no photograph at all", "not a photograph"),
        (b"\xff\xd8\xff\xe0" + bytes(500), ""),
        (lambda png: png[: len(png) // 2], ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a photograph"),
    ],
)
def test_a_file_that_is_no_photograph_costs_its_own_row_alone(opened, predictor, pngs, broken, word):
    broken = broken(pngs[0]) if callable(broken) else broken
    rows = opened().post("/predict", files=files(pngs[0], broken, pngs[1])).json()["rows"]
    assert rows[1]["status"] == "refused"
    assert word in rows[1]["reason"]
    assert rows[1]["reason"]
    assert {rows[1][name] for name in NOTHING} == {None}
    assert rows[1]["bin_probabilities"] == [None] * predictor.model.bins.count
    np.testing.assert_allclose(
        [rows[0]["concentration"], rows[2]["concentration"]], predictor.predict(pngs[:2]).concentration, rtol=1e-5
    )


def test_a_file_that_unpacks_to_gigabytes_is_refused(opened):
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + bytes(50)
    row = opened().post("/predict", files=files(bomb)).json()["rows"][0]
    assert "million pixels" in row["reason"]


def test_one_photograph_may_be_the_body(opened, pngs):
    client = opened(file_mb=0.02)
    rows = client.post("/predict", content=pngs[0], headers={"content-type": "image/png"}).json()["rows"]
    assert len(rows) == 1
    assert rows[0]["image"] == "photograph"
    assert rows[0]["concentration"] == client.post("/predict", files=files(pngs[0])).json()["rows"][0]["concentration"]
    refused(client.post("/predict", content=bytes(30_000), headers={"content-type": "image/png"}), 413, "0.02 MB")


def test_pictures_come_where_they_are_asked_for(opened, pngs):
    rows = opened().post("/predict?pictures=true", files=files(pngs[0], b"nothing")).json()["rows"]
    kind, _, data = rows[0]["picture"].partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == (256, 256)
    assert rows[1]["picture"] is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "../../etc/passwd"),
        ("/etc/passwd", "/etc/passwd"),
        ("a\x1b[31mb\x07.png", "a\\x1b[31mb\\x07.png"),
        ("тест 測試.png", "тест 測試.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_a_name_is_shown_and_never_opened(opened, pngs, monkeypatch, name, shown):
    monkeypatch.setattr("twostage.decoding.kinds.open_regular", lambda path: pytest.fail(f"{path} was opened"))
    body = PART.format(name).encode() + pngs[0] + b"\r\n--x--\r\n"
    row = opened().post("/predict", content=body, headers=FORM).json()["rows"][0]
    assert row["image"] == shown
    assert row["concentration"] is not None


@pytest.mark.parametrize(
    ("limits", "send", "status", "word"),
    [
        ({"file_mb": 0.02}, {"files": files(bytes(21_000))}, 413, "0.02 MB"),
        ({"request_mb": 0.03}, {"files": files(bytes(16_000), bytes(16_000))}, 413, "a request may have 0.03 MB"),
        ({"files": 2}, {"files": files(b"a", b"b", b"c")}, 413, "2 files"),
        ({"held_mb": 0.01}, {"files": files(bytes(20_000))}, 503, "all the room"),
        ({}, {"data": {"files": "text"}}, 422, "multipart"),
        ({}, {"files": [("photo", ("a.png", b"a"))]}, 422, "field"),
        ({}, {"files": [("files", (None, b"a"))]}, 422, "field"),
        ({}, {}, 422, "multipart"),
        ({}, {"headers": {"content-type": "multipart/form-data"}, "content": b"x"}, 400, "boundary"),
        ({}, {"headers": FORM, "content": b"x"}, 400, "read"),
        ({}, {"headers": FORM, "content": b"--x--\r\n"}, 422, "no photograph"),
        ({}, {"headers": FORM, "content": b""}, 400, "end is missing"),
        ({}, {"headers": FORM, "content": PART.format(5000 * "a").encode()}, 400, "read"),
        ({}, {"params": {"pictures": "perhaps"}, "files": files(b"a")}, 422, "pictures"),
    ],
)
def test_what_goes_beyond_a_limit_is_answered_with_one_sentence(opened, limits, send, status, word):
    refused(opened(**limits).post("/predict", **send), status, word)


def test_no_change_of_a_request_makes_the_server_fail(opened, pngs):
    rng, client = np.random.default_rng(0), opened()
    right = b"".join(PART.format(i).encode() + png[:200] + b"\r\n" for i, png in enumerate(pngs)) + b"--x--\r\n"
    for _ in range(200):
        body, kind = bytearray(right), bytearray(FORM["content-type"].encode())
        for text in (body, kind) if rng.random() < 0.3 else (body,):
            start = rng.integers(len(text))
            text[start : start + rng.integers(4)] = rng.bytes(rng.integers(4))
        answer = client.post("/predict", content=bytes(body), headers={"content-type": bytes(kind)})
        assert answer.status_code in (200, 400, 413, 422), (kind, body)
        assert ("rows" if answer.status_code == 200 else "detail") in answer.json()


def watched_files(monkeypatch):
    """Every temporary file of an upload, from now on."""
    stored, kind = [], uploads.SpooledTemporaryFile

    def make(*arguments, **named):
        stored.append(kind(*arguments, **named))
        return stored[-1]

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", make)
    monkeypatch.setattr(uploads, "SpooledTemporaryFile", make)
    return stored


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.9, 1])
def test_an_upload_without_its_end_is_told_and_leaves_nothing(opened, pngs, monkeypatch, part):
    stored = watched_files(monkeypatch)
    body = b"".join(PART.format(i).encode() + png + b"\r\n" for i, png in enumerate(pngs)) + b"--x--\r\n"
    client = opened()
    assert client.post("/predict", content=body, headers=FORM).status_code == 200
    refused(client.post("/predict", content=body[: int(part * len(body)) - 5], headers=FORM), 400, "its end is missing")
    assert len(stored) > 6
    assert all(file.closed for file in stored)
    assert client.get("/health").json() == {"status": "ok", "requests": 0}


@pytest.mark.parametrize("limits", [{}, {"file_mb": 0.02}, {"files": 1}, {"request_mb": 3.0}, {"held_mb": 3.0}])
@pytest.mark.parametrize("kind", ["form", "body"])
def test_temporary_files_are_gone_also_after_refusals(opened, monkeypatch, limits, kind):
    stored = watched_files(monkeypatch)
    large = bytes(2_500_000)  # more than lies in memory
    body = {"content": large, "headers": {"content-type": "image/png"}} if kind == "body" else {}
    client = opened(**limits)
    client.post("/predict", **(body or {"files": files(large, large)}))
    assert stored or {"request_mb", "held_mb"} & set(limits)  # which stop it before
    assert all(file.closed for file in stored)
    assert client.post("/predict", files=files(b"x")).status_code == 200


class Held:
    """A predictor that waits until it may go, and fails on a photograph with a magenta corner."""

    def __init__(self, predictor):
        self.model, self.masks, self.predictor = predictor.model, predictor.masks, predictor
        self.sizes, self.go, self.entered = [], threading.Event(), threading.Event()

    def predict(self, pixels):
        self.sizes.append(len(pixels))
        self.entered.set()
        assert self.go.wait(20)
        if (pixels[:, 0, 0] == (255, 0, 255)).all(-1).any():
            raise RuntimeError("no number at all")
        return self.predictor.predict(pixels)


def test_what_waits_is_read_together_and_a_failure_is_that_of_its_own_request(predictor, pngs):
    magenta = io.BytesIO()
    Image.new("RGB", (48, 48), (255, 0, 255)).save(magenta, "PNG")
    held = Held(predictor)
    reader = Reader(held)

    async def read():
        first = asyncio.create_task(reader.read([("0", io.BytesIO(pngs[0]))]))
        await asyncio.to_thread(held.entered.wait, 20)
        contents = [*pngs[1:4], magenta.getvalue(), pngs[4]]
        later = [asyncio.create_task(reader.read([(str(i), io.BytesIO(one))])) for i, one in enumerate(contents)]
        while reader._queue.qsize() < 5:
            await asyncio.sleep(0.01)
        held.go.set()
        return await asyncio.gather(first, *later, return_exceptions=True)

    found = asyncio.run(read())
    reader.close()
    assert held.sizes == [1, 5, 1, 1, 1, 1, 1]  # one, then all that waited, and after its failure each alone
    failed = [isinstance(one, RuntimeError) for one in found]
    assert sum(failed) == 1
    read = [rows[0]["concentration"] for rows, why in zip(found, failed, strict=True) if not why]
    np.testing.assert_allclose(read, predictor.predict(pngs[:5]).concentration, rtol=1e-5)


def test_a_failure_is_answered_and_the_server_goes_on(opened, predictor, pngs, monkeypatch):
    client = opened()
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "read", lambda pixels: 1 / 0)
        refused(client.post("/predict", files=files(pngs[0])), 500, "log")
    assert client.post("/predict", files=files(pngs[0])).status_code == 200


@pytest.mark.parametrize(
    ("limits", "status", "word"), [({"requests": 2}, 503, "2 requests"), ({"client_requests": 2}, 429, "this address")]
)
def test_too_many_at_a_time_are_told_to_come_again(predictor, pngs, limits, status, word):
    held = Held(predictor)
    app = make_app(held, LimitsConfig(**limits))
    with TestClient(app, "http://localhost") as client, ThreadPoolExecutor(2) as pool:
        two = [pool.submit(client.post, "/predict", files=files(png)) for png in pngs[:2]]
        while client.get("/health").json()["requests"] < 2:
            pass
        refused(client.post("/predict", files=files(pngs[0])), status, word)
        held.go.set()
        assert [one.result().status_code for one in two] == [200, 200]
        assert client.post("/predict", files=files(pngs[0])).status_code == 200
