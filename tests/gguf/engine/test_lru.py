"""Ours: a memory that is bounded in bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.lru import Lru


def test_what_was_used_last_stays() -> None:
    lru: Lru[str, int] = Lru(max_bytes=10)
    lru.put("a", 1, 5)
    lru.put("b", 2, 5)
    assert lru.get("a") == 1
    lru.put("c", 3, 5)
    assert (lru.get("a"), lru.get("b"), lru.get("c")) == (1, None, 3)


def test_what_is_larger_than_all_is_not_kept_and_drives_nobody_out() -> None:
    lru: Lru[str, int] = Lru(max_bytes=10)
    lru.put("a", 1, 5)
    lru.put("b", 2, 4)
    lru.put("b", 3, 11)
    assert (lru.get("a"), lru.get("b"), lru.bytes, len(lru)) == (1, None, 5, 1)


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 8))))
def test_it_never_takes_more_than_it_may_and_counts_what_it_holds(puts: list[tuple[str, int]]) -> None:
    lru: Lru[str, int] = Lru(max_bytes=10)
    last: dict[str, int] = {}
    for key, size in puts:
        lru.put(key, size, size)
        last[key] = size
        assert lru.get(key) == size
        kept = {key: value for key in last if (value := lru.get(key)) is not None}
        assert kept.items() <= last.items()
        assert lru.bytes == sum(kept.values()) <= 10
        assert len(lru) == len(kept)
