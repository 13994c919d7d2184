"""Requests that are wrong, each told where; and the server is none the worse for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_http.testing import World, build_world

Body = Callable[..., dict[str, Any]]


def _user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


_WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model: "),
    ({"model": 5}, "model: expected a string"),
    ({"model": ""}, "model: "),
    ({"max_tokens": None}, "max_tokens: "),
    ({"max_tokens": "100"}, "max_tokens: expected an integer"),
    ({"max_tokens": -1}, "max_tokens: "),
    ({"max_tokens": True}, "max_tokens: expected an integer"),
    ({"max_tokens": 1.5}, "max_tokens: expected an integer"),
    ({"messages": []}, "messages: "),
    ({"messages": "hello"}, "messages: expected an array"),
    ({"messages": {}}, "messages: expected an array"),
    ({"messages": ["hello"]}, "messages.0: expected an object"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
    ({"messages": [{"role": "user"}]}, "messages.0.content: field required"),
    ({"messages": [{"content": "x"}]}, "messages.0.role: field required"),
    ({"messages": _user(5)}, "messages.0.content: "),
    ({"messages": _user([{"text": "x"}])}, "messages.0.content.0.type: field required"),
    ({"messages": _user([{"type": "text"}])}, "messages.0.content.0.text: field required"),
    ({"messages": _user([{"type": "text", "text": None}])}, "messages.0.content.0.text: "),
    ({"messages": _user([{"type": 7}])}, "messages.0.content.0.type: expected a string"),
    ({"messages": _user([{"type": "nonsense"}])}, "messages.0.content.0.type: "),
    ({"messages": _user([{"type": "tool_result", "content": "x"}])}, "messages.0.content.0.tool_use_id: "),
    ({"system": 5}, "system: "),
    ({"system": [{"type": "image"}]}, "system.0"),
    ({"stream": "false"}, "stream: expected a boolean"),
    ({"temperature": "hot"}, "temperature: expected a number"),
    ({"temperature": -0.1}, "temperature: "),
    ({"top_p": 1.1}, "top_p: "),
    ({"top_k": -1}, "top_k: "),
    ({"stop_sequences": "###"}, "stop_sequences: expected an array"),
    ({"stop_sequences": [""]}, "stop_sequences.0: "),
    ({"tools": {}}, "tools: expected an array"),
    ({"tools": [{"input_schema": {"type": "object"}}]}, "tools.0.name: field required"),
    ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.name: "),
    ({"tools": [{"name": "a"}]}, "tools.0.input_schema: field required"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0: "),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name: field required"),
    ({"tool_choice": "auto"}, "tool_choice: expected an object"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: field required"),
    ({"thinking": {"type": "sometimes"}}, "thinking.type: "),
    ({"mcp_servers": [{"url": "x"}]}, "mcp_servers: "),
    ({"container": "c1"}, "container: "),
]


@pytest.mark.parametrize(("fields", "place"), _WRONG_FIELDS, ids=[place for _, place in _WRONG_FIELDS])
async def test_a_wrong_field_is_a_400_that_names_its_path_and_the_server_stays_up(
    body: Body, fields: dict[str, Any], place: str
) -> None:
    world = build_world()
    await _assert_refused(world, orjson.dumps(body(**fields)), place)
    await _assert_up(world, body)


_WRONG_BODIES: list[tuple[bytes, str]] = [
    (b"", "not valid JSON"),
    (b"hello", "not valid JSON"),
    (b'{"model": "x"', "not valid JSON"),
    (b"\xff\xfe{}", "not valid JSON"),
    (b'{"model": NaN}', "not valid JSON"),
    (b'{"model": 1e400}', "not valid JSON"),
    (b'{"model": "\\ud800"}', "not valid JSON"),
    (b"null", "expected an object"),
    (b"[]", "expected an object"),
    (b'"x"', "expected an object"),
    (b'{"model": "x", "model": "y"}', "two members named 'model'"),
    (b'{"max_tokens": 123456789012345678901234567890}', "64 bits"),
    (b"[" * 100 + b"]" * 100, "nested more than 64"),
    (b"[" * 100_000 + b"]" * 100_000, "JSON"),
]


@pytest.mark.parametrize(("content", "words"), _WRONG_BODIES, ids=[str(b[:20]) for b, _ in _WRONG_BODIES])
async def test_a_body_that_is_no_object_is_a_400_that_says_why_and_the_server_stays_up(
    body: Body, content: bytes, words: str
) -> None:
    world = build_world()
    await _assert_refused(world, content, words)
    await _assert_up(world, body)


async def test_an_unknown_api_version_is_a_400_that_names_the_known_ones(body: Body) -> None:
    world = build_world()
    for method, path, json in [
        ("POST", "/v1/messages", body()),
        ("POST", "/v1/messages/count_tokens", body()),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/scripted", None),
    ]:
        reply = await world.client.request(method, path, json=json, headers={"anthropic-version": "2020-01-01"})
        assert reply.status == 400
        assert "2023-06-01, 2026-10-21" in reply.json()["error"]["message"]


@given(content=st.one_of(st.binary(max_size=50), st.recursive(st.none() | st.text(), st.lists).map(orjson.dumps)))
async def test_no_body_whatever_gets_more_than_a_400(content: bytes) -> None:
    reply = await build_world().client.post("/v1/messages", body=content)
    assert reply.status == 400


async def _assert_refused(world: World, content: bytes, words: str) -> None:
    reply = await world.client.post("/v1/messages", body=content)
    error = reply.json()["error"]
    assert (reply.status, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]
    assert not world.engine.requests


async def _assert_up(world: World, body: Body) -> None:
    assert (await world.client.post("/v1/messages", body())).status == 200
    assert not world.engine.running
