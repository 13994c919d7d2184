"""Ours: what begins alike is found without reading it; design 2, "found again by hash of token ids"."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.anchors import chunk_digests, shared_at_most


def prompt(*chunks: int, more: int = 0) -> array[int]:
    """Return whole chunks of 256 equal tokens each, and `more` tokens."""
    return array("i", [chunk for chunk in chunks for _ in range(256)] + [9] * more)


def test_only_whole_chunks_count() -> None:
    assert [len(chunk_digests(prompt(1, more=more))) for more in (0, 255, 256)] == [8, 8, 16]
    assert chunk_digests(prompt(more=255)) == b""


def test_two_prefixes_share_their_equal_chunks_and_perhaps_almost_another_one() -> None:
    digests = [chunk_digests(prompt(*chunks)) for chunks in ((1, 2, 3), (1, 2, 4), (1, 2), (5, 2, 3))]
    assert [shared_at_most(digests[0], other) for other in digests] == [1_023, 767, 767, 0]


@given(*[st.lists(st.integers(0, 1), max_size=5)] * 2, *[st.integers(0, 255)] * 2)
def test_no_two_prefixes_share_more_than_the_digests_say_unless_it_is_less_than_a_chunk(
    left: list[int], right: list[int], more: int, others: int
) -> None:
    one, other = prompt(*left, more=more), prompt(*right, more=others)
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    most = shared_at_most(chunk_digests(one), chunk_digests(other))
    assert shared <= most if shared >= 256 else most == 0
    assert most - shared <= 255
