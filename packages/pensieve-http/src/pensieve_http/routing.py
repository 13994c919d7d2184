"""From a table of endpoints to Starlette's routes: one route a path, whatever the number of its methods.

Starlette would look for the method among several routes of a path, too, but then its 405 names the methods of one
of them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pensieve_http.operation import Endpoint
from pensieve_http.record import record_of

__all__ = ["routes"]


def routes(endpoints: Iterable[Endpoint]) -> list[Route]:
    """Return the routes, in the order of their first endpoints; HEAD is answered wherever GET is."""
    apps: dict[str, dict[str, ASGIApp]] = {}
    for endpoint in endpoints:
        apps.setdefault(endpoint.path, {})[endpoint.method] = endpoint.app
    return [
        Route(path, _Methods(path=path, apps=by_method), methods=list(by_method)) for path, by_method in apps.items()
    ]


@attrs.frozen(kw_only=True, eq=False)
class _Methods:
    """One path. Notes it in the request's record: a path with its parameters unfilled is good for counting."""

    path: str
    apps: Mapping[str, ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).route = self.path
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self.apps[method](scope, receive, send)
