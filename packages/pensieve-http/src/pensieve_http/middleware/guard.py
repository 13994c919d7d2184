"""The one shell around all checks that look at a request's head and say yes or no."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from pensieve_http.errors import error_response
from pensieve_protocol import ApiError

__all__ = ["Check", "Guard"]

Check: TypeAlias = Callable[[Scope], ApiError | None]
"""Returns why the request is refused; None lets it pass."""


class Guard:
    """Answers with the error of `check`, or hands the request on."""

    def __init__(self, app: ASGIApp, *, check: Check) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        error = self._check(scope) if scope["type"] == "http" else None
        app = self._app if error is None else error_response(error, scope)
        await app(scope, receive, send)
