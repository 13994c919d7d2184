"""What comes back: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pensieve_upstream.openai_answer import ChunkReader

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
    Usage,
)
from pensieve_inference.testing.contract import check_transcript

Chunk = Mapping[str, Any]
DONE: Chunk = {"done": True}
START: Chunk = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None}
USAGE: Chunk = {
    "choices": [],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


def delta(**fields: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def call(index: int, *fragments: str) -> list[Chunk]:
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "Bash", "arguments": ""}}
    more = [{"index": index, "function": {"arguments": fragment}} for fragment in fragments]
    return [delta(tool_calls=[one]) for one in (first, *more)]


def ended(reason: str | None, **more: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]}


def read(*chunks: Chunk, only_prompt: bool = False) -> list[GenerationEvent]:
    reader = ChunkReader(only_prompt=only_prompt)
    return [event for chunk in chunks for event in reader.feed(chunk)]


def test_an_answer_becomes_events_and_its_usage_is_the_upstreams() -> None:
    events = read(
        START,
        delta(reasoning_content="hm"),
        delta(reasoning="hm"),
        delta(content="Hello"),
        *call(0, '{"a"', "", ": 1}"),
        *call(1),
        ended("tool_calls"),
        USAGE,
        DONE,
    )
    assert [type(event) for event in events] == [
        *(ThinkingProduced, ThinkingProduced, TextProduced),
        *(ToolCallStarted, ToolCallArguments, ToolCallArguments),
        *(ToolCallStarted, ToolCallArguments),
        GenerationFinished,
    ]
    check_transcript(events)
    assert events[-2] == ToolCallArguments(fragment="{}")
    usage = Usage(prompt_tokens=10, cached_tokens=5, generated_tokens=7, thinking_tokens=2)
    assert events[-1] == GenerationFinished(reason=FinishReason.TOOL_CALLS, usage=usage)


def test_a_whole_call_may_come_in_one_chunk_and_an_id_again() -> None:
    """vLLM and Ollama send whole calls; some servers repeat the id with every fragment."""
    function = {"name": "Bash", "arguments": '{"a": 1}'}
    whole = delta(tool_calls=[{"index": 0, "id": "call_0", "function": function}])
    again = delta(tool_calls=[{"index": 0, "id": "call_0", "function": {"name": None, "arguments": " "}}])
    events = read(whole, again, ended("tool_calls"), DONE)
    assert [type(event) for event in events[:3]] == [ToolCallStarted, ToolCallArguments, ToolCallArguments]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("stop", FinishReason.END_OF_TURN),
        ("length", FinishReason.MAX_TOKENS),
        ("tool_calls", FinishReason.END_OF_TURN),  # there was no call
        ("something new", FinishReason.END_OF_TURN),
        (None, FinishReason.END_OF_TURN),
    ],
)
def test_why_it_stopped_is_told(told: str | None, reason: FinishReason) -> None:
    (finish,) = read(ended(told), DONE)
    assert finish == GenerationFinished(reason=reason, usage=Usage(prompt_tokens=0))


def test_vllm_names_the_stop_sequence() -> None:
    (finish,) = read(ended("stop", stop_reason="END"), DONE)
    assert isinstance(finish, GenerationFinished)
    assert (finish.reason, finish.stop_sequence) == (FinishReason.STOP_SEQUENCE, "END")
    (finish,) = read(ended("stop", stop_reason=151_645), DONE)  # a token's number: the usual end
    assert isinstance(finish, GenerationFinished)
    assert finish.reason is FinishReason.END_OF_TURN


def test_of_the_token_that_had_to_be_asked_for_nothing_is_told() -> None:
    (finish,) = read(START, delta(content="x"), ended("length"), USAGE, DONE, only_prompt=True)
    usage = Usage(prompt_tokens=10, cached_tokens=5)
    assert finish == GenerationFinished(reason=FinishReason.MAX_TOKENS, usage=usage)


@pytest.mark.parametrize(
    ("kind", "error"), [("overloaded_error", OverloadedError), ("server_error", EngineFailedError)]
)
def test_an_error_in_the_stream_is_one_here(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="the upstream: it broke"):
        read(START, {"error": {"type": kind, "message": "it broke"}})


@pytest.mark.parametrize(
    "calls", [[*call(1), *call(0, "{}")], [delta(tool_calls=[{"index": 0}])], [delta(tool_calls=[{}])]]
)
def test_calls_that_make_no_sense_are_a_failure(calls: list[Chunk]) -> None:
    with pytest.raises(EngineFailedError, match="tool calls"):
        read(*calls)


texts = st.lists(st.tuples(st.sampled_from(["content", "reasoning_content"]), st.text(max_size=3)), max_size=6)


@given(
    texts=texts, calls=st.lists(st.sampled_from(["", '{"a": 1}']), max_size=3), reason=st.sampled_from(["stop", None])
)
def test_any_legal_stream_is_a_legal_transcript(
    texts: list[tuple[str, str]], calls: list[str], reason: str | None
) -> None:
    said = [delta(**{kind: text}) for kind, text in texts]
    called = [chunk for index, fragment in enumerate(calls) for chunk in call(index, fragment)]
    check_transcript(read(START, *said, *called, ended(reason), USAGE, DONE))
