"""What goes wrong, and how a client is told."""

from __future__ import annotations

import re
from typing import Any

import anthropic
import pytest
from conformance.scripted_server import ScriptedServer, Serve, checked_events

from pensieve_core import EngineFailedError, OverloadedError, TextProduced
from pensieve_http import ApiKey, HttpSettings
from pensieve_http.testing import EventReader
from pensieve_inference.testing import Raise, ScriptedEngine, make_descriptor, say

requirement = pytest.mark.requirement

DEATH = Raise(EngineFailedError("the engine died"))
BUSY = Raise(OverloadedError("the queue is full", retry_after_s=7))


@requirement("error:envelope", "error:request-id", "error:invalid_request_error")
async def test_an_error_has_its_envelope_and_the_id_of_its_request(server: ScriptedServer) -> None:
    reply = await server.post(model=5)
    error = {"type": "invalid_request_error", "message": "model: expected a string, got an integer"}
    assert reply.status_code == 400
    assert reply.json() == {"type": "error", "error": error, "request_id": reply.headers["request-id"]}


@requirement("error:max-tokens-too-large:strict")
async def test_a_strict_server_refuses_what_may_not_fit_with_both_numbers(serve: Serve) -> None:
    server = await serve(model=make_descriptor(context_tokens=100), settings=HttpSettings(strict=True))
    said = await server.refusal(max_tokens=100)
    assert re.match(r"input length and `max_tokens` exceed context limit: \d+ \+ 100 > 100, decrease ", said)


@requirement("error:request-id")
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/nowhere"])
async def test_every_response_has_a_request_id_of_its_own(server: ScriptedServer, path: str) -> None:
    first, second = [(await server.http.get(path)).headers["request-id"] for _ in range(2)]
    assert first.startswith("req_")
    assert first != second


@requirement("error:path")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text: field required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: expected one of 'user', 'assistant'"),
        ({"max_tokens": "100"}, "max_tokens: expected an integer, got a string"),
        ({"top_p": 2}, "top_p: must be from 0 to 1, got 2"),
    ],
)
async def test_a_fault_is_named_with_its_place(server: ScriptedServer, fields: dict[str, Any], message: str) -> None:
    assert (await server.refusal(**fields)).startswith(message)


@requirement("error:paths")
async def test_several_faults_are_told_at_once(server: ScriptedServer) -> None:
    message = await server.refusal(model=1, max_tokens="x", stream="y", top_p="z", system=3)
    assert message.count(";") == 2
    assert message.endswith("(and 2 more)")


@requirement("error:permission_error")
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
async def test_strangers_are_forbidden(server: ScriptedServer, headers: dict[str, str]) -> None:
    reply = await server.post(headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (403, "permission_error")


@requirement("error:request_too_large", "error:body-size-early")
async def test_a_body_that_is_too_large_is_refused(serve: Serve) -> None:
    server = await serve(settings=HttpSettings(max_body_bytes=1_000))
    reply = await server.post(system="x" * 2_000)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")
    assert server.engine.requests == []


@requirement("error:api_error", "error:unfinished")
async def test_an_engine_that_dies_is_a_500_and_never_half_an_answer(serve: Serve) -> None:
    server = await serve([TextProduced(text="half"), DEATH])
    reply = await server.post()
    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
    assert "half" not in reply.text


class _Crashing(ScriptedEngine):
    async def generate(self, request: object) -> Any:
        msg = "a secret of the inside"
        raise RuntimeError(msg)


@requirement("error:api_error")
async def test_what_nobody_foresaw_tells_nothing_of_the_inside(serve: Serve) -> None:
    server = await serve(engine=_Crashing(model=make_descriptor()))
    reply = await server.post()
    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
    assert "secret" not in reply.text


@requirement("error:overloaded_error", "error:should-retry")
async def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    server = await serve([BUSY])
    reply = await server.post()
    assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")
    assert (reply.headers["retry-after"], reply.headers["x-should-retry"]) == ("7", "true")


@requirement("error:after-first-byte")
async def test_after_the_first_byte_an_error_is_the_last_event(serve: Serve) -> None:
    server = await serve([TextProduced(text="half"), DEATH])
    reply = await server.post(stream=True)
    events = checked_events(EventReader().feed(reply.content))
    assert [event["type"] for event in events[-2:]] == ["content_block_delta", "error"]
    assert events[-1]["error"] == {"type": "api_error", "message": "the engine died"}
    assert events[-1]["request_id"] == reply.headers["request-id"]


@requirement("error:sdk-class")
@pytest.mark.parametrize(
    ("status", "fields", "key"),
    [(400, {"max_tokens": -1}, "right"), (401, {}, "wrong"), (404, {"model": "nobody"}, "right"), (500, {}, "right")],
)
async def test_the_sdk_raises_the_class_of_each_status(
    serve: Serve, status: int, fields: dict[str, Any], key: str
) -> None:
    server = await serve([DEATH], settings=HttpSettings(api_keys=(ApiKey.from_plain("right"),)))
    classes = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        404: anthropic.NotFoundError,
        500: anthropic.InternalServerError,
    }
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=key, max_retries=0) as client:
        with pytest.raises(classes[status]) as raised:
            await client.messages.create(**server.body(**fields))
    assert raised.value.status_code == status
    assert (raised.value.request_id or "").startswith("req_")


@requirement("error:json")
@pytest.mark.parametrize("content", [b"{", b"", b'{"model": "\xff"}', b'{"a": 1, "a": 2}', b"[]", b'{"a": NaN}'])
async def test_a_body_that_is_no_clean_json_object_is_refused(server: ScriptedServer, content: bytes) -> None:
    reply = await server.http.post("/v1/messages", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


@requirement("error:content-type")
@pytest.mark.parametrize("stated", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"])
async def test_another_content_type_is_refused(server: ScriptedServer, stated: str) -> None:
    reply = await server.http.post("/v1/messages", content=b"{}", headers={"content-type": stated})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("content-type: ")


@requirement("error:prompt-too-long")
async def test_the_wording_that_claude_code_compacts_on(serve: Serve) -> None:
    server = await serve(model=make_descriptor(context_tokens=10))
    said = [{"role": "user", "content": "word " * 40}]
    assert await server.refusal(messages=said) == "prompt is too long: 40 tokens > 10 maximum"
    assert await server.refusal(messages=said, stream=True) == "prompt is too long: 40 tokens > 10 maximum"


@requirement("error:max-tokens-too-large")
async def test_a_prompt_that_fits_is_served_however_large_max_tokens_is(serve: Serve) -> None:
    server = await serve(say("ok"), model=make_descriptor(context_tokens=10))
    assert (await server.ask(max_tokens=64_000))["content"][0]["text"] == "ok"
