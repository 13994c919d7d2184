"""From the bytes of a request body to a request, or to a 400 that names the place.

    bytes ── _json ──> dict ── _converter ──> request ── _rules ──> request

Each step can fail; `_validation` puts what it found into one sentence, and that is the `RequestError`.

Above: `pensieve_http` hands over body and `anthropic-version`. Below: core's values are made in `_translation`.
"""

from __future__ import annotations

from typing import TypeVar, cast

import attrs
import cattrs

from pensieve_core import JsonObject, JsonValue
from pensieve_protocol._converter import structure
from pensieve_protocol._errors import invalid_request
from pensieve_protocol._json import JsonError, parse_json
from pensieve_protocol._requests import CountTokensRequest, MessagesRequest
from pensieve_protocol._rules import violations
from pensieve_protocol._validation import InvalidValueError, problems, sentence

__all__ = ["API_VERSIONS", "check_version", "parse_count_tokens_request", "parse_messages_request"]

API_VERSIONS = ("2023-06-01", "2026-10-21")
"""Of the header `anthropic-version`. Both get the same answers; sampling fields are honoured on the newer one, too."""

_Request = TypeVar("_Request", bound=CountTokensRequest)


def check_version(version: str | None) -> None:
    """Accept a known version or none; raise `RequestError` (400) for another."""
    if version is not None and version not in API_VERSIONS:
        raise invalid_request(f"anthropic-version: {version!r} is not known; use one of {', '.join(API_VERSIONS)}")


def parse_messages_request(body: bytes, *, version: str | None = None) -> MessagesRequest:
    """Return the request in `body`, sent with this `anthropic-version`.

    Raises:
        RequestError: 400; the message names the JSON path.
    """
    return _parse(body, version, MessagesRequest)


def parse_count_tokens_request(body: bytes, *, version: str | None = None) -> CountTokensRequest:
    """Return the request in `body`; as `parse_messages_request`."""
    return _parse(body, version, CountTokensRequest)


def _parse(body: bytes, version: str | None, cls: type[_Request]) -> _Request:
    check_version(version)
    try:
        document = parse_json(body)
    except JsonError as error:
        raise invalid_request(str(error)) from None
    request = _structure(document, cls)
    found = tuple(violations(request))
    if found:
        raise invalid_request(sentence(found))
    return attrs.evolve(request, unknown_fields=_unknown(cast("JsonObject", document), cls))


def _structure(document: JsonValue, cls: type[_Request]) -> _Request:
    try:
        return structure(document, cls)
    except (cattrs.BaseValidationError, InvalidValueError) as error:
        raise invalid_request(sentence(problems(error))) from None


def _unknown(document: JsonObject, cls: type[_Request]) -> tuple[str, ...]:
    return tuple(sorted(document.keys() - attrs.fields_dict(cls).keys()))
