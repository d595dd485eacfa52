"""What is sent to a server, and its refusals."""


def files(*contents):
    return [("files", (f"{i}.png", content, "image/png")) for i, content in enumerate(contents)]


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    for word in words:
        assert word in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))
