from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import Reading, Refused, question

Stream = Callable[..., list[dict[str, Any]]]


def read(events: list[dict[str, Any]], sent_at: float = 100.0) -> Reading:
    reading = Reading(sent_at)
    for number, event in enumerate(events, start=1):
        reading.feed(event, sent_at + number)
    return reading


def test_content_comes_out_as_a_client_sends_it_back(stream: Stream) -> None:
    thought = (
        {"type": "thinking", "thinking": "", "signature": ""},
        [{"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "s1"}],
    )
    text = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}])
    call = (
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}},
        [{"type": "input_json_delta", "partial_json": part} for part in ("", '{"command"', ': "ls"}')],
    )
    timeline = read(stream(thought, text, call)).timeline()
    assert timeline.content == (
        {"type": "thinking", "thinking": "Hm.", "signature": "s1"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
    )
    assert timeline.text == "Hello"
    assert timeline.stop_reason == "tool_use"


def test_a_call_that_was_cut_off_has_no_arguments(stream: Stream) -> None:
    call = (
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}},
        [{"type": "input_json_delta", "partial_json": '{"comm'}],
    )
    assert read(stream(call)).timeline().content[0]["input"] == {}


def test_the_last_word_on_usage_counts(stream: Stream) -> None:
    # llama-server says the input with the first event, Pensieve the truth with the last
    events = stream(input_tokens=3, cache_read_input_tokens=5, cache_creation_input_tokens=2, output_tokens=4)
    timeline = read(events).timeline()
    assert (timeline.computed_tokens, timeline.cached_tokens, timeline.prompt_tokens) == (5, 5, 10)
    only_first = read(stream(output_tokens=4)).timeline()
    assert (only_first.computed_tokens, only_first.cached_tokens) == (9, 0)


def test_pieces_are_stamped_and_signs_of_life_are_not(stream: Stream) -> None:
    deltas = [{"type": "text_delta", "text": text} for text in ("", "one", "", "two")]
    reading = read([*stream(({"type": "text", "text": ""}, deltas), output_tokens=2), {"type": "ping"}])
    assert reading.pieces == 2
    timeline = reading.timeline()
    assert timeline.stamps == (4.0, 6.0)  # seconds after it was sent: the 4th and 6th event
    assert timeline.first_byte_s == 1.0
    assert timeline.decode_tokens_per_s == 0.5


def test_an_answer_without_a_piece_ends_the_wait_all_the_same(stream: Stream) -> None:
    timeline = read(stream(({"type": "text", "text": ""}, []), input_tokens=10)).timeline()
    assert timeline.first_token_s == 5.0
    assert timeline.prefill_tokens_per_s == 2.0


def test_an_unknown_delta_is_no_piece(stream: Stream) -> None:
    assert read(stream(({"type": "text", "text": ""}, [{"type": "citations_delta"}]))).pieces == 0


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "no room"}},
        {"code": 500, "message": "no room", "type": "server_error"},  # llama-server
        {"error": {"code": 500, "message": "no room"}},
    ],
)
def test_an_error_event_is_a_refusal(event: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="no room"):
        Reading(0.0).feed(event, 1.0)


def test_a_question_is_greedy() -> None:
    plain, told = question("Hi", max_tokens=4), question("Hi", max_tokens=4, system="Be kind.")
    assert plain["temperature"] == 0
    assert "system" not in plain
    assert told["system"] == "Be kind."
