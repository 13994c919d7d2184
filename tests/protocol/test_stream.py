"""The stream machine by example: what each word of an engine makes of an open stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

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
    IllegalTransition,
    MessageStream,
    Searched,
    StreamEvent,
    ToolsFound,
    api_error,
    dump_json,
    sign_thinking,
)
from pensieve_protocol._stream import _MOVES, _State, _Word

PROMPT = PromptUsage(prompt_tokens=10, cached_tokens=4)
ERROR = api_error(529, "later")


def text(fragment: str) -> GenerationEvent:
    return TextProduced(text=fragment)


def think(fragment: str) -> GenerationEvent:
    return ThinkingProduced(text=fragment)


def call(name: str) -> GenerationEvent:
    return ToolCallStarted(id=ToolCallId("toolu_1"), name=name)


def arguments(fragment: str) -> GenerationEvent:
    return ToolCallArguments(fragment=fragment)


def end(reason: FinishReason = FinishReason.END_OF_TURN, **more: Any) -> GenerationEvent:
    return GenerationFinished(reason=reason, **{"usage": Usage(prompt_tokens=10, generated_tokens=3), **more})


def started(*, sign: Callable[[str], str] = str.upper, **more: Any) -> MessageStream:
    stream = MessageStream(message_id="msg_1", model="claude-x", sign=sign, **more)
    stream.start(PROMPT)
    return stream


def brief(events: Sequence[StreamEvent]) -> list[str]:
    """Return one line per event: what the transcripts below are written in."""
    return [_brief(json.loads(dump_json(event))) for event in events]


def _brief(event: dict[str, Any]) -> str:
    match event:
        case {"type": "content_block_start", "index": index, "content_block": {"type": kind}}:
            return f"{index} {kind}"
        case {"type": "content_block_delta", "index": index, "delta": {"type": kind, **content}}:
            (value,) = content.values()
            return f"{index} {kind} {value}"
        case {"type": "content_block_stop", "index": index}:
            return f"{index} stop"
        case {"type": "message_delta", "delta": reason}:
            return f"message_delta {reason['stop_reason']}"
        case {"type": kind}:
            return str(kind)
        case _:
            raise AssertionError(event)


def transcript(*words: GenerationEvent, **more: Any) -> list[str]:
    stream = started(**more)
    return brief([event for word in words for event in stream.feed(word)])


def test_the_first_event_is_a_message_without_content() -> None:
    (event,) = MessageStream(message_id="msg_1", model="claude-x").start(PROMPT)
    assert json.loads(dump_json(event)) == {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                "input_tokens": 6,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens": 0,
                "output_tokens_details": None,
            },
        },
    }


def test_text_goes_into_one_block() -> None:
    assert transcript(text("Hel"), text("lo"), end()) == [
        "0 text",
        "0 text_delta Hel",
        "0 text_delta lo",
        "0 stop",
        "message_delta end_turn",
        "message_stop",
    ]


def test_reasoning_is_signed_as_a_whole_right_before_its_end() -> None:
    assert transcript(think("a"), think("b"), text("c"), think("d"), end()) == [
        "0 thinking",
        "0 thinking_delta a",
        "0 thinking_delta b",
        "0 signature_delta AB",
        "0 stop",
        "1 text",
        "1 text_delta c",
        "1 stop",
        "2 thinking",
        "2 thinking_delta d",
        "2 signature_delta D",
        "2 stop",
        "message_delta end_turn",
        "message_stop",
    ]


def test_omitted_reasoning_is_signed_but_not_shown() -> None:
    assert transcript(think("secret"), text("c"), show_thinking=False)[:3] == [
        "0 thinking",
        "0 signature_delta SECRET",
        "0 stop",
    ]


def test_each_tool_call_has_a_block_and_its_fragments_are_passed_on() -> None:
    words = call("f"), arguments('{"x"'), arguments(":1}"), call("g"), arguments("{}"), end(FinishReason.TOOL_CALLS)
    assert transcript(*words) == [
        "0 tool_use",
        '0 input_json_delta {"x"',
        "0 input_json_delta :1}",
        "0 stop",
        "1 tool_use",
        "1 input_json_delta {}",
        "1 stop",
        "message_delta tool_use",
        "message_stop",
    ]


@pytest.mark.parametrize("after", [text("b"), call("g"), end()])
def test_a_call_without_arguments_gets_an_empty_object(after: GenerationEvent) -> None:
    """An empty string is no JSON; clients parse what they have collected."""
    assert transcript(call("f"), after)[:3] == ["0 tool_use", "0 input_json_delta {}", "0 stop"]


def test_an_empty_fragment_counts_as_no_arguments() -> None:
    assert transcript(call("f"), arguments(""), end())[1:4] == [
        "0 input_json_delta ",
        "0 input_json_delta {}",
        "0 stop",
    ]
    assert transcript(call("f"), arguments("{}"), arguments(""), end())[1:4] == [
        "0 input_json_delta {}",
        "0 input_json_delta ",
        "0 stop",
    ]


def test_progress_of_the_prefill_is_silent_and_may_come_between_a_call_and_its_arguments() -> None:
    progress = PrefillProgressed(processed_tokens=1, total_tokens=2)
    assert transcript(progress, call("f"), progress, arguments("{}")) == ["0 tool_use", "0 input_json_delta {}"]


def test_an_empty_answer_has_one_empty_text() -> None:
    """Ours: clients read `content[0]`, and Claude Code builds its turn from blocks."""
    assert transcript(end()) == ["0 text", "0 stop", "message_delta end_turn", "message_stop"]


def test_an_answer_whose_tokens_came_to_nothing_is_not_taken_for_a_warmed_cache() -> None:
    assert transcript(end(FinishReason.MAX_TOKENS, usage=Usage(prompt_tokens=10, generated_tokens=1)))[0] == "0 text"


def test_an_engine_that_claims_more_cached_than_there_is_cannot_make_usage_negative() -> None:
    (event,) = MessageStream(message_id="m", model="m").start(PromptUsage(prompt_tokens=3, cached_tokens=5))
    usage = json.loads(dump_json(event))["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (0, 3)


def test_warming_the_cache_answers_nothing() -> None:
    warmed = end(FinishReason.MAX_TOKENS, usage=Usage(prompt_tokens=10))
    assert transcript(warmed) == ["message_delta max_tokens", "message_stop"]


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        (FinishReason.END_OF_TURN, "end_turn"),
        (FinishReason.MAX_TOKENS, "max_tokens"),
        (FinishReason.STOP_SEQUENCE, "stop_sequence"),
        (FinishReason.TOOL_CALLS, "tool_use"),
        (FinishReason.CONTEXT_FULL, "model_context_window_exceeded"),
    ],
)
def test_each_finish_reason_has_its_stop_reason(reason: FinishReason, wire: str) -> None:
    assert transcript(text("a"), end(reason))[-2] == f"message_delta {wire}"


def test_the_end_carries_the_stop_sequence_and_the_true_usage() -> None:
    usage = Usage(
        prompt_tokens=10, cached_tokens=5, cache_created_tokens=2, generated_tokens=7, thinking_tokens=3
    )  # fmt: skip
    *_, delta, _ = started().feed(end(FinishReason.STOP_SEQUENCE, stop_sequence="END", usage=usage))
    assert json.loads(dump_json(delta)) == {
        "type": "message_delta",
        "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END", "stop_details": None},
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 5,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
        },
    }


# Signs of life (design 4: Claude Code hangs up after 300 s of pings, and waits on empty deltas)


@pytest.mark.parametrize(("thinking", "kind"), [(True, "thinking"), (False, "text")])
def test_keeping_alive_opens_the_block_that_will_come_first_and_writes_nothing(*, thinking: bool, kind: str) -> None:
    stream = started()
    assert brief(stream.keep_alive(thinking=thinking)) == [f"0 {kind}", f"0 {kind}_delta "]
    assert brief(stream.keep_alive(thinking=thinking)) == [f"0 {kind}_delta "]


def test_the_answer_goes_on_in_the_block_that_was_opened_for_it() -> None:
    stream = started()
    stream.keep_alive(thinking=True)
    assert brief(stream.feed(think("a"))) == ["0 thinking_delta a"]
    assert brief(stream.feed(text("b"))) == ["0 signature_delta A", "0 stop", "1 text", "1 text_delta b"]


@pytest.mark.parametrize(("thinking", "closing"), [(True, ["0 signature_delta ", "0 stop"]), (False, ["0 stop"])])
def test_a_wrong_guess_is_closed_empty(*, thinking: bool, closing: list[str]) -> None:
    stream = started()
    stream.keep_alive(thinking=thinking)
    assert brief(stream.feed(call("f"))) == [*closing, "1 tool_use"]


@pytest.mark.parametrize(
    ("words", "delta"),
    [
        ([text("a")], "0 text_delta "),
        ([think("a")], "0 thinking_delta "),
        ([call("f")], "0 input_json_delta "),
        ([call("f"), arguments("{")], "0 input_json_delta "),
    ],
)
def test_in_an_open_block_the_sign_of_life_is_an_empty_delta_of_its_kind(
    words: list[GenerationEvent], delta: str
) -> None:
    stream = started()
    for word in words:
        stream.feed(word)
    for thinking in (True, False):
        assert brief(stream.keep_alive(thinking=thinking)) == [delta]


def test_a_sign_of_life_is_no_argument() -> None:
    stream = started()
    stream.feed(call("f"))
    stream.keep_alive(thinking=False)
    assert brief(stream.feed(end()))[:2] == ["0 input_json_delta {}", "0 stop"]


def test_a_ping_changes_nothing() -> None:
    stream = started()
    assert brief(stream.ping()) == ["ping"]
    stream.feed(text("a"))
    assert brief(stream.ping()) == ["ping"]
    assert brief(stream.feed(text("b"))) == ["0 text_delta b"]


# The end


def test_a_failure_is_the_last_event_and_closes_nothing() -> None:
    stream = started()
    stream.feed(text("a"))
    (event,) = stream.fail(ERROR, "req_1")
    assert json.loads(dump_json(event)) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "later"},
        "request_id": "req_1",
    }
    assert stream.finished


def test_a_stream_may_fail_before_it_starts() -> None:
    stream = MessageStream(message_id="msg_1", model="m")
    assert brief(stream.fail(ERROR, "req_1")) == ["error"]


def test_only_the_end_or_a_failure_finishes_a_stream() -> None:
    stream = MessageStream(message_id="msg_1", model="m")
    assert not stream.finished
    stream.start(PROMPT)
    stream.feed(text("a"))
    assert not stream.finished
    stream.feed(end())
    assert stream.finished


MOVES: dict[_Word, Callable[[MessageStream], object]] = {
    _Word.START: lambda stream: stream.start(PROMPT),
    _Word.PING: lambda stream: stream.ping(),
    _Word.KEEP_ALIVE: lambda stream: stream.keep_alive(thinking=False),
    _Word.PROGRESS: lambda stream: stream.feed(PrefillProgressed(processed_tokens=1, total_tokens=2)),
    _Word.TEXT: lambda stream: stream.feed(text("a")),
    _Word.THINKING: lambda stream: stream.feed(think("a")),
    _Word.TOOL_CALL: lambda stream: stream.feed(call("f")),
    _Word.TOOL_ARGUMENTS: lambda stream: stream.feed(arguments("{}")),
    _Word.TOOL_SILENCE: lambda stream: stream.feed(arguments("")),
    _Word.RESULT: lambda stream: stream.feed(Searched(call_id=ToolCallId("toolu_1"), result=ToolsFound(names=()))),
    _Word.FINISH: lambda stream: stream.feed(end()),
    _Word.FAIL: lambda stream: stream.fail(ERROR, "req_1"),
}

WAYS: dict[_State, list[_Word]] = {
    _State.IDLE: [],
    _State.STARTED: [_Word.START],
    _State.TEXT: [_Word.START, _Word.TEXT],
    _State.THINKING: [_Word.START, _Word.THINKING],
    _State.TOOL_CALL: [_Word.START, _Word.TOOL_CALL],
    _State.TOOL_INPUT: [_Word.START, _Word.TOOL_CALL, _Word.TOOL_ARGUMENTS],
    _State.RESULT: [_Word.START, _Word.RESULT],
    _State.FINISHED: [_Word.START, _Word.FINISH],
    _State.FAILED: [_Word.START, _Word.FAIL],
}

# What may come in which state, spelled out a second time: the machine's own table cannot be its judge.
ENGINE = {_Word.PROGRESS, _Word.TEXT, _Word.THINKING, _Word.TOOL_CALL, _Word.RESULT, _Word.FINISH}
SERVER = {_Word.PING, _Word.KEEP_ALIVE, _Word.FAIL}
ARGUMENTS = {_Word.TOOL_ARGUMENTS, _Word.TOOL_SILENCE}
LEGAL: dict[_State, set[_Word]] = {
    _State.IDLE: {_Word.START, _Word.FAIL},
    _State.STARTED: ENGINE | SERVER,
    _State.TEXT: ENGINE | SERVER,
    _State.THINKING: ENGINE | SERVER,
    _State.TOOL_CALL: ENGINE | SERVER | ARGUMENTS,
    _State.TOOL_INPUT: ENGINE | SERVER | ARGUMENTS,
    _State.RESULT: ENGINE | SERVER,
    _State.FINISHED: set(),
    _State.FAILED: set(),
}
LISTED = [(state, word) for state, words in LEGAL.items() for word in _Word if word in words]
ILLEGAL = [(state, word) for state, words in LEGAL.items() for word in _Word if word not in words]


def in_state(state: _State) -> MessageStream:
    stream = MessageStream(message_id="msg_1", model="m")
    for word in WAYS[state]:
        MOVES[word](stream)
    assert stream._state is state
    return stream


def test_the_table_covers_every_state() -> None:
    assert set(_MOVES) == set(_State) == set(LEGAL)
    assert set(MOVES) == set(_Word)


@pytest.mark.parametrize(("state", "word"), LISTED, ids=str)
def test_a_legal_move_is_made(state: _State, word: _Word) -> None:
    stream = in_state(state)
    MOVES[word](stream)
    assert stream.finished is (word in (_Word.FINISH, _Word.FAIL))


@pytest.mark.parametrize(("state", "word"), ILLEGAL, ids=str)
def test_a_move_that_the_table_does_not_list_raises_and_changes_nothing(state: _State, word: _Word) -> None:
    stream = in_state(state)
    with pytest.raises(IllegalTransition, match=f"{word.name} cannot come in state {state.name}") as caught:
        MOVES[word](stream)
    assert (caught.value.state, caught.value.word) == (state, word)
    assert stream._state is state


def test_signatures_depend_on_the_whole_text_alone_and_stay_the_same() -> None:
    """Ours: they come back in histories that outlive a release."""
    assert sign_thinking("a") == "1782f16db6235cdd6b8e78f8209ff0c772ba6dc27d26dc951c285b7534d4ea79"
    assert sign_thinking("b") != sign_thinking("a")
