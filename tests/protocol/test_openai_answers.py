"""OpenAI's door: what a stream tells in chunks is the answer that is given without a stream; `ChatCompletion*` there.

The whole door, from its requests to its errors, is tested in `tests/http/test_chat.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    PromptUsage,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_protocol import (
    ApiError,
    ChatChunks,
    MessageAccumulator,
    MessageStream,
    StreamEvent,
    api_error,
    chat_completion,
    dump_json,
    openai_error_body,
)

PIECES = st.lists(
    st.tuples(st.sampled_from(["text", "thinking", "call"]), st.text(min_size=1, max_size=8)), min_size=1, max_size=6
)


def said(pieces: list[tuple[str, str]], reason: FinishReason) -> list[GenerationEvent]:
    events: list[GenerationEvent] = []
    for number, (kind, text) in enumerate(pieces):
        match kind:
            case "text":
                events.append(TextProduced(text=text))
            case "thinking":
                events.append(ThinkingProduced(text=text))
            case _:
                whole = json.dumps({"text": text})
                fragments = (ToolCallArguments(fragment=part) for part in (whole[:4], whole[4:]))
                events += [ToolCallStarted(id=ToolCallId(f"toolu_{number}"), name="say"), *fragments]
    usage = Usage(prompt_tokens=9, cached_tokens=3, cache_created_tokens=2, generated_tokens=5, thinking_tokens=1)
    return [*events, GenerationFinished(reason=reason, usage=usage)]


def streamed(events: list[GenerationEvent]) -> list[StreamEvent]:
    stream = MessageStream(message_id="msg_1", model="m", show_thinking=True)
    return [*stream.start(PromptUsage(prompt_tokens=9)), *(told for event in events for told in stream.feed(event))]


def chunked(events: list[StreamEvent], *, include_usage: bool = True) -> list[Any]:
    """Return what is read off the wire: payloads, and its last word."""
    chunks = ChatChunks(created=7, include_usage=include_usage)
    lines = b"".join(chunks.encode(event) for event in events).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def folded(chunks: list[Any]) -> dict[str, Any]:
    """Put the deltas together, as a client does."""
    content, reasoning = "", ""
    calls: list[dict[str, Any]] = []
    for delta in (choice["delta"] for chunk in chunks for choice in chunk["choices"]):
        content += delta.get("content", "")
        reasoning += delta.get("reasoning_content", "")
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                assert call["index"] == len(calls)
                calls.append(call | {"function": dict(call["function"])})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    answer = {"content": content, "reasoning_content": reasoning}
    functions = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return answer | {"calls": functions}


@given(PIECES, st.sampled_from(FinishReason))
def test_the_chunks_put_together_are_the_answer_without_a_stream(
    pieces: list[tuple[str, str]], reason: FinishReason
) -> None:
    events = streamed(said(pieces, reason))
    accumulator = MessageAccumulator()
    accumulator.add(*events)
    whole = json.loads(dump_json(chat_completion(accumulator.message, created=7)))
    *chunks, last = chunked(events)
    (choice,) = whole["choices"]
    message = choice["message"]
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    assert folded(chunks) == {
        "content": message["content"] or "",
        "reasoning_content": message.get("reasoning_content", ""),
        "calls": calls,
    }
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    finish_reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert finish_reasons == [None] * (len(chunks) - 1) + [choice["finish_reason"]]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in (*chunks, last, whole)} == {
        ("chatcmpl-1", 7, "m")
    }


def test_the_usage_is_told_to_who_asked_for_it_alone() -> None:
    chunks = chunked(streamed(said([("text", "a")], FinishReason.END_OF_TURN)), include_usage=False)
    assert not [chunk for chunk in chunks if "usage" in chunk]


def test_the_prompts_tokens_are_those_computed_read_and_kept() -> None:
    accumulator = MessageAccumulator()
    accumulator.add(*streamed(said([("text", "a")], FinishReason.END_OF_TURN)))
    usage = chat_completion(accumulator.message, created=7).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 5, 14)
    assert (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens) == (3, 1)


def test_silence_and_failures_have_their_words() -> None:
    stream = MessageStream(message_id="msg_1", model="m", show_thinking=True)
    chunks = ChatChunks(created=7, include_usage=True)
    stream.start(PromptUsage(prompt_tokens=9))
    assert [chunks.encode(event) for event in stream.ping()] == [b": ping\n\n"]
    failed = b"".join(chunks.encode(event) for event in stream.fail(api_error(500, "torn"), "req_1"))
    assert json.loads(failed.removeprefix(b"data: "))["error"] == {
        "message": "torn",
        "type": "api_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (api_error(400, "prompt is too long: 9 tokens > 8 maximum"), "context_length_exceeded"),
        (api_error(401, "whatever"), "invalid_api_key"),
        (api_error(404, "model: x"), "model_not_found"),
        (api_error(404, "no such path"), None),
        (api_error(500, "prompt is too long: "), None),
    ],
)
def test_an_error_stands_in_openais_envelope_with_its_cause(error: ApiError, code: str | None) -> None:
    told = json.loads(openai_error_body(error))["error"]
    assert told == {"message": error.message, "type": error.type, "param": None, "code": code}
