"""`POST /v1/messages` when all goes well."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    ModelCapabilities,
    Origin,
    Priority,
    TextProduced,
    ThinkingPart,
    Timings,
    Usage,
)
from pensieve_http import HttpSettings
from pensieve_http.testing import build_world
from pensieve_inference.testing import Script, call, make_descriptor, say, think
from pensieve_protocol import API_VERSIONS

Body = Callable[..., dict[str, Any]]


async def test_a_json_answer_is_one_message_with_its_usage(body: Body) -> None:
    world = build_world(say("Hello there"))
    reply = await world.client.post("/v1/messages?beta=true", body())
    assert reply.status == 200
    message = reply.json()
    assert message["content"] == [{"type": "text", "text": "Hello there"}]
    assert (message["model"], message["role"], message["stop_reason"]) == ("claude-x", "assistant", "end_turn")
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (2, 2)
    assert message["id"] == "msg_0001"
    assert reply.headers["request-id"] == "req_0001"
    assert reply.headers["content-type"] == "application/json"


async def test_a_stream_says_the_same_event_by_event(body: Body) -> None:
    reply = await build_world(say("Hello there")).client.post("/v1/messages?beta=true", body(stream=True))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["request-id"] == "req_0001"
    assert [event.name for event in reply.events()] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(event.name == event.data["type"] for event in reply.events())


def _fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Fold a stream as a client would, written apart from our own accumulator."""
    message, texts = dict(events[0]["message"]), dict[int, str]()
    for event in events[1:]:
        if event["type"] == "content_block_start":
            message["content"] = [*message["content"], dict(event["content_block"])]
        elif event["type"] == "content_block_delta":
            _fold_delta(message["content"][event["index"]], event["delta"], texts, event["index"])
        elif event["type"] == "message_delta":
            message = {**message, **event["delta"], "usage": event["usage"]}
    return message


def _fold_delta(block: dict[str, Any], delta: dict[str, Any], texts: dict[int, str], index: int) -> None:
    kind = delta["type"]
    if kind == "input_json_delta":
        texts[index] = texts.get(index, "") + delta["partial_json"]
        block["input"] = {} if not _is_json(texts[index]) else json.loads(texts[index])
    else:
        name = kind.removesuffix("_delta")
        block[name] = block[name] + delta[name]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("version", [None, *API_VERSIONS])
@pytest.mark.parametrize(
    "script",
    [
        say("Hello there"),
        [*think("Let me see."), *say("It is this.")],
        [*say("I look."), *call("Bash", {"command": "ls"}), *call("Read", {}, "toolu_2")],
        [],
        [
            TextProduced(text="cut"),
            GenerationFinished(
                reason=FinishReason.STOP_SEQUENCE,
                stop_sequence="###",
                usage=Usage(prompt_tokens=9, cached_tokens=4, cache_created_tokens=2, generated_tokens=1),
            ),
        ],
    ],
    ids=["text", "thinking", "tools", "empty", "stop-sequence"],
)
async def test_json_is_the_stream_folded(body: Body, script: Script, version: str | None) -> None:
    headers = {"anthropic-version": version or ""}
    streamed = await build_world(script).client.post("/v1/messages", body(stream=True), headers=headers)
    whole = await build_world(script).client.post("/v1/messages", body(), headers=headers)
    assert _fold([event.data for event in streamed.events()]) == whole.json()


async def test_the_engine_gets_the_request_with_id_model_and_origin(body: Body) -> None:
    world = build_world()
    headers = {
        "x-claude-code-session-id": "session-1",
        "x-claude-code-agent-id": "agent-2",
        "x-claude-code-parent-agent-id": "agent-1",
    }
    await world.client.post("/v1/messages", body(), headers=headers)
    (request,) = world.engine.requests
    assert (request.id, request.model, request.max_tokens) == ("req_0001", "scripted", 100)
    assert attrs.astuple(request.origin) == ("session-1", "agent-2", "agent-1", Priority.AGENT)


async def test_session_headers_that_are_no_ids_are_ignored(body: Body) -> None:
    world = build_world()
    headers = {"x-claude-code-session-id": "x" * 129, "x-claude-code-agent-id": "  "}
    await world.client.post("/v1/messages", body(), headers=headers)
    assert world.engine.requests[0].origin == Origin()


async def test_what_is_unknown_is_ignored_and_named_in_the_log(body: Body) -> None:
    # Claude Code's betas and fields grow weekly (design 4): never 400 on one.
    world = build_world()
    headers = {"anthropic-beta": "nobody-knows-2099-01-01", "x-new-header": "1"}
    reply = await world.client.post("/v1/messages?beta=true&x=y", body(brand_new=1), headers=headers)
    assert reply.status == 200
    assert world.lines()[0]["unknown_fields"] == ["brand_new"]


async def test_what_is_unknown_is_said_once(body: Body) -> None:
    """Design 3: "unknown field, unknown beta: ignored, logged once"."""
    world = build_world()
    for beta in ("nobody-knows-2099-01-01, claude-code-20250219", "nobody-knows-2099-01-01", "x" * 99):
        await world.client.post("/v1/messages", body(brand_new=1), headers={"anthropic-beta": beta})
    said = [(entry["kind"], entry["name"]) for entry in world.log if entry["event"] == "unknown_ignored"]
    assert said == [("field", "brand_new"), ("beta", "nobody-knows-2099-01-01"), ("beta", "x" * 80)]


@pytest.mark.parametrize(
    ("fields", "headers", "told"),
    [
        ({"brand_new": 1}, {}, "brand_new: there is no such field"),
        ({}, {"anthropic-beta": "nobody-knows-2099-01-01"}, "anthropic-beta: 'nobody-knows-2099-01-01'"),
        ({"temperature": 1}, {"anthropic-version": "2026-10-21"}, "temperature: is no field of"),
    ],
)
async def test_a_strict_server_refuses_it(
    body: Body, fields: dict[str, Any], headers: dict[str, str], told: str
) -> None:
    world = build_world(settings=HttpSettings(strict=True))
    reply = await world.client.post("/v1/messages", body(**fields), headers=headers)
    assert reply.status == 400
    assert reply.json()["error"]["message"].startswith(told)
    assert world.engine.requests == []


def _returning(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": list(blocks)},
        {"role": "user", "content": "!"},
    ]


@pytest.mark.parametrize("display", ["summarized", "omitted", "updates"])
@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_that_comes_back_reaches_the_model_as_it_was(body: Body, display: str, *, stream: bool) -> None:
    """Sent or not: with `omitted` its signature brings it back."""
    world = build_world([*think("So be it."), *say("Yes")])
    thinking = {"type": "adaptive", "display": display}
    reply = await world.client.post("/v1/messages", body(thinking=thinking, stream=stream))
    block = (_fold([event.data for event in reply.events()]) if stream else reply.json())["content"][0]
    assert block["thinking"] == ("" if display == "omitted" else "So be it.")
    await world.client.post("/v1/messages", body(messages=_returning(block)))
    assert world.engine.requests[1].turns[1].parts == (ThinkingPart(text="So be it.", signature=block["signature"]),)
    assert "foreign_thinking" not in world.lines()[1]


async def test_reasoning_of_others_is_accepted_and_counted(body: Body) -> None:
    """A conversation may have begun elsewhere: refusing its signatures would end it."""
    world = build_world()
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCkgIAR"},
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "text", "text": "Yes"},
    ]
    reply = await world.client.post("/v1/messages", body(messages=_returning(*blocks)))
    assert reply.status == 200
    assert world.lines()[0]["foreign_thinking"] == 1


async def test_the_signature_is_the_last_of_a_block_of_reasoning(body: Body) -> None:
    world = build_world([*think("Hm."), *say("Yes")])
    reply = await world.client.post("/v1/messages", body(stream=True, thinking={"type": "adaptive"}))
    kinds = [event.data.get("delta", {}).get("type", event.name) for event in reply.events()]
    assert kinds[2:5] == ["thinking_delta", "signature_delta", "content_block_stop"]


async def test_omitted_thinking_is_signed_but_not_shown(body: Body) -> None:
    model = make_descriptor()
    model = attrs.evolve(model, capabilities=ModelCapabilities(thinking=True))
    world = build_world([*think("secret"), *say("Hi")], model=model)
    thinking = {"type": "adaptive", "display": "omitted"}
    reply = await world.client.post("/v1/messages", body(thinking=thinking))
    block = reply.json()["content"][0]
    assert (block["type"], block["thinking"]) == ("thinking", "")
    assert block["signature"]


async def test_one_canonical_line_tells_what_a_request_was_and_what_it_cost(body: Body) -> None:
    finish = GenerationFinished(
        reason=FinishReason.MAX_TOKENS,
        usage=Usage(prompt_tokens=9, cached_tokens=4, generated_tokens=3, thinking_tokens=1),
        timings=Timings(queue_s=0.1, prefill_s=0.25, decode_s=0.5, decode_steps=3, prefilled_tokens=5),
    )
    world = build_world([TextProduced(text="a b c"), finish])
    await world.client.post("/v1/messages", body(stream=True), headers={"x-claude-code-session-id": "session-1"})
    assert world.log == [
        {
            "event": "request_finished",
            "log_level": "info",
            "request_id": "req_0001",
            "method": "POST",
            "path": "/v1/messages",
            "status": 200,
            "ending": "answered",
            "disconnected": False,
            "duration_s": 0.0,
            "ttfb_s": 0.0,
            "ttft_s": 0.0,
            "requested_model": "claude-x",
            "model": "scripted",
            "stream": True,
            "session": "84097828fc31",
            "stop_reason": "max_tokens",
            "prompt_tokens": 9,
            "cached_tokens": 4,
            "generated_tokens": 3,
            "thinking_tokens": 1,
            "prefilled_tokens": 5,
            "decode_steps": 3,
            "queue_s": 0.1,
            "prefill_s": 0.25,
            "decode_s": 0.5,
        }
    ]


async def test_neither_prompts_nor_answers_nor_keys_are_logged(body: Body) -> None:
    world = build_world(say("private answer"))
    secret = body(system="private system", metadata={"user_id": "private user"}, stream=True)
    headers = {"x-api-key": "private key", "authorization": "Bearer private token"}
    await world.client.post("/v1/messages?private=1", secret, headers=headers)
    await world.client.post("/v1/messages", {"model": "claude-x", "private": "private"}, headers=headers)
    assert "private" not in str([{**line, "unknown_fields": None} for line in world.log])
