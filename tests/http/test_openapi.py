"""The OpenAPI document tells of every endpoint, from the classes that the endpoint itself uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson
import pytest
import schemathesis.openapi
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pensieve_http import HttpSettings
from pensieve_http.openapi import document
from pensieve_http.operation import EVENT_STREAM, Body, Endpoint, Operation
from pensieve_http.routing import routes
from pensieve_http.settings import ApiKey
from pensieve_http.testing import build_world
from pensieve_protocol import dump_json


async def _document() -> Any:
    reply = await build_world().client.get("/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    return reply.json()


@attrs.frozen(kw_only=True)
class Order:
    """What is ordered."""

    dish: str
    extra: int = 1
    """Added yesterday."""


@attrs.frozen(kw_only=True)
class TableHeaders:
    """Where."""

    table_number: int | str | None = None


@attrs.frozen(kw_only=True)
class Found:
    """Which."""

    order_id: str


async def _cook(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError


_ORDER = Operation(
    name="order",
    summary="Order",
    takes=Body(type=Order),
    headers=TableHeaders,
    answers={200: (Body(type=Order), Body(type=Order, media_type=EVENT_STREAM)), 204: ()},
    errors=(409,),
)
_FETCH = Operation(name="fetch", summary="Fetch", path=Found, answers={200: (Body(type=Order),)})


def _kitchen() -> Any:
    endpoints = [
        Endpoint(method="POST", path="/v1/orders", app=_cook, operation=_ORDER),
        Endpoint(method="GET", path="/v1/orders/{order_id:path}", app=_cook, operation=_FETCH),
    ]
    return orjson.loads(dump_json(document(endpoints, version="1")))


async def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(await _document()).validate()


async def test_every_reference_leads_somewhere() -> None:
    described = await _document()
    references = list(_references(described))
    assert len(references) > 100
    for reference in references:
        place = described
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            yield from (found for inner in value.values() for found in _references(inner))
        case list():
            yield from (found for inner in value for found in _references(inner))


async def test_names_of_operations_are_unique() -> None:
    described = await _document()
    names = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) > 10


async def test_what_is_described_is_there_and_asks_for_what_is_described() -> None:
    """A described endpoint never answers that there is none, and a method that is not described is a 405."""
    world = build_world()
    for path, operations in (await _document())["paths"].items():
        target = path.replace("{", "").replace("}", "")
        missing = await world.client.request("PATCH", target)
        assert missing.status == 405, path
        allowed = {method.strip().lower() for method in missing.headers["allow"].split(",")}
        assert allowed == operations.keys()


def test_a_field_shows_up_by_itself() -> None:
    order = _kitchen()["components"]["schemas"]["OrderParam"]
    assert order["properties"]["extra"]["description"] == "Added yesterday."
    assert order["required"] == ["dish"]


def test_a_body_and_a_stream_of_it_are_told_apart_by_media_type() -> None:
    content = _kitchen()["paths"]["/v1/orders"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert content[EVENT_STREAM]["schema"] == {"$ref": "#/components/schemas/Order"}


def test_every_status_that_the_layers_around_an_endpoint_can_answer_is_described() -> None:
    responses = _kitchen()["paths"]["/v1/orders"]["post"]["responses"]
    assert list(responses) == ["200", "204", "400", "401", "403", "408", "409", "413", "431", "500", "529"]
    assert responses["529"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorEvent"}
    assert sorted(responses["529"]["headers"]) == ["request-id", "retry-after", "x-request-id", "x-should-retry"]
    assert "content" not in responses["204"]


def test_parameters_are_the_fields_of_their_classes() -> None:
    paths = _kitchen()["paths"]
    (header,) = paths["/v1/orders"]["post"]["parameters"]
    assert (header["name"], header["in"], header["required"]) == ("table-number", "header", False)
    assert header["schema"] == {"anyOf": [{"type": "integer", "format": "int64"}, {"type": "string"}]}
    (found,) = paths["/v1/orders/{order_id}"]["get"]["parameters"]
    assert (found["name"], found["in"], found["required"]) == ("order_id", "path", True)


def test_head_is_described_where_get_is_without_a_body() -> None:
    operations = _kitchen()["paths"]["/v1/orders/{order_id}"]
    assert operations["head"]["operationId"] == "fetch_head"
    assert "content" not in operations["head"]["responses"]["200"]


async def test_the_document_is_open_to_everybody() -> None:
    world = build_world(settings=HttpSettings(api_keys=(ApiKey.from_plain("k"),)))
    reply = await world.client.get("/openapi.json")
    assert reply.status == 200
    assert reply.json()["paths"]["/openapi.json"]["get"]["security"] == []
    assert (await world.client.get("/openapi.json")).body == reply.body


@pytest.mark.parametrize(("method", "says"), [("GET", b"get"), ("HEAD", b"get"), ("POST", b"post")])
async def test_a_path_with_several_methods_hands_each_to_its_own(method: str, says: bytes) -> None:
    operation = Operation(name="x", summary="x")
    endpoints = [
        Endpoint(method=word, path="/x", app=Response(word.lower().encode()), operation=operation)
        for word in ("GET", "POST")
    ]
    (route,) = routes(endpoints)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    record = attrs.make_class("Record", {"route": attrs.field(default=None)})()
    scope = {"type": "http", "method": method, "path": "/x", "pensieve.record": record}
    await route.app(scope, receive, send)
    assert sent[1]["body"] == says
    assert record.route == "/x"
