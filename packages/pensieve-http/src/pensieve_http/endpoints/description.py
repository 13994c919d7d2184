"""`GET /openapi.json`: what all endpoints take and answer, itself included. Made once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from pensieve_core import JsonObject
from pensieve_http.openapi import document
from pensieve_http.operation import JSON, Body, Endpoint, Operation
from pensieve_protocol import dump_json

__all__ = ["Description"]

_DESCRIBE = Operation(
    name="get_openapi",
    summary="Describe all endpoints (OpenAPI 3.1)",
    answers={200: (Body(type=JsonObject),)},
)


@attrs.define(kw_only=True, eq=False)
class Description:
    """The endpoint. `others` are described beside it."""

    others: Sequence[Endpoint]
    version: str
    _body: bytes | None = attrs.field(init=False, default=None)

    def endpoint(self) -> Endpoint:
        """Return it."""
        return Endpoint(method="GET", path="/openapi.json", app=request_response(self.answer), operation=_DESCRIBE)

    async def answer(self, _request: Request) -> Response:
        """Answer one request."""
        if self._body is None:
            self._body = dump_json(document([*self.others, self.endpoint()], version=self.version))
        return Response(self._body, media_type=JSON)
