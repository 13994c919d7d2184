"""Bytes to text, and stop sequences: the same result whatever the cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pensieve_gguf.parsers import StopSequences, Utf8Decoder


def decode(pieces: Sequence[bytes]) -> str:
    decoder = Utf8Decoder()
    return "".join([decoder.feed(piece) for piece in pieces] + [decoder.finish()])


@given(st.binary())
@example("häß😀".encode())
@example(b"\xf0\x9f")
def test_bytes_decode_alike_one_by_one_and_at_once(data: bytes) -> None:
    assert decode([data[i : i + 1] for i in range(len(data))]) == data.decode(errors="replace")


def test_half_a_character_waits_for_its_other_half() -> None:
    decoder = Utf8Decoder()
    told = [(decoder.feed(data), decoder.empty) for data in (b"a\xc3", b"\xa4b")]
    assert told == [("a", False), ("äb", True)]
    assert decoder.finish() == ""


def filter_stops(stops: tuple[str, ...], pieces: Sequence[str]) -> tuple[str, str | None]:
    machine = StopSequences(stops)
    out = ""
    for piece in pieces:
        emitted, hit = machine.feed(piece)
        out += emitted
        if hit is not None:
            return out, hit
    return out + machine.finish(), None


def stop_by_definition(stops: tuple[str, ...], text: str) -> tuple[str, str | None]:
    """The definition: the first character that completes a stop sequence decides; of several, the longest."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if done:
            longest = max(done, key=len)
            return text[: end - len(longest)], longest
    return text, None


texts = st.text(alphabet="ab\n", max_size=12)


@given(st.lists(st.text(alphabet="ab\n", max_size=4), max_size=3).map(tuple), st.lists(texts, max_size=6))
def test_stop_sequences_are_found_across_cuts(stops: tuple[str, ...], pieces: list[str]) -> None:
    assert filter_stops(stops, pieces) == stop_by_definition(stops, "".join(pieces))


def test_only_what_may_be_the_start_of_a_stop_sequence_is_held_back() -> None:
    machine = StopSequences(("\n\nHuman:", "END"))
    assert machine.feed("one\n") == ("one", None)
    assert machine.feed("two\n\nHu") == ("\ntwo", None)
    assert machine.feed("ge E") == ("\n\nHuge ", None)
    assert machine.finish() == "E"
    assert machine.finish() == ""


def test_after_a_hit_nothing_more_comes_out() -> None:
    machine = StopSequences(("END",))
    assert machine.feed("a END b") == ("a ", "END")
    assert machine.feed("c") == ("", "END")
    assert machine.finish() == ""


@pytest.mark.parametrize("stops", [(), ("",)])
def test_without_stop_sequences_everything_passes(stops: tuple[str, ...]) -> None:
    pieces = ["a", "", "b"]
    assert filter_stops(stops, pieces) == ("ab", None)


def test_it_is_told_whether_anything_is_held_back() -> None:
    machine = StopSequences(("STOP",))
    for text, empty in (("a", True), ("ST", False), ("a", True), ("STOP", True)):
        machine.feed(text)
        assert machine.empty == empty
