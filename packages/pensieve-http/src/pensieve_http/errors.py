"""From whatever went wrong to an answer in Anthropic's envelope, or OpenAI's at OpenAI's door.

The tree of errors is `pensieve_core`'s, the wire form `pensieve_protocol`'s. This module adds what only HTTP can get
wrong, and the one place where an exception that nobody foresaw is logged and becomes a plain `api_error`.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope
from structlog.typing import FilteringBoundLogger

from pensieve_core import PensieveError
from pensieve_http.record import record_of
from pensieve_protocol import ApiError, RequestError, api_error, error_body, openai_error_body, to_api_error

__all__ = ["ClientGoneError", "ErrorTranslator", "error_response", "speaks_openai"]

_ROUTING_MESSAGES: Mapping[int, str] = {
    404: "no such endpoint",
    405: "method not allowed for this endpoint",
}


class ClientGoneError(Exception):
    """The client left before its request was complete: there is nobody to answer."""


def speaks_openai(scope: Scope) -> bool:
    """Return whether the client came in by OpenAI's door."""
    path: str = scope["path"]
    return path.startswith("/v1/chat/")


def error_response(error: ApiError, scope: Scope, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return the envelope, with the headers that tell an SDK whether and when to try again.

    Notes the error's type in the request's record.
    """
    record = record_of(scope)
    record.error_type = error.type
    return Response(
        openai_error_body(error) if speaks_openai(scope) else error_body(error, record.id),
        status_code=error.status,
        headers={**_retry_headers(error), **(headers or {})},
        media_type="application/json",
    )


def _retry_headers(error: ApiError) -> dict[str, str]:
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.retryable is not None:
        headers["x-should-retry"] = str(error.retryable).lower()
    return headers


class ErrorTranslator:
    """Turns any exception into an `ApiError`; logs those that nobody foresaw, with their traceback."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def translate(self, error: Exception, scope: Scope) -> ApiError:
        """Return what the client is told: the error's own words if they were written for it, else none of them."""
        match error:
            case RequestError():
                return error.error
            case PensieveError():
                return to_api_error(error)
            case HTTPException(status_code=status):
                return api_error(status, f"{_ROUTING_MESSAGES.get(status, error.detail)}: {_asked(scope)}")
            case _:
                self._log.error("request_crashed", request_id=record_of(scope).id, exc_info=error)
                return api_error(500, "an unexpected error occurred; the server's log has the details")


def _asked(scope: Scope) -> str:
    return f"{scope['method']} {scope['path']}"[:200]
