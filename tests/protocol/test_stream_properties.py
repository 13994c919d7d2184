"""The stream machine under every legal sequence of engine events, judged by the official SDK.

The oracle is `anthropic.lib.streaming`: whatever Pensieve streams, the SDK folds into a message; and that message is
the one which Pensieve answers without a stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    PrefillProgressed,
    PromptUsage,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_protocol import (
    MessageAccumulator,
    MessageStream,
    StreamEvent,
    api_error,
    dump_json,
    encode_sse,
    sign_thinking,
)

SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

PING, KEEP_ALIVE_TEXT, KEEP_ALIVE_THINKING = "ping", "keep alive with text", "keep alive with thinking"
SIGNS_OF_LIFE = st.sampled_from([PING, KEEP_ALIVE_TEXT, KEEP_ALIVE_THINKING])
COUNTS = st.integers(0, 10_000)
JSON_OBJECTS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5), max_size=3
)


@st.composite
def calls(draw: st.DrawFn) -> list[GenerationEvent]:
    """A tool call, its arguments cut anywhere; sometimes without any."""
    fragments: list[str] = []
    if draw(st.booleans()):
        whole = json.dumps(draw(JSON_OBJECTS), ensure_ascii=draw(st.booleans()))
        cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        fragments = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    name = draw(st.sampled_from(["Bash", "Read"]))
    started = ToolCallStarted(id=ToolCallId(draw(st.uuids().map(str))), name=name)
    return [started, *(ToolCallArguments(fragment=fragment) for fragment in fragments)]


@st.composite
def generations(draw: st.DrawFn) -> list[GenerationEvent | str]:
    """What an engine may say, in the order of `pensieve_core._events`, with signs of life strewn in."""
    text = st.text(min_size=1, max_size=8)
    piece = st.one_of(
        text.map(lambda t: [TextProduced(text=t)]),
        text.map(lambda t: [ThinkingProduced(text=t)]),
        calls(),
    )
    prefill = [PrefillProgressed(processed_tokens=n, total_tokens=9) for n in range(draw(st.integers(0, 2)))]
    said: list[GenerationEvent | str] = [*prefill]
    for word in (event for events in draw(st.lists(piece, max_size=6)) for event in events):
        said += draw(st.lists(SIGNS_OF_LIFE, max_size=2))
        said.append(word)
    return [*said, *draw(st.lists(SIGNS_OF_LIFE, max_size=2)), draw(_ends())]


@st.composite
def _ends(draw: st.DrawFn) -> GenerationFinished:
    reason = draw(st.sampled_from(FinishReason))
    stop_sequence = draw(st.text(min_size=1)) if reason is FinishReason.STOP_SEQUENCE else None
    usage = Usage(
        prompt_tokens=draw(COUNTS),
        cached_tokens=draw(COUNTS),
        cache_created_tokens=draw(COUNTS),
        generated_tokens=draw(COUNTS),
        thinking_tokens=draw(COUNTS),
    )
    return GenerationFinished(reason=reason, stop_sequence=stop_sequence, usage=usage)


def stream_of(said: list[GenerationEvent | str], *, show_thinking: bool = True) -> list[StreamEvent]:
    stream = MessageStream(message_id="msg_1", model="m", show_thinking=show_thinking)
    events = [*stream.start(PromptUsage(prompt_tokens=7, cached_tokens=3))]
    for word in said:
        match word:
            case "ping":
                events += stream.ping()
            case str():
                events += stream.keep_alive(thinking=word == KEEP_ALIVE_THINKING)
            case event:
                events += stream.feed(event)
    assert stream.finished
    return events


def folded_by_the_sdk(events: list[StreamEvent]) -> dict[str, Any]:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event.type != "ping":  # the SDK's `_streaming` drops pings before it folds
            parsed = SDK_EVENT.validate_json(dump_json(event), strict=True)
            snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    return SdkMessage.model_validate_json(snapshot.to_json()).model_dump(exclude_none=True)


@given(generations(), st.booleans())
def test_json_is_the_stream_folded_as_the_sdk_folds_it(
    said: list[GenerationEvent | str],
    show_thinking: bool,  # noqa: FBT001 - hypothesis passes by position
) -> None:
    events = stream_of(said, show_thinking=show_thinking)
    accumulator = MessageAccumulator()
    accumulator.add(*events)
    ours = SdkMessage.model_validate_json(dump_json(accumulator.message), strict=True).model_dump(exclude_none=True)
    assert ours == folded_by_the_sdk(events)


@given(generations())
def test_nothing_that_the_engine_said_is_lost_or_invented(said: list[GenerationEvent | str]) -> None:
    accumulator = MessageAccumulator()
    accumulator.add(*stream_of(said))
    content = json.loads(dump_json(accumulator.message.content))

    def joined(kind: type[TextProduced | ThinkingProduced]) -> str:
        return "".join(word.text for word in said if isinstance(word, kind))

    assert "".join(block["text"] for block in content if block["type"] == "text") == joined(TextProduced)
    assert "".join(block["thinking"] for block in content if block["type"] == "thinking") == joined(ThinkingProduced)
    called = [(block["id"], block["input"]) for block in content if block["type"] == "tool_use"]
    assert called == list(_called(said))


def _called(said: list[GenerationEvent | str]) -> Iterator[tuple[str, Any]]:
    texts: dict[str, str] = {}
    for word in said:
        if isinstance(word, ToolCallStarted):
            texts[word.id] = ""
        elif isinstance(word, ToolCallArguments):
            texts[next(reversed(texts))] += word.fragment
    yield from ((call_id, json.loads(text or "{}")) for call_id, text in texts.items())


@given(generations())
def test_the_transcript_is_legal(said: list[GenerationEvent | str]) -> None:
    """Design 3, "Stream": blocks do not overlap, deltas fit their block, signatures come right before the stop."""
    first, *middle, message_delta, message_stop = [
        json.loads(dump_json(event)) for event in stream_of(said) if event.type != "ping"
    ]
    assert [first["type"], message_delta["type"], message_stop["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    for index, block in enumerate(_blocks(middle)):
        _check_block(index, block)


def _blocks(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    block: list[dict[str, Any]] = []
    for event in events:
        block.append(event)
        if event["type"] == "content_block_stop":
            yield block
            block = []
    assert block == []


def _check_block(index: int, block: list[dict[str, Any]]) -> None:
    start, *deltas, stop = block
    assert [event["index"] for event in block] == [index] * len(block)
    assert [start["type"], stop["type"]] == ["content_block_start", "content_block_stop"]
    assert {event["type"] for event in deltas} <= {"content_block_delta"}
    kinds = [event["delta"]["type"] for event in deltas]
    match start["content_block"]["type"]:
        case "text":
            assert set(kinds) <= {"text_delta"}
        case "thinking":
            assert kinds == ["thinking_delta"] * (len(kinds) - 1) + ["signature_delta"]
            text = "".join(event["delta"]["thinking"] for event in deltas[:-1])
            assert deltas[-1]["delta"]["signature"] == sign_thinking(text)
        case kind:
            assert (kind, set(kinds)) == ("tool_use", {"input_json_delta"})
            assert isinstance(json.loads("".join(event["delta"]["partial_json"] for event in deltas)), dict)


@given(generations())
def test_the_input_counts_add_up_to_the_prompt(said: list[GenerationEvent | str]) -> None:
    finished = said[-1]
    assert isinstance(finished, GenerationFinished)
    accumulator = MessageAccumulator()
    accumulator.add(*stream_of(said))
    usage = accumulator.message.usage
    parts = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    assert sum(parts) == finished.usage.prompt_tokens
    assert min(parts) >= 0


@given(generations(), st.data())
def test_a_stream_can_fail_anywhere_and_the_error_is_its_end(
    said: list[GenerationEvent | str], data: st.DataObject
) -> None:
    stream = MessageStream(message_id="msg_1", model="m")
    stream.start(PromptUsage(prompt_tokens=1))
    for word in said[: data.draw(st.integers(0, len(said) - 1))]:
        if not isinstance(word, str):
            stream.feed(word)
    (event,) = stream.fail(api_error(500, "died"), "req_1")
    assert event.type == "error"
    assert stream.finished


@given(generations())
def test_each_event_is_one_frame_with_its_name(said: list[GenerationEvent | str]) -> None:
    for event in stream_of(said):
        name, data, *rest = encode_sse(event).split(b"\n")
        assert rest == [b"", b""]
        assert name == b"event: " + event.type.encode()
        assert data.startswith(b"data: ")
        assert json.loads(data[6:]) == json.loads(dump_json(event))
