"""The application: its addresses, what they take and answer, as OpenAPI tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from twostage import __version__
from twostage.export.card import card
from twostage.options.serve import LimitsConfig
from twostage.page import page_html
from twostage.predictor import Predictor
from twostage.serve.guard import Guard
from twostage.serve.reader import Reader
from twostage.serve.uploads import FIELD, Door
from twostage.trust.status import Status

__all__ = ["Answer", "Detail", "Health", "Row", "make_app"]


class Row(BaseModel):
    """What was read from one file: the columns of `twostage predict`, null where there is no number."""

    image: str = Field(description="its name, as it was sent")
    concentration: float | None = None
    lower: float | None = None
    upper: float | None = None
    bin_index: int | None = None
    bin_low: float | None = None
    bin_high: float | None = None
    bin_probability: float | None = None
    status: Status
    reason: str = Field(description="why the status is not ok")
    bin_probabilities: list[float | None] = Field(description="of each bin")
    picture: str | None = Field(None, description="with pictures=true: what the model saw, with its masks; a data URL")


class Answer(BaseModel):
    """One row for each file, in the order in which they were sent."""

    rows: list[Row]


class Health(BaseModel):
    """The server lives, and so many requests are being read."""

    status: str = "ok"
    requests: int


class Detail(BaseModel):
    """Why there is no answer, in one sentence."""

    detail: str


REFUSALS = {
    400: "the upload broke off or cannot be read, or the server was called by another name",
    401: "the token is missing or wrong",
    408: "the upload took too long",
    413: "a file or the request is too large, or there are too many files",
    422: "no photograph, or something that is not known",
    429: "too many requests from one address",
    500: "the server failed",
    503: "too many requests",
}
BINARY = {"type": "string", "format": "binary"}
BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "array", "minItems": 1, "items": BINARY}},
                "additionalProperties": False,
            }
        },
        "image/*": {"schema": BINARY},
    },
}

ELSEWHERE = {"description": REFUSALS[400], "content": {"application/json": {"schema": Detail.model_json_schema()}}}
"""What an address says that else answers no JSON."""


def _may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Detail, "description": REFUSALS[status]} for status in statuses}


def make_app(
    predictor: Predictor, limits: LimitsConfig, *, token: str | None = None, local: bool = True, logs: bool = False
) -> Guard:
    """The application over a model, with all that stands before it.

    Args:
        token: As for `Guard`, and so are `local` and `logs`.
    """
    reader, door, about = Reader(predictor), Door(limits), card(predictor.model)
    page = page_html(about, reader="server", model=None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        reader.close()

    app = FastAPI(
        title="twostage",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_may_answer(400),
    )
    app.add_exception_handler(RequestValidationError, _what_is_wrong)
    app.add_exception_handler(404, _nothing_there)
    app.add_exception_handler(500, _failed)
    everywhere = _may_answer(400)
    locked = everywhere | (_may_answer(401) if token is not None else {})
    key = [Depends(HTTPBearer(auto_error=False))] if token is not None else []  # for the document: the guard looks

    @app.get("/", response_class=HTMLResponse, summary="The page for people", responses={400: ELSEWHERE})
    async def show_page() -> str:
        return page

    @app.post(
        "/predict",
        response_model=Answer,
        summary="Read photographs",
        dependencies=key,
        openapi_extra={"requestBody": BODY},
        responses=_may_answer(408, 413, 422, 429, 500, 503) | locked,
    )
    async def predict(
        request: Request, pictures: bool = Query(False, description="with what the model saw")
    ) -> dict[str, Any]:
        async with door.uploads(request) as files:
            return {"rows": await reader.read([(file.filename or "", file.file) for file in files], pictures)}

    @app.get("/card", summary="What is to be known of the model", dependencies=key, responses=locked)
    async def show_card() -> dict[str, Any]:
        return about

    @app.get("/health", response_model=Health, summary="Does the server live?", responses=everywhere)
    async def health() -> dict[str, int]:
        return {"requests": door.inside}

    return Guard(app, token=token, local=local, logs=logs)


async def _what_is_wrong(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return JSONResponse({"detail": said}, 422)


async def _nothing_there(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": "nothing is here: there are /, /predict, /card, /health and /openapi.json"}, 404)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the server failed at this request; its log says why"}, 500)
