"""What only a model can show: SmolLM2 behind the real server. Few and short, for they compute."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance.scripted_server import Json, ScriptedServer

requirement = pytest.mark.requirement
pytestmark = pytest.mark.model

PERSON: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS: list[Json] = [
    {"name": "get_weather", "input_schema": PERSON},
    {"name": "tell_age", "description": "Tell a person's age.", "input_schema": PERSON},
]
GREEDY: Json = {"temperature": 0}
COUNTING: Json = {
    **GREEDY,
    "messages": [
        {"role": "user", "content": "Count in digits."},
        {"role": "assistant", "content": "1, 2, 3, 4, 5, 6,"},
    ],
}


def words(message: Json) -> str:
    return "".join(block["text"] for block in message["content"])


@requirement("field:messages:prefill", "field:max_tokens", "stop:max_tokens")
async def test_a_prefill_is_continued_up_to_max_tokens(model_server: ScriptedServer) -> None:
    message = await model_server.ask(**COUNTING, max_tokens=9)
    assert words(message).split(",")[0].strip() == "7"
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 9)


@requirement("field:stop_sequences", "field:stop_sequences:across-tokens", "stop:stop_sequence")
async def test_a_stop_sequence_is_met_across_tokens_and_not_shown(model_server: ScriptedServer) -> None:
    message = await model_server.ask(**COUNTING, max_tokens=40, stop_sequences=["zebra", "10, 11"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "10, 11")
    assert words(message).replace(" ", "") == "7,8,9,"


@requirement("field:temperature", "stream:same-as-json")
async def test_greedy_answers_are_the_same_streamed_or_not(model_server: ScriptedServer) -> None:
    whole = await model_server.ask(**COUNTING, max_tokens=12)
    events = await model_server.stream(**COUNTING, max_tokens=12)
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(pieces) == words(whole)


@requirement("field:messages:neighbours")
async def test_neighbours_of_one_role_are_one_turn(model_server: ScriptedServer) -> None:
    parted = [{"role": "user", "content": "Hello."}, {"role": "user", "content": "How are you?"}]
    blocks = [{"type": "text", "text": "Hello."}, {"type": "text", "text": "How are you?"}]
    merged = [{"role": "user", "content": blocks}]
    alone = await model_server.count(messages=merged[:1])
    assert abs(await model_server.count(messages=parted) - alone) <= 2


@requirement("field:max_tokens:zero", "usage:read")
async def test_zero_tokens_warm_the_cache_and_say_nothing(model_server: ScriptedServer) -> None:
    fields: dict[str, Any] = {**GREEDY, "messages": [{"role": "user", "content": "Tell me about otters and rivers."}]}
    warmed = await model_server.ask(**fields, max_tokens=0)
    assert (warmed["content"], warmed["stop_reason"]) == ([], "max_tokens")
    assert warmed["usage"]["output_tokens"] == 0
    usage = (await model_server.ask(**fields, max_tokens=2))["usage"]
    assert usage["cache_read_input_tokens"] > usage["input_tokens"]


@requirement("usage:creation", "usage:unmarked", "cache:text")
async def test_only_what_is_marked_is_said_to_be_written(model_server: ScriptedServer) -> None:
    def system(mark: Json) -> list[Json]:
        return [
            {"type": "text", "text": f"You know all about {mark or 'plain'} badgers, their setts and habits.", **mark}
        ]

    plain = (await model_server.ask(system=system({}), max_tokens=1))["usage"]
    assert plain["cache_creation_input_tokens"] == 0
    marked = (await model_server.ask(system=system({"cache_control": {"type": "ephemeral"}}), max_tokens=1))["usage"]
    assert marked["cache_creation_input_tokens"] > 0


@requirement("format:json_schema:held")
async def test_an_answer_is_json_of_its_schema(model_server: ScriptedServer) -> None:
    output = {"format": {"type": "json_schema", "schema": PERSON}}
    message = await model_server.ask(**GREEDY, output_config=output, max_tokens=80)
    answer = json.loads(words(message))
    assert set(answer) == {"name", "age"}
    assert 0 <= answer["age"] <= 120


@requirement("format:json_schema:keyword")
async def test_a_keyword_that_cannot_be_held_is_left_out(model_server: ScriptedServer) -> None:
    name = {"type": "string", "maxLength": 12, "not": {"const": "x"}}
    schema = {**PERSON, "properties": {**PERSON["properties"], "name": name}}
    output = {"format": {"type": "json_schema", "schema": schema}}
    message = await model_server.ask(**GREEDY, output_config=output, max_tokens=80)
    assert set(json.loads(words(message))) == {"name", "age"}


@requirement("tool_choice:any:held", "tool:custom:strict")
async def test_a_call_that_is_demanded_is_made(model_server: ScriptedServer) -> None:
    message = await model_server.ask(**GREEDY, tools=TOOLS, tool_choice={"type": "any"}, max_tokens=120)
    assert message["stop_reason"] == "tool_use"
    block = message["content"][-1]
    assert block["name"] in {"get_weather", "tell_age"}
    assert set(block["input"]) == {"name", "age"}


@requirement("tool_choice:tool:held", "tool_choice:disable_parallel_tool_use")
async def test_the_tool_that_is_demanded_is_called_once(model_server: ScriptedServer) -> None:
    choice = {"type": "tool", "name": "tell_age", "disable_parallel_tool_use": True}
    message = await model_server.ask(**GREEDY, tools=TOOLS, tool_choice=choice, max_tokens=120)
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert [call["name"] for call in calls] == ["tell_age"]


@requirement("stop:model_context_window_exceeded", "error:max-tokens-too-large")
async def test_a_full_window_ends_the_answer(model_server: ScriptedServer) -> None:
    filler = {"role": "user", "content": "1 2 3 4 5 6 7 8 9 " * 105 + "Count in digits."}
    messages = [filler, COUNTING["messages"][1]]
    counted = await model_server.count(messages=messages)
    assert 1_900 < counted < 2_048
    message = await model_server.ask(messages=messages, max_tokens=64_000, **GREEDY)
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert counted + message["usage"]["output_tokens"] == 2_048


@requirement("error:prompt-too-long")
async def test_a_prompt_beyond_the_window_is_refused_in_claude_codes_words(model_server: ScriptedServer) -> None:
    said = await model_server.refusal(messages=[{"role": "user", "content": "word " * 3_000}])
    assert said.startswith("prompt is too long: 30")
    assert said.endswith(" tokens > 2047 maximum")  # one is kept for the answer
