"""The checks on a request's head: limits, Host, Origin, key, content type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_http import ApiKey, HttpSettings
from pensieve_http.middleware.hosts import AllowedHosts
from pensieve_http.testing import build_world

Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8000",
        "box.lan",
        "Box.Lan:80",
        "[fd00::1]:80",
    ],
)
async def test_loopback_and_configured_names_are_served(host: str) -> None:
    world = build_world(settings=HttpSettings(allowed_hosts=("box.lan", "fd00::1")))
    assert (await world.client.get("/healthz", headers={"host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "localhost@evil.example",
        "localhost:80:80",
        "localhost:evil",
        "localhost:\xb2",
        "127.0.0.2",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]evil:80",
        "[::2]",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models"])
async def test_any_other_host_is_refused_everywhere(host: str, path: str) -> None:
    # DNS rebinding: a stranger's page reaches loopback under a name of its own.
    reply = await build_world().client.get(path, headers={"host": host})
    assert (reply.status, reply.json()["error"]["type"]) == (403, "permission_error")
    assert reply.headers["request-id"] == "req_0001"


def test_two_host_headers_are_refused() -> None:
    check = AllowedHosts()
    scope = {"type": "http", "headers": [(b"host", b"localhost"), (b"host", b"localhost")]}
    assert check(scope) is not None


async def test_two_origin_headers_are_refused_though_one_is_allowed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    world = build_world(settings=HttpSettings(allowed_origins=("https://app.example",)))
    scope = world.client._scope("GET", "/v1/models", {})
    scope["headers"] += [(b"origin", b"https://app.example"), (b"origin", b"https://evil.example")]
    await world.app(scope, receive, send)
    assert sent[0]["status"] == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:8000", "https://app.example.evil"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_a_foreign_origin_is_refused_and_gets_no_cors_headers(origin: str, method: str, body: Body) -> None:
    world = build_world(settings=HttpSettings(allowed_origins=("https://app.example",)))
    reply = await world.client.request(method, "/v1/messages", json=body(), headers={"origin": origin})
    assert (reply.status, reply.json()["error"]["type"]) == (403, "permission_error")
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert not world.engine.requests


async def test_an_allowed_origin_is_served_with_cors_headers_on_answers_and_errors(body: Body) -> None:
    world = build_world(settings=HttpSettings(allowed_origins=("https://App.example/",)))
    headers = {"origin": "https://app.example"}
    for reply in (
        await world.client.post("/v1/messages", body(), headers=headers),
        await world.client.post("/v1/messages", body(stream=True), headers=headers),
        await world.client.post("/v1/messages", {}, headers=headers),
    ):
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "request-id" in reply.headers["access-control-expose-headers"]
        assert reply.headers["vary"].lower() == "origin"


async def test_a_preflight_of_an_allowed_origin_is_answered_without_a_key() -> None:
    # Fetch standard: preflights carry no credentials.
    settings = HttpSettings(allowed_origins=("https://app.example",), api_keys=(ApiKey.from_plain("k"),))
    headers = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key, content-type",
    }
    reply = await build_world(settings=settings).client.request("OPTIONS", "/v1/messages", headers=headers)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-headers"] == "x-api-key, content-type"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["request-id"] == "req_0001"


async def test_a_request_that_only_looks_like_a_preflight_is_served() -> None:
    settings = HttpSettings(allowed_origins=("https://app.example",))
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    assert (await build_world(settings=settings).client.get("/v1/models", headers=headers)).status == 200


async def test_options_that_is_no_preflight_is_an_ordinary_wrong_method() -> None:
    settings = HttpSettings(allowed_origins=("https://app.example",))
    headers = {"origin": "https://app.example"}
    reply = await build_world(settings=settings).client.request("OPTIONS", "/v1/messages", headers=headers)
    assert reply.status == 405


_KEYED = HttpSettings(api_keys=(ApiKey.from_plain("first", name="laptop"), ApiKey.from_plain("zweiter-ß", name="ci")))


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-api-key": "first"}, "laptop"),
        ({"authorization": "Bearer first"}, "laptop"),
        ({"authorization": "bearer  first"}, "laptop"),
        ({"x-api-key": "placeholder", "authorization": "Bearer first"}, "laptop"),
        ({"x-api-key": "zweiter-ß".encode().decode("latin-1")}, "ci"),
    ],
)
async def test_a_key_is_taken_from_either_header_and_its_name_is_logged(
    body: Body, headers: dict[str, str], name: str
) -> None:
    world = build_world(settings=_KEYED)
    assert (await world.client.post("/v1/messages", body(), headers=headers)).status == 200
    assert world.lines()[0]["key"] == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": "wrong"},
        {"x-api-key": "First"},
        {"x-api-key": "firs\xe9"},
        {"authorization": "first"},
        {"authorization": "Basic first"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/v1/nothing", "/other"])
async def test_without_a_valid_key_everything_but_health_is_a_401(headers: dict[str, str], path: str) -> None:
    world = build_world(settings=_KEYED)
    reply = await world.client.get(path, headers=headers)
    assert (reply.status, reply.json()["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/version"])
async def test_health_is_open_to_everybody(path: str) -> None:
    assert (await build_world(settings=_KEYED).client.get(path)).status == 200


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json; charset="utf-8"']
)
async def test_json_is_taken_in_utf_8(body: Body, content_type: str) -> None:
    reply = await build_world().client.post("/v1/messages", body(), headers={"content-type": content_type})
    assert reply.status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "application/json; charset=utf-16",
    ],
)
async def test_any_other_content_is_a_400_before_it_is_read(body: Body, content_type: str) -> None:
    world = build_world()
    reply = await world.client.post("/v1/messages", body(), headers={"content-type": content_type})
    assert (reply.status, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert reply.json()["error"]["message"].startswith("content-type: ")
    assert not world.engine.requests


async def test_too_many_headers_are_a_431_and_as_many_as_allowed_are_not() -> None:
    world = build_world(settings=HttpSettings(max_header_count=10))
    few = {f"x-{number}": "1" for number in range(8)}  # and host and content-type
    assert (await world.client.get("/healthz", headers=few)).status == 200
    reply = await world.client.get("/healthz", headers={**few, "x-more": "1"})
    assert (reply.status, reply.json()["error"]["type"]) == (431, "invalid_request_error")
    assert "11 headers, more than 10" in reply.json()["error"]["message"]


async def test_too_long_headers_are_a_431() -> None:
    # Measured: Hypercorn's 16 KiB let a 20 kB header through that came in one packet.
    world = build_world(settings=HttpSettings(max_header_bytes=1_000))
    assert (await world.client.get("/healthz", headers={"x-long": "y" * 900})).status == 200
    for headers in ({"x-long": "y" * 1_000}, {"x" * 1_000: "y"}):
        reply = await world.client.get("/healthz", headers=headers)
        assert reply.status == 431


async def test_a_websocket_is_turned_away() -> None:
    world = build_world()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {**world.client._scope("GET", "/v1/messages", {"origin": "https://evil.example"}), "type": "websocket"}
    await world.app(scope, receive, send)
    assert sent == ["websocket.close"]
