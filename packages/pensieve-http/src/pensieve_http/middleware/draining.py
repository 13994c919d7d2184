"""Counts the API's requests for the drain, and refuses them once it has begun."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from pensieve_http.drain import Drain

__all__ = ["Draining"]


class Draining:
    """Lets requests under `/v1` through `Drain.request`; health and version stay open to the end."""

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            with self._drain.request():
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)
