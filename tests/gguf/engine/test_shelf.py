"""Ours: design 2, "RAM tier". A hard cap in bytes, counted before saving; exact tokens; the longest prefix wins."""

from __future__ import annotations

from array import array

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.checkpoints import Checkpoints
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.tree import common_prefix

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(lambda ids: array("i", ids))


def shelved(*ids: int, size: int = 10, used_at: float = 0.0) -> Shelved:
    return Shelved(tokens=array("i", ids), state=np.zeros(size, np.uint8), used_at=used_at)


def test_nothing_is_known_at_first() -> None:
    assert Shelf(100).best(array("i", [1, 2])) == (None, 0)


def test_the_longest_prefix_is_found_and_one_token_left_to_compute() -> None:
    shelf = Shelf(100)
    short, long = shelved(1, 2, 9), shelved(1, 2, 3, 4)
    shelf.put(short)
    shelf.put(long)
    assert shelf.best(array("i", [1, 2, 3, 4])) == (long, 3)
    assert shelf.best(array("i", [1, 2, 9, 9])) == (short, 3)
    assert shelf.best(array("i", [5, 6])) == (None, 0)


def test_a_state_that_cannot_be_cut_back_is_of_use_as_a_whole_only() -> None:
    shelf = Shelf(100, forgets_partially=False)
    whole = shelved(1, 2, 3)
    shelf.put(whole)
    assert shelf.best(array("i", [1, 2, 9])) == (None, 0)
    assert shelf.best(array("i", [1, 2, 3])) == (None, 0)
    assert shelf.best(array("i", [1, 2, 3, 4])) == (whole, 3)


def test_all_can_be_forgotten_at_once() -> None:
    shelf = Shelf(100, forgets_partially=False, checkpoints=Checkpoints())
    shelf.put(shelved(1, 2))
    for ids in ([1], [2, 3]):
        shelf.keep(array("i", ids), np.zeros(5, np.uint8), 0.0)
    shelf.clear()
    assert (len(shelf), shelf.bytes_used) == (0, 0)
    assert shelf.checkpoint(array("i", [1, 2]), 2) is None


def test_room_is_made_by_forgetting_what_was_not_used_for_longest() -> None:
    shelf = Shelf(25)
    old, young = shelved(1, 2, used_at=1.0), shelved(3, 4, used_at=2.0)
    shelf.put(old)
    shelf.put(young)
    assert shelf.make_room(10)
    assert len(shelf) == 1
    assert shelf.best(array("i", [3, 4, 5])) == (young, 2)


def test_for_what_never_fits_nothing_is_forgotten() -> None:
    shelf = Shelf(25)
    shelf.put(shelved(1, 2))
    assert not shelf.make_room(26)
    assert len(shelf) == 1


def test_a_longer_state_of_the_same_prefix_takes_the_place_of_the_shorter() -> None:
    shelf = Shelf(100)
    shelf.put(shelved(1, 2))
    shelf.put(shelved(1, 2, 3))
    assert (len(shelf), shelf.bytes_used) == (1, 10)


def test_what_is_discarded_is_gone() -> None:
    shelf, useless = Shelf(100), shelved(1, 2)
    shelf.put(useless)
    shelf.discard(useless)
    assert len(shelf) == 0


@given(known=st.lists(tokens, max_size=6), prompt=tokens)
def test_best_is_what_comparing_all_would_find(known: list[array[int]], prompt: array[int]) -> None:
    shelf = Shelf(1_000)
    for ids in known:
        shelf.put(Shelved(tokens=ids, state=np.zeros(1, np.uint8), used_at=0.0))
    _, length = shelf.best(prompt)
    assert length == max((min(common_prefix(ids, prompt), len(prompt) - 1) for ids in known), default=0)


def test_the_end_of_a_prefix_is_of_use_where_its_beginning_is_in_the_cache() -> None:
    shelf, end = Shelf(100), attrs.evolve(shelved(1, 2, 3, 4), start=2)
    shelf.put(end)
    prompt = array("i", [1, 2, 3, 4, 5])
    assert shelf.best(prompt, 1) == (None, 0)
    assert shelf.best(prompt, 2) == (end, 4)
    assert not shelf.covers(end.tokens)
    assert shelf.whole(end.tokens) is None


def test_the_end_of_a_prefix_takes_the_place_of_none_that_is_whole() -> None:
    shelf, end = Shelf(100), attrs.evolve(shelved(1, 2, 3, 4), start=2)
    shelf.put(shelved(1, 2, 3))
    shelf.put(end)
    assert len(shelf) == 2
    shelf.put(shelved(1, 2, 3, 4, 5))
    assert len(shelf) == 1


def test_what_can_be_given_back_needs_no_second_copy() -> None:
    """An idle prefix is evicted bit by bit, and saved once, before the first."""
    whole, state = array("i", [1, 2, 3]), np.zeros(9, np.uint8)
    for partially, part in ((True, True), (False, False)):
        shelf = Shelf(100, forgets_partially=partially)
        assert not shelf.covers(whole)
        shelf.put(Shelved(tokens=whole, state=state, used_at=0.0))
        assert shelf.covers(whole)
        assert shelf.covers(whole[:2]) is part
        assert not shelf.covers(array("i", [1, 2, 3, 4]))
