"""``twostage serve``: a model for people and programs, on this computer or on a network."""

from __future__ import annotations

import logging
import re
import secrets
import socket
from contextlib import suppress

from twostage.errors import ConfigError
from twostage.options.reading import PredictRuntimeConfig, ReadingConfig
from twostage.options.serve import ServeConfig
from twostage.run.reader import open_reader, say_with_what

__all__ = ["serve"]

log = logging.getLogger("twostage")


def serve(config: ServeConfig) -> str:
    """Serve the page and `/predict` until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: The extra is not installed, the port is taken, or the token or the host is none.
        RunError, ModelFolderError: There is no finished model of that name.
    """
    try:
        from twostage.serve.app import make_app
        from twostage.serve.guard import is_local
        from twostage.serve.server import listen, make_server
    except ImportError as error:
        raise ConfigError(f"serve needs more packages ({error.name}): pip install 'twostage[serve]'") from error
    local = is_local(config.host)
    token = _token(config, local)
    with listen(config.host, config.port) as listener:
        runtime = PredictRuntimeConfig(config.runtime.device, config.runtime.threads, False, config.runtime.precision)
        reading = ReadingConfig(run=config.run, runtime=runtime)
        predictor, folder = open_reader(reading, config.confidence)
        say_with_what(reading, predictor, folder)
        app = make_app(predictor, config.limits, token=token, local=local, logs=config.log)
        log.info("%s is served at %s (Ctrl-C ends it)", folder, _address(listener, config.host, token))
        with suppress(KeyboardInterrupt):  # the signal that ended it comes once more
            make_server(app, config.limits.seconds).run(sockets=[listener])
    log.info("no longer served")
    return ""


def _token(config: ServeConfig, local: bool) -> str | None:
    if config.token is None:
        return None if local else secrets.token_urlsafe(24)
    if not re.fullmatch(r"[\w.~-]{16,}", config.token, re.ASCII):
        raise ConfigError("token= must have 16 or more letters, digits or any of -._~; left out, one is made")
    return config.token


def _address(listener: socket.socket, host: str, token: str | None) -> str:
    """Where a browser finds the page; the token behind # stays in the browser."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}/" + ("" if token is None else f"#token={token}")
