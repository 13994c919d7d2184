"""What an endpoint takes and answers, as types: declared beside the endpoint, read by `openapi`.

Values only. Every class named here is described down to its fields by `pensieve_protocol.Schemas`, so that there is
nothing to keep in step: who adds a field, an endpoint or a parameter has described it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from starlette.types import ASGIApp

from pensieve_protocol import ApiVersion, ErrorEvent

__all__ = [
    "ANYTHING",
    "EVENT_STREAM",
    "FORM",
    "JSON",
    "JSON_LINES",
    "TEXT",
    "Body",
    "ClientHeaders",
    "Endpoint",
    "Operation",
]

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
JSON_LINES = "application/x-jsonl"
TEXT = "text/plain"
FORM = "multipart/form-data"
ANYTHING = "*/*"
"""Bytes of whatever type."""


@attrs.frozen(kw_only=True)
class ClientHeaders:
    """What Anthropic's clients say about themselves; each field is a header, its underscores are hyphens."""

    anthropic_version: ApiVersion | None = None
    """Another one is refused; a missing one is the clients' of OpenAI, where that makes a difference."""
    anthropic_beta: str | None = None
    """Names of betas, by commas. All are accepted; those that are known are served without being asked for."""


@attrs.frozen(kw_only=True)
class Body:
    """What a request or an answer carries."""

    type: Any
    """Any type that the wire knows. Of an event stream that of its events' data, of JSON lines that of a line."""
    media_type: str = JSON
    optional: bool = False
    """Of a request: it may be left out."""


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path."""

    name: str
    """Unique; what a generated client calls it."""
    summary: str
    takes: Body | None = None
    answers: Mapping[int, tuple[Body, ...]] = attrs.field(factory=dict)
    """What is answered by status, errors left out; one body for each media type."""
    errors: tuple[int, ...] = ()
    """Statuses of the endpoint's own errors; those of the layers around it are known to `openapi`."""
    error: Any = ErrorEvent
    """Type of the body of every error."""
    path: type[attrs.AttrsInstance] | None = None
    """Each field is a parameter in the path."""
    query: type[attrs.AttrsInstance] | None = None
    """Each field is a parameter in the query string."""
    headers: type[attrs.AttrsInstance] | None = None
    """Each field is a header, as in `ClientHeaders`."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """An operation, where it is found, and who performs it."""

    method: str
    path: str
    """As Starlette writes it: `/v1/models/{model_id:path}`."""
    app: ASGIApp
    operation: Operation
