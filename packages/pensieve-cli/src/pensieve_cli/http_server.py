"""Hypercorn, behind the three calls that we need of it: run, stop, and nothing else.

The only module that knows Hypercorn 0.18; another ASGI server would replace this file alone. What it is told, and
why, stands in `_config`. It does not decide when to stop: see `stopping`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets

__all__ = ["AsgiApp", "HttpServer", "requests_only"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_GRACE_S = 1.0
"""Hypercorn's own patience, where it has any (Python 3.11): the streams have been ended before."""
_KEEP_ALIVE_S = 75.0
"""An idle connection is kept so long (nginx's default); at Hypercorn's 5 s each turn of a session reconnects."""


class HttpServer:
    """Serves one application on one socket, on the running loop.

    Args:
        app: What is served, over HTTP/1 alone.
        listening: A bound, listening socket. It is closed when `run` ends.
    """

    def __init__(self, app: AsgiApp, listening: socket.socket) -> None:
        self._app = requests_only(app)
        self._config = _config(listening)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`. To be cancelled when it does not return: a half-sent request can hold it up.

        A cancelled call returns at once. The connections are cut by the end of the loop, for Hypercorn may still wait
        for them; that each of them complains then is no news to anybody.
        """
        loop = asyncio.get_running_loop()
        serving = loop.create_task(serve(self._app, self._config, shutdown_trigger=self._stop.wait))  # type: ignore[arg-type]
        try:
            await asyncio.wait((serving,))
        except asyncio.CancelledError:
            loop.set_exception_handler(lambda _loop, _context: None)
            serving.cancel()
            raise
        serving.result()

    def stop(self) -> None:
        """Close the socket and the idle connections, and let `run` return when the others are done."""
        self._stop.set()


def requests_only(app: AsgiApp) -> AsgiApp:
    """Return `app` for requests of HTTP/1 alone.

    HTTP/2 is refused with 505: Hypercorn accepts it in clear text and cannot be told not to, and it would carry 100
    requests on one connection. Lifespan ends before it begins: models load outside of it (it has 60 s), and all that
    is to be closed is closed by `stopping`.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["type"] == "http" and not scope["http_version"].startswith("1"):
            await send({"type": "http.response.start", "status": 505, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return guarded


class _Config(Config):
    """Hypercorn's settings, with a socket that is open already."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def create_sockets(self) -> Sockets:
        return Sockets(secure_sockets=[], insecure_sockets=[self._listening], quic_sockets=[])


def _config(listening: socket.socket) -> Config:
    config = _Config(listening)
    config.accesslog = None  # the application writes one line per request itself
    config.errorlog = logging.getLogger("hypercorn.error")  # into our own form
    config.errorlog.setLevel(logging.WARNING)  # the banner has said where we listen
    config.graceful_timeout = _GRACE_S
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.read_timeout = None  # it would cut streams that are running
    config.include_server_header = False
    return config
