"""What stands before the pages of the server: who may ask, what a browser may do with an answer, no crash."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "OPEN", "Guard", "is_local"]

log = logging.getLogger("twostage")

OPEN = ("/", "/health")
"""What is answered without the token: the page, which asks for it, and whether the server lives."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What a browser is told of every answer; which scripts may run the page says itself."""


class Guard:
    """Lets a request through to the application if it may ask; one that may not is answered with one sentence.

    Args:
        token: What requests must carry, as ``Authorization: Bearer TOKEN``; None: nothing.
        local: Only a browser or program that asks for this computer by one of its own names is answered, so that no
            page of another site reaches a server that only this computer should (DNS rebinding).
        logs: One line is logged for each request.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, local: bool, logs: bool = False) -> None:
        self.app, self.token, self.local, self.logs = app, token, local, logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await (self._refusal(scope) or self.app)(scope, receive, sending)
        except Exception as error:  # the application has answered it
            log.error("%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error)
        if self.logs:
            client, seconds = (scope.get("client") or ("?",))[0], time.perf_counter() - begin
            log.info("%s %s %s %d %.0f ms", client, scope["method"], scope["path"], status, 1000 * seconds)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if self.local and not (is_local(_host(headers.get("host", ""))) and _is_own(headers)):
            return JSONResponse({"detail": "this server answers this computer alone, as localhost or 127.0.0.1"}, 400)
        if self.token is not None and scope["path"] not in OPEN and not self._knows_token(headers):
            said = "a token is needed, as 'Authorization: Bearer TOKEN': the server showed it when it started"
            return JSONResponse({"detail": said}, 401, {"WWW-Authenticate": "Bearer"})
        return None

    def _knows_token(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), (self.token or "").encode())  # in a time that tells nothing
        return same and kind.lower() == "bearer"


def is_local(host: str) -> bool:
    """Is this a name of the computer that only it can mean?

    >>> is_local("localhost"), is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(netloc: str) -> str:
    """The name without the port, "" where there is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _is_own(headers: Headers) -> bool:
    """Does the request come from a program, or from a page of this server?"""
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"http://{headers.get('host', '')}".lower()
