"""The OpenAPI 3.1 document of a table of endpoints. Pure: types in, JSON out.

What an endpoint declares (`operation`) is described by `pensieve_protocol.Schemas`. Here is what every operation has in
common because it passes the same layers: keys, the refusals of the middleware, the headers of every answer.

An event stream is described by what stands in a `data:` line, JSON lines by one of them: OpenAPI 3.1 has no word for
either, and this is how others use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pensieve_core import JsonObject
from pensieve_http.middleware.api_keys import OPEN_PATHS
from pensieve_http.operation import ANYTHING, Body, Endpoint, Operation
from pensieve_protocol import Direction, Schemas, api_error

__all__ = ["document"]


_OF_ALL = (403, 431, 500)
"""Host or origin not allowed; too many headers; what nobody foresaw."""
_OF_BODIES = (400, 408, 413)
_OVERLOADED = 529

_HEADER_SCHEMAS: Mapping[str, JsonObject] = {
    "request-id": {"description": "The request's id, as in the server's log.", "schema": {"type": "string"}},
    "x-request-id": {"description": "The same, where OpenAI's clients look.", "schema": {"type": "string"}},
    "retry-after": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}},
    "x-should-retry": {"description": "Whether trying again can help.", "schema": {"enum": ["true", "false"]}},
}
_ON_ERRORS = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADER_SCHEMAS}
_ON_EVERY_ANSWER = {name: _ON_ERRORS[name] for name in ("request-id", "x-request-id")}


def document(endpoints: Iterable[Endpoint], *, version: str) -> JsonObject:
    """Return the description of `endpoints`, of a server of this version."""
    schemas, paths = Schemas(), dict[str, dict[str, JsonObject]]()
    for endpoint in endpoints:
        operations = paths.setdefault(_plain(endpoint.path), {})
        for method in _methods(endpoint):
            operations[method] = _operation(endpoint, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pensieve", "version": version, "description": "A local server of the Messages API."},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "headers": _HEADER_SCHEMAS,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def _plain(path: str) -> str:
    """Return a path without Starlette's converters: `{model_id:path}` becomes `{model_id}`."""
    return re.sub(r":\w+}", "}", path)


def _methods(endpoint: Endpoint) -> tuple[str, ...]:
    return ("get", "head") if endpoint.method == "GET" else (endpoint.method.lower(),)


def _operation(endpoint: Endpoint, method: str, schemas: Schemas) -> JsonObject:
    operation, is_open = endpoint.operation, endpoint.path in OPEN_PATHS
    described: dict[str, Any] = {
        "operationId": operation.name if method != "head" else f"{operation.name}_head",
        "summary": operation.summary,
        "parameters": list(_parameters(operation, schemas)),
        "responses": {
            **{str(status): _answer(status, bodies, schemas) for status, bodies in operation.answers.items()},
            **{str(status): _error(status, operation, schemas) for status in _error_statuses(endpoint)},
        },
    }
    if operation.takes is not None:
        content = _content((operation.takes,), schemas, Direction.IN)
        described["requestBody"] = {"required": not operation.takes.optional, "content": content}
    if method == "head":
        described["responses"] = {status: _bodiless(answer) for status, answer in described["responses"].items()}
    return {**described, "security": []} if is_open else described


def _parameters(operation: Operation, schemas: Schemas) -> Iterable[JsonObject]:
    for place, cls in (("path", operation.path), ("query", operation.query), ("header", operation.headers)):
        for name, schema in (schemas.fields(cls, Direction.IN) if cls is not None else {}).items():
            yield {
                "name": name.replace("_", "-") if place == "header" else name,
                "in": place,
                "required": place == "path",
                "schema": _without_null(schema),
            }


def _without_null(schema: JsonObject) -> JsonObject:
    """Return the schema of a parameter: it is there or it is not, but it cannot be null."""
    match schema:
        case {"anyOf": [dict(only), {"type": "null"}], **rest}:
            return {**only, **rest}
        case {"anyOf": [*members, {"type": "null"}], **rest}:
            return {**rest, "anyOf": members}
        case _:
            return schema


def _answer(status: int, bodies: Sequence[Body], schemas: Schemas) -> JsonObject:
    answer: JsonObject = {"description": HTTPStatus(status).phrase, "headers": _ON_EVERY_ANSWER}
    return {**answer, "content": _content(bodies, schemas, Direction.OUT)} if bodies else answer


def _error_statuses(endpoint: Endpoint) -> Iterable[int]:
    operation = endpoint.operation
    of_keys = () if endpoint.path in OPEN_PATHS else (401,)
    of_body = _OF_BODIES if operation.takes is not None else ()
    of_version = (400,) if operation.headers is not None else ()
    of_drain = (_OVERLOADED,) if endpoint.path.startswith("/v1/") else ()
    found = {*_OF_ALL, *of_keys, *of_body, *of_version, *of_drain, *operation.errors}
    return sorted(found - operation.answers.keys())


def _error(status: int, operation: Operation, schemas: Schemas) -> JsonObject:
    content = _content((Body(type=operation.error),), schemas, Direction.OUT)
    return {"description": api_error(status, "").type, "headers": _ON_ERRORS, "content": content}


def _bodiless(answer: JsonObject) -> JsonObject:
    return {name: value for name, value in answer.items() if name != "content"}


def _content(bodies: Sequence[Body], schemas: Schemas, direction: Direction) -> JsonObject:
    return {body.media_type: {"schema": _schema(body, schemas, direction)} for body in bodies}


def _schema(body: Body, schemas: Schemas, direction: Direction) -> JsonObject:
    if body.media_type == ANYTHING:
        return {"type": "string", "format": "binary"}
    return schemas.of(body.type, direction)
