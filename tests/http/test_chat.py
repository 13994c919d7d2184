"""OpenAI's door: the same engine, told in OpenAI's words. The wire is that of the official SDK's `types/chat`."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pensieve_core import (
    EngineFailedError,
    FinishReason,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    JsonObject,
    OverloadedError,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolResultPart,
    Usage,
)
from pensieve_http import HttpSettings
from pensieve_http.settings import ApiKey
from pensieve_http.testing import Reply, World, build_world
from pensieve_inference.testing import Raise, Wait, call, make_descriptor, say, think

URL = "/v1/chat/completions"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-claude", "messages": [{"role": "user", "content": "Say hello"}], **fields}


@pytest.fixture
def world() -> World:
    return _world(say("Hello there"))


def _world(*scripts: Any, **more: Any) -> World:
    catalog_model = make_descriptor("gpt-claude", context_tokens=1_000)
    return build_world(*scripts, model=catalog_model, **more)


async def ask(world: World, **fields: Any) -> Reply:
    return await world.client.post(URL, chat(**fields))


async def told(**fields: Any) -> GenerationRequest:
    world = _world()
    reply = await ask(world, **fields)
    assert reply.status == 200, reply.body
    return world.engine.requests[0]


def chunks(reply: Reply) -> list[Any]:
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *frames, end, rest = reply.body.split(b"\n\n")
    assert (end, rest) == (b"data: [DONE]", b"")
    return [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]


async def test_a_completion_is_created(world: World) -> None:
    body = (await ask(world)).json()
    assert body == {
        "id": "chatcmpl-0001",
        "object": "chat.completion",
        "created": 1_000,
        "model": "gpt-claude",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 2,
            "total_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


async def test_a_stream_tells_the_role_the_words_and_why_it_ended(world: World) -> None:
    told_chunks = chunks(await ask(world, stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in told_chunks]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there"}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in told_chunks] == [None, None, None, "stop"]
    assert {chunk["id"] for chunk in told_chunks} == {"chatcmpl-0001"}
    assert not any("usage" in chunk for chunk in told_chunks)


async def test_the_usage_of_a_stream_is_its_last_chunk_where_asked_for(world: World) -> None:
    last = chunks(await ask(world, stream=True, stream_options={"include_usage": True}))[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 4)


async def test_tool_calls_are_told_whole_and_in_pieces() -> None:
    scripts = [*say("Let me look."), *call("weather", {"city": "Paris"}), *call("weather", {"city": "Rome"}, "toolu_2")]
    whole = (await ask(_world(scripts), tools=[WEATHER])).json()["choices"][0]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["tool_calls"][1] == {
        "id": "toolu_2",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
    }
    pieces = [
        piece
        for chunk in chunks(await ask(_world(scripts), tools=[WEATHER], stream=True))
        for piece in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["toolu_scripted", "toolu_2"]
    written = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 1)
    assert orjson.loads(written) == {"city": "Rome"}


async def test_an_answer_of_tool_calls_alone_has_no_content() -> None:
    message = (await ask(_world(call("weather", {})), tools=[WEATHER])).json()["choices"][0]["message"]
    assert message["content"] is None


async def test_reasoning_stands_beside_the_content() -> None:
    script = [*think("Hm."), *say("Yes")]
    message = (await ask(_world(script))).json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Yes")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(await ask(_world(script), stream=True))]
    assert {"reasoning_content": "Hm."} in deltas


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.MAX_TOKENS, "length"),
        (FinishReason.CONTEXT_FULL, "length"),
        (FinishReason.END_OF_TURN, "stop"),
    ],
)
async def test_an_engines_reason_has_a_word(reason: FinishReason, word: str) -> None:
    finished = GenerationFinished(reason=reason, usage=Usage(prompt_tokens=2, cached_tokens=1, generated_tokens=1))
    body = (await ask(_world([TextProduced(text="a"), finished]))).json()
    assert body["choices"][0]["finish_reason"] == word
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


async def test_every_role_reaches_the_engine() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    called = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    cut = {"id": "c2", "function": {"name": "weather", "arguments": '{"city": '}}
    listed = {"id": "c3", "function": {"name": "weather", "arguments": "[]"}}
    request = await told(
        tools=[WEATHER],
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
            {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [called, cut, listed]},
            {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
            {"role": "system", "content": ""},
            {"role": "user", "content": ""},
            {"role": "assistant", "content": ""},
        ],
    )
    roles = [turn.role for turn in request.turns]
    parts = [turn.parts for turn in request.turns]
    assert roles == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER, Role.SYSTEM, Role.USER, Role.ASSISTANT]
    assert parts[0] == (TextPart(text="Be brief."),)
    assert parts[1] == (TextPart(text="Look"), ImagePart(media_type="image/png", data=b"hi"))
    assert parts[2][0] == ThinkingPart(text="Hm.")
    assert [part.arguments for part in parts[2][1:] if isinstance(part, ToolCallPart)] == [{"city": "Paris"}, {}, {}]
    assert isinstance(parts[3][0], ToolResultPart)
    assert parts[3][0].content == (TextPart(text="18 degrees"),)
    assert parts[4:] == [(TextPart(text=""),)] * 3


async def test_settings_reach_the_engine() -> None:
    request = await told(temperature=1.5, top_p=0.5, seed=7, stop="END", max_completion_tokens=9, user="me")
    assert request.sampling == Sampling(temperature=1.5, top_p=0.5, seed=7)
    assert (request.stop_sequences, request.max_tokens) == (("END",), 9)
    assert request.origin.session
    assert (await told(stop=["a", "b"])).stop_sequences == ("a", "b")
    assert (await told(max_tokens=3)).max_tokens == 3


async def test_an_answer_without_a_limit_may_fill_the_context() -> None:
    assert (await told()).max_tokens == 1_000


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("none", ToolChoice(mode=ToolChoiceMode.NONE)),
        ("auto", ToolChoice()),
        ("required", ToolChoice(mode=ToolChoiceMode.ANY)),
        (
            {"type": "function", "function": {"name": "weather"}},
            ToolChoice(mode=ToolChoiceMode.TOOL, name="weather"),
        ),
    ],
)
async def test_a_tool_choice_reaches_the_engine(choice: Any, wanted: ToolChoice) -> None:
    assert (await told(tools=[WEATHER], tool_choice=choice)).tool_choice == wanted


async def test_calls_can_be_held_to_one_at_a_time() -> None:
    assert not (await told(tools=[WEATHER], parallel_tool_calls=False)).tool_choice.parallel


async def test_a_tool_without_parameters_takes_an_object() -> None:
    request = await told(tools=[{"type": "function", "function": {"name": "now"}}])
    assert request.tools[0].parameters == {"type": "object"}


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
async def test_a_response_format_reaches_the_engine(wanted: JsonObject, schema: JsonObject | None) -> None:
    assert (await told(response_format=wanted)).output_schema == schema


@pytest.mark.parametrize(("effort", "enabled"), [(None, False), ("none", False), ("minimal", False), ("high", True)])
async def test_effort_says_whether_to_reason(effort: str | None, *, enabled: bool) -> None:
    assert (await told(reasoning_effort=effort)).thinking.enabled == enabled


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "poet", "content": "x"}]}, "messages.0.role: expected one of "),
        ({"messages": [{"content": "x"}]}, "messages.0.role: field required"),
        ({"messages": []}, "messages: must not be empty"),
        ({"n": 2}, "n: must be from 1 to 1, got 2"),
        ({"tool_choice": "required"}, "tool_choice: needs at least one tool in tools"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function.name: no tool is named 'f'",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools.1.function.name: tool names must be unique, got 'weather' again"),
        ({"stop": 5}, "stop: expected a string or an array, got an integer"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}],
                    }
                ]
            },
            "messages.0.content.0.image_url.url: must match data:image/",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages.0.content.0: this server hears no audio",
        ),
    ],
)
async def test_what_is_wrong_is_said_with_its_place_in_openais_form(
    world: World, fields: dict[str, Any], message: str
) -> None:
    reply = await ask(world, **fields)
    error = reply.json()["error"]
    assert reply.status == 400
    assert error["message"].startswith(message)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, None)


async def test_a_body_that_is_no_json_is_a_400(world: World) -> None:
    headers = {"content-type": "application/json"}
    reply = await world.client.request("POST", URL, headers=headers, body=b"{")
    assert reply.json()["error"]["message"].startswith("the body is not valid JSON")


async def test_programs_can_tell_causes_by_their_code() -> None:
    unknown = await ask(_world(), model="nobody")
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "model_not_found")
    long = await ask(_world(), messages=[{"role": "user", "content": "word " * 1_001}])
    assert (long.status, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    locked = _world(settings=HttpSettings(api_keys=(ApiKey.from_plain("k"),)))
    keyless = await ask(locked)
    assert (keyless.status, keyless.json()["error"]["code"]) == (401, "invalid_api_key")
    busy = await ask(_world([Raise(OverloadedError("full"))]))
    assert (busy.status, busy.json()["error"]["code"]) == (529, None)
    assert busy.headers["retry-after"] == "5"


async def test_a_stream_that_fails_ends_with_an_error() -> None:
    reply = await ask(_world([*say("Hello"), Raise(EngineFailedError("the engine died"))]), stream=True)
    error = orjson.loads(reply.body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    assert (error["type"], error["message"]) == ("api_error", "the engine died")
    assert b"[DONE]" not in reply.body


async def test_silence_is_broken_by_comments() -> None:
    world = _world([Wait(15), *say("Hello")])
    async with world.client.open("POST", URL, json=chat(stream=True)) as connection:
        assert b'"role":"assistant"' in await connection.piece()
        await world.clock.advance(10)
        assert await connection.piece() == b": ping\n\n"


async def test_the_log_line_tells_of_it_as_of_any_request(world: World) -> None:
    await ask(world, stream=False, logit_bias={})
    (line,) = world.lines()
    assert (line["requested_model"], line["model"], line["stop_reason"]) == ("gpt-claude", "gpt-claude", "end_turn")
    assert line["unknown_fields"] == ["logit_bias"]
