from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    EngineFailedError,
    FinishReason,
    GenerationFinished,
    OverloadedError,
    PrefillProgressed,
    PromptTooLongError,
    PromptUsage,
    RequestId,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_http.answer import Answer, message_id
from pensieve_http.exchange import EngineFound, Opened
from pensieve_http.live_stream import Failed, Item, LiveStream, Tick
from pensieve_http.record import RequestRecord
from pensieve_http.signs_of_life import SignsOfLife
from pensieve_http.testing import EventReader
from pensieve_protocol import MessageStream, api_error

_OPENED = Opened(prompt=PromptUsage(prompt_tokens=7, cached_tokens=3))
_HELLO = TextProduced(text="hello")
_FINISHED = GenerationFinished(
    reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=7, cached_tokens=3, generated_tokens=1)
)


def _record() -> RequestRecord:
    return RequestRecord(id=RequestId("req_1"), method="POST", path="/v1/messages", started_at=0.0)


def _live(record: RequestRecord | None = None, *, thinking: bool = False) -> LiveStream:
    record = record or _record()
    return LiveStream(
        answer=Answer(MessageStream(message_id=message_id(record.id), model="claude-x"), record),
        signs=SignsOfLife(0.0, interval_s=10, keep_alive_after_s=30),
        start_by=1.0,
        admission_patience_s=10.0,
        thinking=thinking,
        translate=lambda error: api_error(500, f"translated: {error}"),
    )


def _names(told: bytes) -> list[str]:
    return [event.name for event in EventReader().feed(told)]


def test_all_items_that_are_ready_leave_in_one_piece_and_in_order() -> None:
    assert _names(_live().tell([_OPENED, _HELLO, _FINISHED], 0.1)) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_message_start_carries_the_prompt_as_far_as_admission_knows_it() -> None:
    (start,) = EventReader().feed(_live().tell([_OPENED], 0.1))
    usage = start.data["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (4, 3)


def test_without_an_engine_the_stream_starts_when_patience_ends_with_a_usage_of_zero() -> None:
    live = _live()
    assert live.due_at == 1.0
    assert live.tell([Tick()], 0.9) == b""
    (start,) = EventReader().feed(live.tell([Tick()], 1.0))
    assert start.data["message"]["usage"]["input_tokens"] == 0
    assert live.tell([_OPENED], 5.0) == b"", "message_start comes once"
    *_, delta, _ = EventReader().feed(live.tell([_HELLO, _FINISHED], 6.0))
    assert delta.data["usage"]["input_tokens"] == 4, "the truth comes with message_delta"


def test_an_engine_that_is_there_gets_more_time_to_refuse_with_a_status() -> None:
    # A prompt that is too long has to be a 400 for Claude Code to compact; counting 100k tokens takes a while.
    live = _live()
    live.tell([EngineFound()], 0.5)
    assert live.due_at == 10.5
    assert live.tell([Tick()], 9.0) == b""
    with pytest.raises(PromptTooLongError):
        live.tell([Failed(PromptTooLongError(9, 8))], 9.0)


def test_a_failure_before_the_start_is_raised_for_the_status() -> None:
    with pytest.raises(OverloadedError):
        _live().tell([Failed(OverloadedError("full"))], 0.1)


def test_a_failure_after_the_start_is_the_last_event() -> None:
    record = _record()
    live = _live(record)
    told = live.tell([_OPENED, Failed(EngineFailedError("gone")), _HELLO], 0.1)
    error = EventReader().feed(told)[-1]
    assert (error.name, error.data["request_id"]) == ("error", "req_1")
    assert error.data["error"] == {"type": "api_error", "message": "translated: gone"}
    assert live.finished
    assert record.error_type == "api_error"


def test_an_engine_that_breaks_the_order_of_events_ends_the_stream_with_an_error() -> None:
    told = _live().tell([_OPENED, ToolCallArguments(fragment="{}")], 0.1)
    assert _names(told) == ["message_start", "error"]


def test_silence_is_broken_by_pings_and_later_by_empty_deltas() -> None:
    live = _live()
    live.tell([_OPENED], 0.0)
    said = [_names(live.tell([Tick()], now)) for now in (10.0, 20.0, 30.0, 40.0)]
    assert said == [["ping"], ["ping"], ["content_block_start", "content_block_delta"], ["content_block_delta"]]


def test_the_block_that_keeps_alive_is_thinking_when_the_answer_may_begin_so() -> None:
    live = _live(thinking=True)
    live.tell([_OPENED], 0.0)
    block = EventReader().feed(live.tell([Tick()], 30.0))[0]
    assert block.data["content_block"]["type"] == "thinking"


def test_prefill_progress_is_no_content_and_delays_no_sign() -> None:
    live = _live()
    live.tell([_OPENED], 0.0)
    assert live.tell([PrefillProgressed(processed_tokens=1, total_tokens=7)], 9.0) == b""
    assert live.due_at == 10.0


def test_the_first_piece_of_an_answer_sets_the_time_to_first_token() -> None:
    record = _record()
    live = _live(record)
    live.tell([_OPENED, PrefillProgressed(processed_tokens=1, total_tokens=7)], 1.0)
    assert "ttft_s" not in record.line(1.0)
    live.tell([ThinkingProduced(text="hm")], 2.0)
    live.tell([_HELLO], 3.0)
    assert record.ttft_s == 2.0
    assert record.prompt == _OPENED.prompt


_EVENTS: st.SearchStrategy[list[Item]] = st.lists(
    st.one_of(
        st.just(Tick()),
        st.builds(TextProduced, text=st.text(min_size=1, max_size=3)),
        st.builds(ThinkingProduced, text=st.text(min_size=1, max_size=3)),
        st.builds(PrefillProgressed, processed_tokens=st.just(1), total_tokens=st.just(2)),
        st.builds(ToolCallStarted, id=st.just(ToolCallId("toolu_1")), name=st.just("Bash")),
    ),
    max_size=20,
)
_ENDS = st.sampled_from([_FINISHED, Failed(EngineFailedError("gone"))])


@given(
    early=st.booleans(),
    events=_EVENTS,
    end=_ENDS,
    cuts=st.lists(st.integers(0, 25), max_size=5),
    pauses=st.lists(st.floats(0, 50), min_size=6, max_size=6),
)
def test_whatever_happens_and_whenever_the_transcript_is_legal(
    *,
    early: bool,
    events: list[Item],
    end: Item,
    cuts: list[int],
    pauses: list[float],
) -> None:
    items: list[Item] = [*([Tick()] if early else []), _OPENED, *events, end]
    live, now, told, last = _live(), 2.0, b"", 0
    for cut, pause in zip([*sorted(cuts), len(items)], pauses, strict=False):
        told += live.tell(items[last:cut], now)
        last, now = max(last, cut), now + pause
    told += live.tell(items[last:], now)
    assert live.finished
    _check_transcript([event.data for event in EventReader().feed(told)])


def _check_transcript(events: list[dict[str, Any]]) -> None:
    """Hold the grammar of a stream: start, blocks one after the other, one end."""
    assert events[0]["type"] == "message_start"
    open_block, next_index = None, 0
    for event in events[1:-1]:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                open_block = event["index"]
                assert open_block == next_index
            case "content_block_delta":
                assert event["index"] == open_block
            case "content_block_stop":
                assert event["index"] == open_block
                open_block, next_index = None, next_index + 1
            case other:
                assert other in ("ping", "message_delta")
    assert events[-1]["type"] in ("message_stop", "error")
    if events[-1]["type"] == "message_stop":
        assert open_block is None
        assert events[-2]["type"] == "message_delta"
