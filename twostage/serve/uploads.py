"""Uploads: read while they are sent, never beyond the limits, and gone afterwards. No name of a file is ever opened."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, NoReturn

import anyio
from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from twostage.options.serve import LimitsConfig

__all__ = ["FIELD", "Door"]

FIELD = "files"
"""Where a form has its photographs."""
IN_MEMORY = 2_000_000
"""Bytes of a file that lie in memory; the rest of a longer one lies in a temporary file without a name."""
MEGA = 1_000_000


class Door:
    """Lets requests in, one after another, as many and as much as the limits allow."""

    def __init__(self, limits: LimitsConfig) -> None:
        self.limits = limits
        self.inside, self.of_client, self.held = 0, Counter[str](), 0

    @asynccontextmanager
    async def uploads(self, request: Request) -> AsyncIterator[list[UploadFile]]:
        """The files that a request sends, in order, until the end of the block.

        Raises:
            HTTPException: 400, 408, 413, 422, 429 or 503, with the reason.
        """
        with self._place(request):
            received = _Received(request, self)
            try:
                yield await received.files()
            finally:
                await received.close()

    @contextmanager
    def _place(self, request: Request) -> Iterator[None]:
        client = request.client.host if request.client else ""
        if self.of_client[client] >= self.limits.client_requests:
            _refuse(429, f"{self.limits.client_requests} requests from this address are being read: wait for one")
        if self.inside >= self.limits.requests:
            _refuse(503, f"{self.limits.requests} requests are being read: try again in a moment")
        self.inside += 1
        self.of_client[client] += 1
        try:
            yield
        finally:
            self.inside -= 1
            self.of_client[client] -= 1
            self.of_client += Counter()  # forgets addresses that are gone

    def hold(self, count: int) -> None:
        """Count so many further bytes.

        Raises:
            HTTPException: 503, with all requests together there would be too many.
        """
        if self.held + count > self.limits.held_mb * MEGA:
            _refuse(503, "other uploads take all the room: try again in a moment")
        self.held += count


class _Received:
    """What one request sends."""

    def __init__(self, request: Request, door: Door) -> None:
        self.request, self.door, self.limits = request, door, door.limits
        self.bytes, self.kept = 0, list[UploadFile]()

    async def files(self) -> list[UploadFile]:
        """All of them.

        Raises:
            HTTPException: Something is wrong with them.
        """
        declared = self.request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limits.request_mb * MEGA:
            _too_large(f"a request may have {self.limits.request_mb:g} MB")
        try:
            with anyio.fail_after(self.limits.seconds):
                await self._receive()
        except TimeoutError:
            _refuse(408, f"the upload took more than {self.limits.seconds:g} seconds: send fewer files, or from nearer")
        except ClientDisconnect:
            _refuse(400, "the upload broke off before its end: send it again")
        except MultiPartException as error:
            _refuse(400, f"the body is no multipart/form-data that can be read: {error.message}")
        except OSError as error:
            _refuse(503, f"the upload cannot be stored now ({error.strerror or error}): try again later")
        if not self.kept:
            _refuse(422, f"no photograph: send one or more files in the field {FIELD}")
        return self.kept

    async def _receive(self) -> None:
        kind = parse_options_header(self.request.headers.get("content-type"))[0].decode("latin-1").lower()
        if kind.startswith("image/"):
            await self._receive_one()
        elif kind == "multipart/form-data":
            await self._receive_form()
        else:
            _refuse(422, f"send multipart/form-data with the photographs in the field {FIELD}, or one as image/...")

    async def _receive_one(self) -> None:
        stored: Any = SpooledTemporaryFile(IN_MEMORY)
        file = UploadFile(stored, size=0, filename="photograph")
        self.kept.append(file)
        async for chunk in self._chunks():
            if (file.size or 0) + len(chunk) > self.limits.file_mb * MEGA:
                _too_large(f"a file may have {self.limits.file_mb:g} MB")
            await file.write(chunk)
        await file.seek(0)

    async def _receive_form(self) -> None:
        form = await _Form(self.request, self._chunks(), self.limits).parse()
        self.kept = [part for _, part in form.multi_items() if not isinstance(part, str)]
        for name, part in form.multi_items():
            if name != FIELD or isinstance(part, str):
                _refuse(422, f"the form has a field that is not known: send files in the field {FIELD}, nothing else")

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self.request.stream():
            self.door.hold(len(chunk))
            self.bytes += len(chunk)
            if self.bytes > self.limits.request_mb * MEGA:
                _too_large(f"a request may have {self.limits.request_mb:g} MB")
            yield chunk

    async def close(self) -> None:
        """Forget everything."""
        for file in self.kept:
            await file.close()
        self.door.held -= self.bytes


class _Form(MultiPartParser):
    """A form that is refused at the first byte beyond a limit, and where its end is missing."""

    spool_max_size = IN_MEMORY

    def __init__(self, request: Request, chunks: AsyncGenerator[bytes, None], limits: LimitsConfig) -> None:
        super().__init__(request.headers, self._to_the_end(chunks), max_files=math.inf, max_fields=math.inf)
        self.limits, self.parts, self.size, self.ended = limits, 0, 0, False

    async def _to_the_end(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk
        if not self.ended:  # the parser would leave out the last file without a word
            raise MultiPartException("its end is missing")

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self.parts, self.size = self.parts + 1, 0
        if self.parts > self.limits.files:
            _too_large(f"a request may have {self.limits.files} files")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self.limits.file_mb * MEGA:
            _too_large(f"a file may have {self.limits.file_mb:g} MB")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self.ended = True


def _too_large(allowed: str) -> NoReturn:
    _refuse(413, f"too large: {allowed}")


def _refuse(status: int, why: str) -> NoReturn:
    raise HTTPException(status, why, {"Retry-After": "1"} if status in (429, 503) else None)
