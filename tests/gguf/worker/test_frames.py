"""Ours: design 1, "Frames are length-prefixed"; design 5, "every number is clamped"."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.worker.frames import FrameDecoder, FrameError, encode_frame


def test_a_frame_is_its_length_in_four_bytes_and_its_payload() -> None:
    assert encode_frame(b"abc") == b"\x00\x00\x00\x03abc"


def test_a_frame_that_is_not_complete_waits() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x00\x00") == []
    assert decoder.feed(b"\x00\x03ab") == []
    assert decoder.pending == 6
    assert decoder.feed(b"c") == [b"abc"]
    assert decoder.pending == 0


def test_an_empty_payload_is_a_payload() -> None:
    assert FrameDecoder().feed(encode_frame(b"")) == [b""]


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_any_cut_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = FrameDecoder()
    decoded: list[bytes] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        decoded += decoder.feed(stream[start:stop])
    assert decoded == payloads
    assert decoder.pending == 0


@given(st.integers((128 << 20) + 1, 2**32 - 1))
def test_a_length_beyond_all_reason_is_refused_before_anything_is_collected(length: int) -> None:
    with pytest.raises(FrameError, match=str(length)):
        FrameDecoder().feed(struct.pack(">I", length))


def test_the_longest_length_is_still_awaited() -> None:
    assert FrameDecoder().feed(struct.pack(">I", 128 << 20)) == []


@given(st.binary(max_size=200))
def test_noise_gives_frames_or_an_error_and_never_more_than_there_is(noise: bytes) -> None:
    decoder = FrameDecoder()
    try:
        payloads = decoder.feed(noise)
    except FrameError:
        return
    assert sum(4 + len(payload) for payload in payloads) + decoder.pending == len(noise)
