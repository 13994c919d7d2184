"""What comes back: https://docs.anthropic.com/en/docs/build-with-claude/streaming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pensieve_upstream.anthropic_answer import MessageReader

from pensieve_core import (
    EngineFailedError,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    OverloadedError,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallStarted,
)
from pensieve_inference.testing.contract import check_transcript

USAGE = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}
START: Mapping[str, Any] = {"type": "message_start", "message": {"usage": USAGE}}
STOP: Mapping[str, Any] = {"type": "message_stop"}
END_OF_BLOCK: Mapping[str, Any] = {"type": "content_block_stop", "index": 0}


def delta(kind: str, **fields: str) -> Mapping[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", **fields}}


def call(*fragments: str) -> list[Mapping[str, Any]]:
    block = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
    started = {"type": "content_block_start", "index": 0, "content_block": block}
    return [started, *(delta("input_json", partial_json=fragment) for fragment in fragments), END_OF_BLOCK]


def ended(reason: str | None, **more: Any) -> Mapping[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {"output_tokens": 7}}


def read(*payloads: Mapping[str, Any]) -> list[GenerationEvent]:
    reader = MessageReader()
    return [event for payload in payloads for event in reader.feed(payload)]


def test_an_answer_becomes_events_and_its_usage_is_the_upstreams() -> None:
    events = read(
        START,
        {"type": "ping"},
        delta("thinking", thinking="hm"),
        delta("signature", signature="x"),
        delta("text", text=""),
        delta("text", text="Hello"),
        END_OF_BLOCK,
        *call('{"a"', "", ": 1}"),
        ended("tool_use"),
        STOP,
    )
    assert [type(event) for event in events] == [
        ThinkingProduced,
        TextProduced,
        ToolCallStarted,
        ToolCallArguments,
        ToolCallArguments,
        GenerationFinished,
    ]
    check_transcript(events)
    finish = events[-1]
    assert isinstance(finish, GenerationFinished)
    assert finish.reason is FinishReason.TOOL_CALLS
    usage = finish.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.cache_created_tokens, usage.generated_tokens) == (
        *(10, 5, 2),
        7,
    )


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert ToolCallArguments(fragment="{}") in read(START, *call(), ended("tool_use"), STOP)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", FinishReason.END_OF_TURN),
        ("max_tokens", FinishReason.MAX_TOKENS),
        ("model_context_window_exceeded", FinishReason.CONTEXT_FULL),
        ("tool_use", FinishReason.END_OF_TURN),  # there was no call
        ("something new", FinishReason.END_OF_TURN),
        (None, FinishReason.END_OF_TURN),
    ],
)
def test_why_it_stopped_is_told(told: str | None, reason: FinishReason) -> None:
    (finish,) = read(START, ended(told, stop_sequence=None), STOP)
    assert isinstance(finish, GenerationFinished)
    assert (finish.reason, finish.stop_sequence) == (reason, None)


def test_a_stop_sequence_is_named() -> None:
    (finish,) = read(START, ended("stop_sequence", stop_sequence="END"), STOP)
    assert isinstance(finish, GenerationFinished)
    assert (finish.reason, finish.stop_sequence) == (FinishReason.STOP_SEQUENCE, "END")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("overloaded_error", OverloadedError), ("api_error", EngineFailedError), ("x", EngineFailedError)],
)
def test_an_error_in_the_stream_is_one_here(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="the upstream: it broke"):
        read(START, {"type": "error", "error": {"type": kind, "message": "it broke"}})


blocks = st.one_of(
    st.lists(st.text(max_size=3), max_size=3).map(lambda texts: [delta("text", text=text) for text in texts]),
    st.lists(st.text(max_size=3), max_size=3).map(lambda texts: [delta("thinking", thinking=text) for text in texts]),
    st.sampled_from(["", '{"a": 1}']).map(call),
)


@given(blocks=st.lists(blocks, max_size=5), reason=st.sampled_from(["end_turn", "tool_use", "max_tokens", None]))
def test_any_legal_stream_is_a_legal_transcript(blocks: list[list[Mapping[str, Any]]], reason: str | None) -> None:
    events = read(START, *(payload for block in blocks for payload in block), ended(reason), STOP)
    check_transcript(events)
