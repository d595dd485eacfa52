"""The process: a socket, uvicorn with patience that ends, and a clean end."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from twostage.errors import ConfigError

__all__ = ["CONNECTIONS", "Patience", "listen", "make_server"]

CONNECTIONS = 256
"""Connections at a time; files of uploads and these are less than the 1024 that a process may usually have open."""


def listen(host: str, port: int) -> socket.socket:
    """A socket on which connections wait until the server takes them.

    Raises:
        ConfigError: The port is taken or not allowed, or this computer has no such address.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OverflowError as error:
        raise ConfigError(f"port={port} is none: 0 to 65535 are") from error
    except UnicodeError as error:
        raise ConfigError(f"host={host} is no address; {HOSTS}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"port={port} is in use, perhaps by another twostage serve: give another, or port=0 for a free one"
        elif error.errno == errno.EACCES:
            why = f"port={port} is not allowed to you: give one from 1024 on"
        else:
            why = f"host={host} is no address of this computer ({error.strerror or error}); {HOSTS}"
        raise ConfigError(why) from error


HOSTS = "127.0.0.1 serves this computer alone, 0.0.0.0 all that reach it"


class Patience(H11Protocol):
    """A connection that ends where nothing comes, or nothing is taken, for too long; uvicorn would wait for ever."""

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seconds, self._late, self._stuck = seconds, _Alarm(), _Alarm()

    def connection_made(self, transport: Any) -> None:
        """Refuse one too many, and wait for the head of a request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait for the head of a request, or no longer; the rest of one that was refused counts as its successor."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        self._late.stop()
        self._stuck.stop()

    def pause_writing(self) -> None:
        """The client takes nothing of its answer."""
        super().pause_writing()
        self._stuck.start(self.loop, self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._stuck.stop()

    def _wait_for_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._late.start(self.loop, self.seconds, self.transport.abort)
        else:
            self._late.stop()


class _Alarm:
    """Calls something once, unless it is stopped before; started again, it goes on."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], object]) -> None:
        if self._handle is None:
            self._handle = loop.call_later(seconds, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None


def make_server(app: ASGIApp, seconds: float) -> uvicorn.Server:
    """A server whose ``run(sockets=[listener])`` ends after Ctrl-C or SIGTERM, once every request has its answer.

    Args:
        seconds: How long a client may let the server wait.
    """
    config = uvicorn.Config(
        app,
        http=partial(Patience, seconds=seconds),  # type: ignore[arg-type] # uvicorn calls it, and asks no more
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=min(5, math.ceil(seconds)),
        timeout_graceful_shutdown=math.ceil(seconds),
    )
    return uvicorn.Server(config)
