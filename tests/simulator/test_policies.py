"""Ours: what `llama-server` keeps, as far as design 2 ("What the peers do") and its documentation say."""

from __future__ import annotations

from array import array

from simulator.policies import Policy, residents_of

from pensieve_gguf.engine.moves import Evict, Placement, Share
from pensieve_gguf.engine.residents import Residents


def upto(length: int) -> array[int]:
    return array("i", range(length))


def other(length: int, begins: int = 1000) -> array[int]:
    return array("i", range(begins, begins + length))


def settled(residents: Residents, prompt: array[int], now: float) -> int:
    placement = residents.place(prompt, now)
    assert placement is not None
    residents.advance(placement.slot, len(prompt))
    residents.release(placement.slot, now)
    return placement.slot


def test_slots_continue_the_idle_prompt_that_is_most_alike() -> None:
    residents = residents_of(Policy.LRU_SLOTS_4, slots=9, cells=500)
    slot = settled(residents, upto(100), 1.0)
    settled(residents, other(50), 2.0)
    assert residents.longest_prefix(upto(120)) == 100
    assert residents.place(upto(120), 3.0) == Placement(slot=slot, reused=100, moves=())
    residents.check()


def test_slots_cut_off_what_does_not_go_on() -> None:
    residents = residents_of(Policy.LRU_SLOTS_4, slots=9, cells=500)
    slot = settled(residents, upto(100), 1.0)
    prompt = array("i", [*range(60), 7, 7])
    assert residents.place(prompt, 3.0) == Placement(slot=slot, reused=60, moves=(Evict(slot, 60, upto(100)),))
    residents.check()


def test_slots_share_nothing_of_a_busy_one() -> None:
    residents = residents_of(Policy.LRU_SLOTS_4, slots=9, cells=500)
    placement = residents.place(upto(100), 1.0)
    assert placement is not None
    residents.advance(placement.slot, 100)
    second = residents.place(upto(120), 2.0)
    assert second is not None
    assert (second.reused, second.moves) == (0, ())


def test_slots_that_are_all_taken_give_the_oldest_away_or_nothing() -> None:
    residents = residents_of(Policy.LRU_SLOTS_4, slots=9, cells=500)
    slots = [settled(residents, other(10, begins), float(begins)) for begins in (1000, 2000, 3000, 4000)]
    placement = residents.place(upto(10), 5000.0)
    assert placement == Placement(slot=slots[0], reused=0, moves=(Evict(slots[0], 0, other(10)),))
    for begins in (5000, 6000, 7000):
        assert residents.place(other(10, begins), 5000.0) is not None
    assert residents.place(other(10, 8000), 5000.0) is None
    residents.check()


def test_slots_are_evicted_whole_and_the_oldest_first() -> None:
    residents = residents_of(Policy.LRU_SLOTS_16, slots=9, cells=100)
    old = settled(residents, upto(50), 1.0)
    settled(residents, other(50), 2.0)
    assert residents.make_room(1) == (Evict(old, 0, upto(50)),)
    residents.evict()
    assert residents.evict() is None


def test_slots_let_a_prompt_wait_that_does_not_fit() -> None:
    residents = residents_of(Policy.LRU_SLOTS_16, slots=9, cells=100)
    assert residents.place(upto(50), 1.0) is not None
    residents.advance(0, 50)
    assert residents.place(other(51), 1.0, claimed=0) is None
    assert residents.place(other(50), 1.0, claimed=0) is not None


def test_the_plain_tree_shares_and_forgets_what_was_used_longest_ago() -> None:
    residents = residents_of(Policy.LRU_TREE, slots=2, cells=1000)
    old = settled(residents, upto(100), 1.0)
    young = settled(residents, other(2), 2.0)
    placement = residents.place(other(5, 50_000), 3.0)
    assert placement is not None
    assert placement.moves == (Evict(old, 0, upto(100)),)
    assert young != old


def test_ours_shares() -> None:
    residents = residents_of(Policy.WORTH, slots=3, cells=1000)
    slot = settled(residents, upto(100), 1.0)
    placement = residents.place(array("i", [*range(60), 7, 7]), 3.0)
    assert placement is not None
    assert placement.moves == (Share(slot, placement.slot, 60),)
