"""From the bytes of a request body to a request, or to a 400 that names the place.

    bytes ── _json ──> dict ── _converter ──> request ── _rules ──> request

Each step can fail; `_validation` puts what it found into one sentence, and that is the `RequestError`.

Above: `pensieve_http` hands over the body and what its headers say (`_terms`). Below: core's values are made in
`_translation`.
"""

from __future__ import annotations

from typing import TypeVar, cast

import attrs
import cattrs

from pensieve_core import JsonObject, JsonValue
from pensieve_protocol._converter import structure
from pensieve_protocol._errors import RequestError, api_error, invalid_request
from pensieve_protocol._json import JsonError, parse_json
from pensieve_protocol._requests import CountTokensRequest, MessagesRequest
from pensieve_protocol._rules import violations
from pensieve_protocol._sources import with_places
from pensieve_protocol._terms import API_VERSIONS, Terms, strict_problems, unknown_fields
from pensieve_protocol._validation import InvalidValueError, problems, sentence

__all__ = ["check_version", "parse_count_tokens_request", "parse_messages_request", "parse_object"]

_Request = TypeVar("_Request", bound=CountTokensRequest)
_Wire = TypeVar("_Wire")
_USUAL = Terms()


def check_version(version: str | None) -> None:
    """Accept a known version or none; raise `RequestError` (400) for another."""
    if version is not None and version not in API_VERSIONS:
        raise invalid_request(f"anthropic-version: {version!r} is not known; use one of {', '.join(API_VERSIONS)}")


def parse_messages_request(body: bytes, terms: Terms = _USUAL) -> MessagesRequest:
    """Return the request in `body`, sent under these `terms`.

    Raises:
        RequestError: 400; the message names the JSON path.
    """
    return _parse(body, terms, MessagesRequest)


def parse_count_tokens_request(body: bytes, terms: Terms = _USUAL) -> CountTokensRequest:
    """Return the request in `body`; as `parse_messages_request`."""
    return _parse(body, terms, CountTokensRequest)


def parse_object(body: bytes, cls: type[_Wire]) -> _Wire:
    """Return any object of the wire; raise as `parse_messages_request`."""
    return _structure(_document(body), cls)


def _parse(body: bytes, terms: Terms, cls: type[_Request]) -> _Request:
    check_version(terms.version)
    document = cast("JsonObject", _document(body))
    request = _structure(document, cls)
    unknown = unknown_fields(document.keys() - attrs.fields_dict(cls).keys())
    found = [*violations(request, terms)]
    if terms.strict:
        found += strict_problems(document, unknown, terms)
    if found:
        raise invalid_request(sentence(found))
    _refuse_thread(request)
    return attrs.evolve(with_places(request), unknown_fields=unknown)


def _refuse_thread(request: CountTokensRequest) -> None:
    """Say in the API's own code that no conversation is kept here; the SDKs' tool runners then send the whole."""
    if isinstance(request, MessagesRequest) and request.thread is not None:
        refusal = api_error(400, "thread: this server keeps no conversations; send all messages, and no thread")
        raise RequestError(attrs.evolve(refusal, code="thread_unsupported_request"))


def _document(body: bytes) -> JsonValue:
    try:
        return parse_json(body)
    except JsonError as error:
        raise invalid_request(str(error)) from None


def _structure(document: JsonValue, cls: type[_Wire]) -> _Wire:
    try:
        return structure(document, cls)
    except (cattrs.BaseValidationError, InvalidValueError) as error:
        raise invalid_request(sentence(problems(error))) from None
