"""Who may ask, and what browsers are told."""

import pytest
from serving import files, refused

from twostage.serve.guard import HEADERS
from twostage.trust.status import Status

TOKEN = "a-token-that-nobody-guesses"


def test_without_the_token_nothing_is_told_but_the_page(opened, pngs):
    client = opened(token=TOKEN)
    for wrong in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer ä"):
        headers = {"authorization": wrong.encode()}
        for path in ("/card", "/openapi.json", "/nothing"):
            answer = client.get(path, headers=headers)
            refused(answer, 401, "token")
            assert answer.headers["www-authenticate"] == "Bearer"
        refused(client.post("/predict", files=files(pngs[0]), headers=headers), 401, "token")
    assert client.get("/").status_code == client.get("/health").status_code == 200
    right = {"authorization": f"bearer {TOKEN}"}
    assert client.get("/card", headers=right).status_code == 200
    assert client.post("/predict", files=files(pngs[0]), headers=right).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:7860", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:7860", 200),
        ("LOCALHOST", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("192.168.0.7:7860", 400),
        ("0.0.0.0", 400),
        ("evil.example#localhost", 400),
        ("localhost@evil.example", 400),
        ("[", 400),
        ("", 400),
    ],
)
def test_on_this_computer_alone_only_its_own_names_are_answered(opened, host, status):
    answer = opened().get("/card", headers={"host": host})
    assert answer.status_code == status
    if status == 400:
        refused(answer, 400, "localhost")
    assert opened(token=TOKEN, local=False).get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost", 200), ("null", 400), ("https://evil.example", 400)]
)
def test_a_page_of_another_site_cannot_ask(opened, pngs, origin, status):
    answer = opened().post("/predict", files=files(pngs[0]), headers={"origin": origin})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_tells_browsers_to_be_careful(opened):
    client = opened(file_mb=0.02)
    answers = [client.get("/"), client.get("/nothing"), client.post("/predict", files=files(bytes(30_000)))]
    answers += [client.get("/card", headers={"host": "evil.example"})]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    assert "script-src 'sha256-" in answers[0].text


def test_the_document_names_every_answer(opened):
    client = opened(token=TOKEN, headers={"authorization": f"Bearer {TOKEN}"})
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/", "/predict", "/card", "/health"}
    said = set(document["paths"]["/predict"]["post"]["responses"])
    assert said == {"200", "400", "401", "408", "413", "422", "429", "500", "503"}
    assert document["components"]["schemas"]["Status"]["enum"] == [status.value for status in Status]
    assert client.get("/card").json()["name"] == "tiny"


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/card/%2e%2e/x", "/docs"])
def test_no_path_leads_to_a_file(opened, path):
    refused(opened().get(f"http://localhost{path}"), 404, "/predict")
