"""The order of events, and why an answer ends."""

from __future__ import annotations

import json

import anthropic
import pytest
from conformance.scripted_server import Json, ScriptedServer, Serve

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    TextProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_http import HttpSettings
from pensieve_inference.testing import Wait, call, say, think

requirement = pytest.mark.requirement

WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
EVERYTHING = [*think("Hm."), *say("Let me look."), *call("get_weather", {"city": "Paris"}, "toolu_1")]


def types_of(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


def deltas(events: list[Json], kind: str) -> list[Json]:
    found = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta for delta in found if delta["type"] == kind]


@requirement("stream:content-type")
async def test_a_stream_says_what_it_is_and_is_kept_by_nobody(server: ScriptedServer) -> None:
    reply = await server.post(stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in reply.headers["cache-control"] or "no-store" in reply.headers["cache-control"]


@requirement("stream:event-names", "stream:types", "stream:message_stop", "field:stream")
async def test_each_event_has_its_name_and_is_one_of_the_sdks(serve: Serve) -> None:
    server = await serve(EVERYTHING)
    events = await server.stream(tools=[WEATHER])  # the client checks each of them
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


@requirement("stream:start")
async def test_the_message_starts_empty_with_the_usage_so_far(server: ScriptedServer) -> None:
    message = (await server.stream())[0]["message"]
    assert (message["content"], message["stop_reason"], message["role"]) == ([], None, "assistant")
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (2, 0, 0)


@requirement("stream:start:early", "stream:client-left")
async def test_the_start_does_not_wait_and_a_client_that_leaves_ends_its_generation(serve: Serve) -> None:
    server = await serve([Wait(1_000)])
    async with server.http.stream("POST", "/v1/messages", json=server.body(stream=True)) as reply:
        lines = reply.aiter_lines()
        assert await anext(lines) == "event: message_start"
        assert server.engine.running
    await server.until_idle()


@requirement("stream:ping")
async def test_silence_is_broken_by_pings(serve: Serve) -> None:
    settings = HttpSettings(ping_interval_s=0.02, loading_patience_s=0.02)
    server = await serve([Wait(1), TextProduced(text="late")], settings=settings)
    events = await server.stream()
    assert types_of(events).count("ping") > 2
    assert types_of(events)[1] == "ping"


@requirement("stream:keep-alive")
async def test_a_long_wait_opens_the_first_block_and_sends_empty_deltas(serve: Serve) -> None:
    settings = HttpSettings(ping_interval_s=0.02, keep_alive_after_s=0.05, loading_patience_s=0.02)
    server = await serve([Wait(1), TextProduced(text="late")], settings=settings)
    events = await server.stream()
    texts = [delta["text"] for delta in deltas(events, "text_delta")]
    assert texts.count("") > 2
    assert "".join(texts) == "late"
    assert types_of(events).count("content_block_start") == 1


@requirement("stream:blocks", "tool:interleaved")
async def test_blocks_come_one_after_the_other_counted_from_zero(serve: Serve) -> None:
    server = await serve([*EVERYTHING, *call("get_weather", {"city": "Rome"}, "toolu_2")])
    brackets = [
        (event["type"].removeprefix("content_block_"), event["index"])
        for event in await server.stream(tools=[WEATHER])
        if event["type"] in ("content_block_start", "content_block_stop")
    ]
    assert brackets == [(edge, index) for index in range(4) for edge in ("start", "stop")]


@requirement("stream:text_delta")
async def test_text_comes_in_text_deltas(serve: Serve) -> None:
    server = await serve(say("one two three"))
    texts = [delta["text"] for delta in deltas(await server.stream(), "text_delta")]
    assert "".join(texts) == "one two three"


@requirement("stream:input_json_delta")
async def test_the_fragments_of_an_input_make_one_object(serve: Serve) -> None:
    server = await serve(call("get_weather", {"city": "Paris"}, "toolu_1"))
    fragments = [delta["partial_json"] for delta in deltas(await server.stream(tools=[WEATHER]), "input_json_delta")]
    assert json.loads("".join(fragments)) == {"city": "Paris"}


@requirement("stream:input_json_delta:empty")
async def test_a_call_without_arguments_yields_an_object_too(serve: Serve) -> None:
    server = await serve([ToolCallStarted(id=ToolCallId("toolu_1"), name="ls")])
    events = await server.stream(tools=[{"name": "ls", "input_schema": {"type": "object"}}])
    fragments = [delta["partial_json"] for delta in deltas(events, "input_json_delta")]
    assert json.loads("".join(fragments)) == {}


@requirement("stream:thinking_delta", "stream:signature_delta")
async def test_reasoning_ends_with_its_signature(serve: Serve) -> None:
    server = await serve([*think("Hm."), *say("Yes.")])
    events = await server.stream(max_tokens=2_000, thinking={"type": "enabled", "budget_tokens": 1_024})
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert [event.get("delta", {}).get("type") for event in events[2:5]] == ["thinking_delta", "signature_delta", None]
    assert events[3]["delta"]["signature"]
    assert events[4]["type"] == "content_block_stop"


@requirement("stream:message_delta", "usage:cumulative")
async def test_there_is_one_message_delta_with_the_whole_usage(serve: Serve) -> None:
    server = await serve(say("one two three"))
    ends = [event for event in await server.stream() if event["type"] == "message_delta"]
    assert [end["delta"]["stop_reason"] for end in ends] == ["end_turn"]
    usage = ends[0]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (2, 3)


@requirement("stream:same-as-json", "stream:sdk-fold")
async def test_json_and_the_sdks_fold_of_the_stream_are_the_same_message(serve: Serve) -> None:
    server = await serve(EVERYTHING)
    fields = {"tools": [WEATHER], "max_tokens": 2_000, "thinking": {"type": "enabled", "budget_tokens": 1_024}}
    whole = await server.ask(**fields)
    async with (
        anthropic.AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0) as client,
        client.messages.stream(**server.body(**fields)) as stream,
    ):
        folded = (await stream.get_final_message()).to_dict()
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use"]
    for name in ("content", "stop_reason", "stop_sequence", "model", "role"):
        assert folded[name] == whole[name]
    for figure in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert folded["usage"][figure] == whole["usage"][figure]  # type: ignore[index] # a dict of plain values


@requirement("stream:empty-answer")
async def test_an_answer_without_content_has_one_empty_text_block(serve: Serve) -> None:
    server = await serve([])
    assert (await server.ask())["content"] == [{"type": "text", "text": ""}]


def _finish(reason: FinishReason, stop_sequence: str | None = None) -> GenerationFinished:
    usage = Usage(prompt_tokens=2, generated_tokens=3)
    return GenerationFinished(reason=reason, stop_sequence=stop_sequence, usage=usage)


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        pytest.param(_finish(FinishReason.END_OF_TURN), ("end_turn", None), marks=requirement("stop:end_turn")),
        pytest.param(_finish(FinishReason.MAX_TOKENS), ("max_tokens", None), marks=requirement("stop:max_tokens")),
        pytest.param(
            _finish(FinishReason.STOP_SEQUENCE, "END"),
            ("stop_sequence", "END"),
            marks=requirement("stop:stop_sequence", "field:stop_sequences"),
        ),
        pytest.param(
            _finish(FinishReason.CONTEXT_FULL),
            ("model_context_window_exceeded", None),
            marks=requirement("stop:model_context_window_exceeded"),
        ),
    ],
)
async def test_an_answer_says_why_it_ended(
    serve: Serve, finish: GenerationFinished, expected: tuple[str, str | None]
) -> None:
    server = await serve([*say("so far"), finish])
    message = await server.ask(stop_sequences=["END"])
    assert (message["stop_reason"], message["stop_sequence"]) == expected
    assert server.told.stop_sequences == ("END",)
    (end,) = [event["delta"] for event in await server.stream() if event["type"] == "message_delta"]
    assert (end["stop_reason"], end["stop_sequence"]) == expected


@requirement("stop:tool_use", "message:tool-ids")
async def test_an_answer_with_a_call_ends_for_it(serve: Serve) -> None:
    server = await serve(EVERYTHING)
    message = await server.ask(tools=[WEATHER])
    assert message["stop_reason"] == "tool_use"
    assert message["content"][-1]["id"].startswith("toolu_")


@requirement("message:cut-input")
async def test_a_call_that_was_cut_off_is_still_a_message(serve: Serve) -> None:
    started = ToolCallStarted(id=ToolCallId("toolu_1"), name="get_weather")
    cut = ToolCallArguments(fragment='{"city": "Par')
    server = await serve([started, cut, _finish(FinishReason.MAX_TOKENS)])
    message = await server.ask(tools=[WEATHER])
    assert (message["stop_reason"], message["content"][0]["input"]) == ("max_tokens", {})


@requirement("message:id")
async def test_no_two_messages_have_the_same_id(server: ScriptedServer) -> None:
    ids = [(await server.ask())["id"] for _ in range(2)]
    assert all(name.startswith("msg_") for name in ids)
    assert ids[0] != ids[1]
