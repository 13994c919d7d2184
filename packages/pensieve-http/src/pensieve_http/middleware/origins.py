"""Which web pages may call: none, unless their origin is configured.

Browsers say in `Origin` whose page is calling, and simple POSTs reach us without asking first (no preflight); so
refusing to send CORS headers is not enough, a foreign origin's request is not served at all. Programs send no
`Origin` and are not concerned. The Fetch standard calls an opaque origin `null`: foreign, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pensieve_http.errors import error_response
from pensieve_protocol import api_error

__all__ = ["Origins"]

_METHODS = "GET, HEAD, POST"
_EXPOSED = "request-id, x-request-id, retry-after, x-should-retry"
_MAX_AGE_S = "600"


class Origins:
    """Refuses foreign origins with 403; answers preflights of the allowed ones and adds their CORS headers."""

    def __init__(self, app: ASGIApp, *, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(origin.lower().rstrip("/") for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        origins = Headers(scope=scope).getlist("origin") if scope["type"] == "http" else []
        if not origins:
            app, origin_send = self._app, send
        elif len(origins) > 1 or origins[0].lower() not in self._allowed:
            shown = ", ".join(origins)[:200]
            app, origin_send = error_response(api_error(403, f"origin: {shown} is not allowed"), scope), send
        else:
            app = _preflight(scope) or self._app
            origin_send = _with_cors(send, origins[0])
        await app(scope, receive, origin_send)


def _preflight(scope: Scope) -> Response | None:
    """Return the answer to a CORS preflight; None when the request is none."""
    headers = Headers(scope=scope)
    if scope["method"] != "OPTIONS" or "access-control-request-method" not in headers:
        return None
    answer = {
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": headers.get("access-control-request-headers", ""),
        "access-control-max-age": _MAX_AGE_S,
    }
    return Response(status_code=204, headers=answer)


def _with_cors(send: Send, origin: str) -> Send:
    async def cors_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = _EXPOSED
            headers.add_vary_header("origin")
        await send(message)

    return cors_send
