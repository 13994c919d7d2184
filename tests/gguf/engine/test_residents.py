"""Ours: design 2, "KV cache". Where prompts are placed, and what of the cache they may take for granted."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from pensieve_core import Priority
from pensieve_gguf.engine.carrying import Carrying
from pensieve_gguf.engine.checkpoints import Checkpoint, Checkpoints
from pensieve_gguf.engine.moves import Cut, Elsewhere, Evict, Idle, Placement, Rewind, Share
from pensieve_gguf.engine.residents import Residents


def tokens(*ids: int) -> array[int]:
    return array("i", ids)


def upto(length: int) -> array[int]:
    return array("i", range(length))


def settled(residents: Residents, prompt: array[int], now: float = 0.0, *, computed: int | None = None) -> int:
    """Place `prompt`, compute it (or its first tokens), let it end; return its idle slot."""
    placement = residents.place(prompt, now)
    assert placement is not None
    residents.advance(placement.slot, len(prompt) if computed is None else computed)
    residents.release(placement.slot, now)
    return placement.slot


def running(residents: Residents, prompt: array[int], now: float = 0.0, *, computed: int | None = None) -> int:
    """Place `prompt` and compute it (or its first tokens); return its busy slot."""
    placement = residents.place(prompt, now)
    assert placement is not None
    residents.advance(placement.slot, len(prompt) if computed is None else computed)
    return placement.slot


def test_the_first_prompt_takes_the_lowest_slot_and_reuses_nothing() -> None:
    assert Residents(3).place(upto(8), 0.0) == Placement(slot=0, reused=0, moves=())


def test_prompts_that_have_nothing_in_common_take_slots_of_their_own() -> None:
    residents = Residents(3)
    assert running(residents, tokens(1, 2)) != running(residents, tokens(3, 4))
    assert residents.slots_in_use == 2


def test_a_conversation_that_goes_on_is_continued_in_place() -> None:
    residents = Residents(3)
    slot = settled(residents, upto(10))
    assert residents.place(upto(14), 1.0) == Placement(slot=slot, reused=10, moves=())


def test_only_what_was_computed_counts_as_known() -> None:
    residents = Residents(3)
    slot = settled(residents, upto(10), computed=6)
    assert residents.place(upto(14), 1.0) == Placement(slot=slot, reused=6, moves=())


def test_a_prompt_that_was_computed_before_still_computes_its_last_token() -> None:
    """Something has to give the logits of the first answer."""
    residents = Residents(3)
    slot = settled(residents, upto(10))
    placement = residents.place(upto(10), 1.0)
    assert placement is not None
    assert placement.reused == 9
    assert placement.moves == (Share(slot, placement.slot, 9),)


def test_a_prompt_shares_the_prefix_of_a_busy_sequence() -> None:
    """`llama-server` does not (design 2, "What the peers do")."""
    residents = Residents(3)
    source = running(residents, upto(10))
    placement = residents.place(tokens(0, 1, 2, 3, 77, 78), 1.0)
    assert placement is not None
    assert placement.slot != source
    assert placement.reused == 4
    assert placement.moves == (Share(source, placement.slot, 4),)


def test_a_busy_sequence_shares_no_more_than_it_has_computed() -> None:
    residents = Residents(3)
    source = running(residents, upto(10), computed=3)
    placement = residents.place(upto(12), 1.0)
    assert placement is not None
    assert placement.moves == (Share(source, placement.slot, 3),)


def test_a_fork_leaves_the_idle_conversation_that_it_forks_from() -> None:
    residents = Residents(3)
    slot = settled(residents, upto(10))
    fork = residents.place(tokens(0, 1, 2, 3, 4, 77), 1.0)
    assert fork is not None
    assert fork.moves == (Share(slot, fork.slot, 5),)
    assert residents.longest_prefix(upto(14)) == 10


def test_of_equal_prefixes_an_idle_one_that_can_be_continued_is_taken() -> None:
    residents = Residents(4)
    running(residents, upto(10))
    whole = settled(residents, upto(6))  # shares with the busy one, and ends as an idle slot of its own
    residents_place = residents.place(tokens(0, 1, 2, 3, 4, 5, 77), 1.0)
    assert residents_place == Placement(slot=whole, reused=6, moves=())


def test_the_longer_prefix_wins_over_the_one_used_last() -> None:
    residents = Residents(4)
    long = settled(residents, upto(10), now=1.0)
    settled(residents, tokens(0, 1, 2, 55), now=2.0)
    placement = residents.place(tokens(*range(9), 77, 78), 3.0)
    assert placement is not None
    assert placement.moves == (Share(long, placement.slot, 9),)


def test_the_slot_idle_longest_goes_when_a_new_prompt_needs_one() -> None:
    residents = Residents(2)
    old = settled(residents, tokens(1, 2, 3), now=1.0)
    young = settled(residents, tokens(4, 5, 6), now=2.0)
    assert residents.place(tokens(7, 8, 9), 3.0) == Placement(
        slot=old, reused=0, moves=(Evict(old, 0, tokens(1, 2, 3)),)
    )
    assert residents.longest_prefix(tokens(4, 5, 6, 7)) == 3
    assert young != old


def test_the_prefix_that_a_prompt_shares_is_not_evicted_for_it() -> None:
    residents = Residents(2)
    source = settled(residents, upto(10), now=1.0)
    other = settled(residents, tokens(55, 56), now=2.0)
    placement = residents.place(tokens(0, 1, 2, 99), 3.0)
    assert placement == Placement(
        slot=other, reused=3, moves=(Evict(other, 0, tokens(55, 56)), Share(source, other, 3))
    )


def test_without_another_slot_a_fork_cuts_its_own_source_back() -> None:
    residents = Residents(1)
    slot = settled(residents, upto(10))
    assert residents.place(tokens(0, 1, 2, 99), 1.0) == Placement(
        slot=slot, reused=3, moves=(Evict(slot, 3, upto(10)),)
    )


def test_without_a_slot_a_prompt_waits() -> None:
    residents = Residents(1)
    running(residents, upto(10))
    assert residents.place(upto(12), 1.0) is None
    assert residents.place(tokens(99), 1.0) is None


def test_a_slot_in_which_nothing_was_computed_is_free_again() -> None:
    residents = Residents(2)
    settled(residents, upto(4), computed=0)
    assert residents.slots_in_use == 0
    assert residents.idle == 0


def test_eviction_takes_the_longest_idle_slot_and_never_a_busy_one() -> None:
    residents = Residents(3)
    old = settled(residents, tokens(1, 2), now=1.0)
    young = settled(residents, tokens(3, 4), now=2.0)
    running(residents, tokens(5, 6), now=0.5)
    assert residents.idle == 2
    assert residents.evict() == Evict(old, 0, tokens(1, 2))
    assert residents.evict() == Evict(young, 0, tokens(3, 4))
    assert residents.evict() is None
    assert residents.slots_in_use == 1


def test_what_was_dropped_is_no_longer_known() -> None:
    residents = Residents(2)
    slot = running(residents, upto(6))
    assert residents.drop(slot) == Cut(slot, 0)
    assert residents.longest_prefix(upto(9)) == 0


def test_a_recurrent_state_is_continued_whole() -> None:
    residents = Residents(2, forgets_partially=False)
    slot = settled(residents, upto(10))
    assert residents.place(upto(14), 1.0) == Placement(slot=slot, reused=10, moves=())


def test_a_recurrent_state_is_not_cut_back() -> None:
    """`llama_memory_seq_rm` answers False on a part of a recurrent state (design 2)."""
    residents = Residents(2, forgets_partially=False)
    settled(residents, upto(10))
    placement = residents.place(tokens(0, 1, 2, 99), 1.0)
    assert placement is not None
    assert placement.reused == 0
    assert not any(isinstance(move, Share) for move in placement.moves)


def test_a_busy_recurrent_state_is_shared_whole() -> None:
    residents = Residents(2, forgets_partially=False)
    source = running(residents, upto(10))
    placement = residents.place(upto(14), 1.0)
    assert placement is not None
    assert placement.moves == (Share(source, placement.slot, 10),)


def test_a_busy_sequence_that_grew_is_known_as_far_as_it_is_computed() -> None:
    """The resident and its sequence share one array of tokens; the answer becomes reusable as it grows."""
    residents = Residents(2)
    prompt = upto(5)
    slot = running(residents, prompt)
    prompt.extend([50, 51])
    residents.advance(slot, 6)
    assert residents.longest_prefix(tokens(*range(5), 50, 51, 52)) == 6


# -- cells ---------------------------------------------------------------------------------------------------------


def test_cells_are_counted_and_shared_ones_once() -> None:
    residents = Residents(4, cells=100)
    parent = settled(residents, upto(10))
    child = running(residents, tokens(0, 1, 2, 3, 77, 78))
    assert residents.cells_in_use == 12
    assert (residents.exclusive_cells(parent), residents.exclusive_cells(child)) == (6, 2)


def test_what_was_evicted_says_what_it_held() -> None:
    """The last chance to save it elsewhere."""
    residents = Residents(4)
    slot = settled(residents, upto(10), computed=6)
    assert residents.evict() == Evict(slot, 0, upto(6))


def test_no_room_is_made_while_there_is_some() -> None:
    residents = Residents(4, cells=20)
    settled(residents, upto(10))
    assert residents.make_room(10) == ()


def test_room_is_made_from_the_end_of_what_is_worth_least() -> None:
    residents = Residents(4, cells=20)
    old = settled(residents, tokens(*range(100, 110)), now=1.0)
    settled(residents, upto(10), now=500.0)
    assert residents.make_room(3) == (Evict(old, 7, tokens(*range(100, 110))),)
    assert residents.longest_prefix(tokens(*range(100, 120))) == 7
    assert residents.cells_in_use == 17


def test_where_cells_abound_more_than_is_needed_goes_at_once() -> None:
    """Cell by cell it would cost a look at all slots with every token."""
    residents = Residents(4, cells=1280)
    slot = settled(residents, upto(1280))
    assert [(move.slot, move.length) for move in residents.make_room(1)] == [(slot, 1270)]


def test_room_is_made_from_several_when_one_is_not_enough() -> None:
    residents = Residents(4, cells=20)
    old = settled(residents, tokens(*range(100, 110)), now=1.0)
    young = settled(residents, upto(10), now=500.0)
    assert [(move.slot, move.length) for move in residents.make_room(15)] == [(old, 0), (young, 5)]


def test_what_a_busy_sequence_holds_makes_no_room() -> None:
    residents = Residents(4, cells=20)
    head = settled(residents, upto(10))
    running(residents, tokens(*range(8), 77, 78, 79))
    assert [(move.slot, move.length) for move in residents.make_room(50)] == [(head, 0)]
    assert residents.cells_in_use == 11
    assert residents.longest_prefix(upto(10)) == 8


def test_an_idle_slot_of_which_a_busy_one_holds_all_is_the_first_to_go() -> None:
    """It frees no cell, and costs nothing to lose."""
    residents = Residents(4, cells=100)
    settled(residents, tokens(50, 51), now=0.0)
    parent = running(residents, upto(10), now=1.0)
    running(residents, upto(12), now=1.0)
    residents.release(parent, 9.0)
    assert residents.evict() == Cut(parent, 0)
    assert residents.cells_in_use == 14


def test_a_head_that_others_share_outlives_the_end() -> None:
    """The tools and the system text that a session's agents begin with."""
    residents = Residents(4, cells=30)
    one = settled(residents, tokens(*range(8), 50, 51), now=1.0)
    settled(residents, tokens(*range(8), 60, 61), now=2.0)
    moves = residents.make_room(20)
    assert [(move.slot, move.length) for move in moves] == [(one, 0)]
    assert residents.longest_prefix(upto(20)) == 8


def test_a_head_up_to_a_cache_mark_outlives_what_follows_it() -> None:
    residents = Residents(4, cells=30)
    place = residents.place(upto(10), 1.0, marks=(4, 40))
    assert place is not None
    residents.advance(place.slot, 3)
    residents.advance(place.slot, 10)
    residents.release(place.slot, 1.0)
    other = settled(residents, tokens(*range(100, 110)), now=40.0)
    assert [(move.slot, move.length) for move in residents.make_room(17)] == [(place.slot, 4), (other, 9)]


def test_a_mark_within_what_is_reused_counts_too() -> None:
    residents = Residents(4, cells=30)
    slot = settled(residents, upto(10), now=1.0)
    place = residents.place(upto(12), 1.0, marks=(4,))
    assert place == Placement(slot=slot, reused=10, moves=())
    residents.release(slot, 1.0)
    assert residents.make_room(26) == (Evict(slot, 4, upto(10)),)


def test_what_a_conversation_has_left_behind_goes_before_older_prefixes() -> None:
    """After a compaction the old messages do not come again."""
    residents = Residents(4, cells=30)
    settled(residents, tokens(*range(100, 110)), now=1.0)
    before = residents.place(upto(10), 50.0, conversation="ours")
    assert before is not None
    residents.advance(before.slot, 10)
    residents.release(before.slot, 50.0)
    after = residents.place(tokens(0, 1, 2, 77, 78), 60.0, conversation="ours")
    assert after is not None
    residents.advance(after.slot, 5)
    assert [(move.slot, move.length) for move in residents.make_room(15)] == [(before.slot, 0)]


def test_background_prefixes_are_the_first_to_go() -> None:
    """Design 2: a title never evicts a main conversation."""
    residents = Residents(4, cells=20)
    settled(residents, upto(10), now=1.0)
    title = residents.place(tokens(50, 51, 52), 90_000.0, priority=Priority.BACKGROUND)
    assert title is not None
    residents.advance(title.slot, 3)
    residents.release(title.slot, 90_000.0)
    assert [move.slot for move in residents.make_room(8)] == [title.slot]


def test_for_want_of_a_slot_a_background_prefix_goes_first() -> None:
    residents = Residents(2)
    settled(residents, upto(2), now=1.0)
    title = residents.place(tokens(*range(50, 90)), 90_000.0, priority=Priority.BACKGROUND)
    assert title is not None
    residents.advance(title.slot, 40)
    residents.release(title.slot, 90_000.0)
    placed = residents.place(tokens(7, 8), 90_000.0)
    assert placed is not None
    assert placed.slot == title.slot


def test_for_want_of_a_slot_the_one_cheapest_to_compute_again_goes() -> None:
    residents = Residents(2)
    short = settled(residents, tokens(1, 2), now=5.0)
    settled(residents, upto(10), now=5.0)
    placed = residents.place(tokens(7, 8), 6.0)
    assert placed == Placement(slot=short, reused=0, moves=(Evict(short, 0, tokens(1, 2)),))


def test_recurrent_states_take_no_cells_that_could_be_counted() -> None:
    residents = Residents(3, forgets_partially=False)
    slot = settled(residents, upto(10))
    assert residents.make_room(100) == ()
    assert residents.evict() == Evict(slot, 0, upto(10))


def test_a_prompt_that_does_not_fit_beside_those_that_run_waits() -> None:
    residents = Residents(4, cells=30)
    settled(residents, tokens(*range(100, 105)))
    running(residents, upto(10))
    assert residents.place(tokens(*range(50, 70)), 1.0, claimed=1) is None
    assert residents.cells_in_use == 15
    assert residents.place(tokens(*range(50, 70)), 1.0, claimed=0) is not None


def test_what_a_prompt_is_placed_upon_makes_no_room_for_it() -> None:
    residents = Residents(4, cells=30)
    settled(residents, upto(20))
    assert residents.place(tokens(*range(15), *range(50, 60)), 1.0, claimed=6) is None
    assert residents.place(tokens(*range(15), *range(50, 60)), 1.0, claimed=5) is not None


def test_a_preempted_sequence_gives_up_no_more_than_is_needed() -> None:
    residents = Residents(4, cells=1280)
    slot = running(residents, upto(1000))
    assert residents.preempt(slot) == Evict(slot, 990, upto(1000))
    assert residents.place(upto(1000), 1.0) == Placement(slot=slot, reused=990, moves=())


def test_a_preempted_sequence_that_computed_nothing_leaves_its_slot() -> None:
    residents = Residents(4, cells=1280)
    slot = running(residents, upto(10), computed=0)
    assert residents.preempt(slot) == Cut(slot, 0)
    assert residents.slots_in_use == 0


# -- prefixes that are kept elsewhere ------------------------------------------------------------------------------


def test_a_prompt_is_placed_with_a_prefix_that_the_caller_will_load() -> None:
    residents = Residents(3, cells=100)
    assert residents.place(upto(10), 0.0, elsewhere=Elsewhere(length=8)) == Placement(
        slot=0, reused=8, moves=(), restores=True
    )
    assert residents.cells_in_use == 8
    residents.advance(0, 10)
    residents.check()


def test_nothing_is_loaded_that_is_here_already() -> None:
    residents = Residents(3, cells=100)
    slot = settled(residents, upto(10))
    assert residents.place(upto(14), 1.0, elsewhere=Elsewhere(length=10)) == Placement(slot=slot, reused=10, moves=())


def test_what_is_loaded_leaves_one_token_to_compute() -> None:
    residents = Residents(3, cells=100)
    assert residents.place(upto(10), 0.0, elsewhere=Elsewhere(length=10)) == Placement(
        slot=0, reused=9, moves=(), restores=True
    )


def test_what_is_loaded_takes_the_place_of_the_head_that_was_left_of_it() -> None:
    residents = Residents(3, cells=100)
    slot = settled(residents, upto(4))
    placed = residents.place(upto(14), 1.0, elsewhere=Elsewhere(length=12))
    assert placed == Placement(slot=slot, reused=12, moves=(Cut(slot, 0),), restores=True)
    assert residents.cells_in_use == 12


def test_room_is_made_for_what_is_loaded() -> None:
    residents = Residents(3, cells=20)
    idle = settled(residents, tokens(*range(100, 110)))
    placed = residents.place(upto(16), 1.0, elsewhere=Elsewhere(length=15))
    assert placed is not None
    assert (placed.moves, placed.restores) == ((Evict(idle, 5, tokens(*range(100, 110))),), True)


def test_room_is_made_for_what_is_cut_back_once_it_is_loaded() -> None:
    residents = Residents(3, cells=20)
    idle = settled(residents, tokens(*range(100, 110)))
    placed = residents.place(upto(10), 1.0, elsewhere=Elsewhere(length=8, cells=15))
    assert placed is not None
    assert (placed.moves, placed.reused) == ((Evict(idle, 5, tokens(*range(100, 110))),), 8)
    assert residents.cells_in_use == 13


def test_without_room_for_it_nothing_is_loaded_or_evicted() -> None:
    residents = Residents(3, cells=20)
    running(residents, tokens(*range(100, 110)))
    settled(residents, tokens(50, 51))
    assert residents.place(upto(16), 1.0, elsewhere=Elsewhere(length=15)) == Placement(slot=2, reused=0, moves=())
    assert residents.longest_prefix(tokens(50, 51, 52)) == 2


def test_without_a_slot_nothing_is_loaded() -> None:
    residents = Residents(1, cells=100)
    running(residents, upto(4))
    assert residents.place(tokens(*range(50, 60)), 1.0, elsewhere=Elsewhere(length=5)) is None


def test_what_is_idle_longest_goes_stale_first() -> None:
    residents = Residents(4)
    old = settled(residents, tokens(1, 2, 3), computed=2)
    residents.note_steps(1)
    settled(residents, tokens(4, 5, 6))
    running(residents, tokens(7, 8))
    assert residents.stale(Carrying(steps=8)) is None
    residents.note_steps(8)
    assert residents.stale(Carrying(steps=8)) == Idle(old, tokens(1, 2))
    residents.touch(old, 5.0)
    assert residents.stale(Carrying(steps=8)) is None
    assert Residents(2).stale(Carrying(steps=0)) is None


def test_what_others_hold_in_part_may_stay_longer_as_little_is_freed_by_its_going() -> None:
    """Copied is all of it. Measured: on a GPU agents on one head of 9,000 tokens decoded a sixth slower for it."""
    residents = Residents(4)
    idle = settled(residents, upto(8))
    running(residents, tokens(0, 1, 2, 3, 4, 5, 99))
    residents.note_steps(24)
    assert residents.stale(Carrying(steps=8)) is None
    residents.note_steps(8)
    assert residents.stale(Carrying(steps=8)) == Idle(idle, upto(8))


def test_where_copies_are_dear_only_the_end_that_nobody_else_holds_is_carried() -> None:
    """Measured: on a GPU copying 12,000 tokens, of which 9,000 stay, cost a stream a sixth of its speed."""
    residents = Residents(4)
    idle = settled(residents, upto(8))
    running(residents, tokens(0, 1, 2, 3, 4, 5, 99))
    residents.note_steps(8)
    assert residents.stale(Carrying(steps=8, ends=True)) == Idle(idle, upto(8), start=6)


def test_what_others_hold_wholly_is_not_carried_for_nothing_is_freed() -> None:
    residents = Residents(4)
    settled(residents, upto(8))
    running(residents, tokens(*range(8), 99))
    residents.note_steps(800)
    assert residents.stale(Carrying(steps=8, ends=True)) is None


def test_what_cannot_be_cut_is_carried_whole() -> None:
    residents = Residents(4, forgets_partially=False)
    idle = settled(residents, upto(8))
    residents.note_steps(8)
    assert residents.stale(Carrying(steps=8, ends=True)) == Idle(idle, upto(8))


def test_the_end_of_a_prefix_is_put_behind_what_is_shared() -> None:
    residents = Residents(4, cells=40)
    busy = running(residents, upto(6))
    placed = residents.place(upto(12), 1.0, elsewhere=Elsewhere(length=10, cells=4, behind=6))
    assert placed is not None
    assert (placed.reused, placed.held, placed.restores) == (10, 6, True)
    assert placed.moves == (Share(busy, placed.slot, 6),)
    residents.check()


def test_where_the_end_of_a_prefix_finds_no_room_what_is_here_is_shared() -> None:
    residents = Residents(4, cells=8)
    busy = running(residents, upto(6))
    placed = residents.place(upto(12), 1.0, elsewhere=Elsewhere(length=10, cells=4, behind=6))
    assert placed is not None
    assert (placed.reused, placed.held, placed.restores) == (6, 0, False)
    assert placed.moves == (Share(busy, placed.slot, 6),)


def test_where_all_slots_are_busy_the_end_of_a_prefix_waits_as_all_others() -> None:
    residents = Residents(1)
    running(residents, upto(6))
    assert residents.place(upto(12), 1.0, elsewhere=Elsewhere(length=10, cells=4, behind=6)) is None


def test_what_is_shared_from_counts_as_used() -> None:
    residents = Residents(4)
    settled(residents, upto(10))
    residents.note_steps(1)
    running(residents, tokens(0, 1, 2, 99))
    assert residents.stale(Carrying(steps=1)) is None


# -- integrity -----------------------------------------------------------------------------------------------------


def test_a_slot_that_was_lost_is_told() -> None:
    residents = Residents(3)
    residents.check()
    residents._free.pop()
    with pytest.raises(AssertionError, match="slots held"):
        residents.check()


def test_a_busy_slot_that_holds_nothing_is_told() -> None:
    residents = Residents(3)
    residents._busy.add(1)
    with pytest.raises(AssertionError, match="busy slots"):
        residents.check()


# -- checkpoints ---------------------------------------------------------------------------------------------------


def with_checkpoints(slots: int, *lengths: int, cells: int | None = None) -> tuple[Residents, Checkpoints]:
    """Return slots of a hybrid model, with checkpoints after so many tokens of 0, 1, 2…"""
    checkpoints = Checkpoints()
    for length in lengths:
        checkpoints.put(Checkpoint(tokens=upto(length), state=np.zeros(4, np.uint8), used_at=0.0))
    return Residents(slots, cells=cells, forgets_partially=False, checkpoints=checkpoints), checkpoints


def test_a_prefix_of_a_state_ends_at_a_checkpoint() -> None:
    residents, checkpoints = with_checkpoints(3, 4, 7)
    source = settled(residents, upto(10))
    placement = residents.place(tokens(*range(9), 77, 78), 1.0)
    seventh = checkpoints.longest(upto(10), 7)
    assert placement is not None
    assert seventh is not None
    assert placement.moves == (Share(source, placement.slot, 7), Rewind(placement.slot, seventh))
    assert (placement.reused, placement.parts) == (7, 9)


def test_a_whole_state_is_better_than_a_checkpoint_of_it() -> None:
    residents, _ = with_checkpoints(3, 4)
    slot = settled(residents, upto(10))
    assert residents.place(upto(14), 1.0) == Placement(slot=slot, reused=10, moves=())


def test_a_checkpoint_whose_cells_have_gone_is_of_no_use() -> None:
    residents, _ = with_checkpoints(3, 4)
    assert residents.place(upto(10), 1.0) == Placement(slot=0, reused=0, moves=())


def test_without_another_slot_a_state_goes_back_itself() -> None:
    residents, checkpoints = with_checkpoints(1, 4)
    slot = settled(residents, upto(10))
    fourth = checkpoints.longest(upto(10), 4)
    assert fourth is not None
    placement = residents.place(tokens(*range(6), 77), 1.0)
    assert placement is not None
    assert placement.moves == (Evict(slot, 4, upto(10)), Rewind(slot, fourth))
    residents.check()


def test_a_busy_state_is_shared_from_where_a_checkpoint_was_made() -> None:
    residents, _ = with_checkpoints(3, 4)
    source = running(residents, upto(10))
    placement = residents.place(tokens(*range(6), 77), 1.0)
    assert placement is not None
    assert (placement.slot != source, placement.reused) == (True, 4)


def test_cells_beside_a_state_are_counted_and_go_whole() -> None:
    residents, _ = with_checkpoints(3, cells=20)
    slot = settled(residents, upto(10))
    assert residents.make_room(12) == (Evict(slot, 0, upto(10)),)


def test_a_sequence_goes_back_no_further_than_it_must() -> None:
    residents, checkpoints = with_checkpoints(2, 4, 7)
    slot = running(residents, upto(10))
    seventh = checkpoints.longest(upto(10), 7)
    assert seventh is not None
    assert residents.rewound(slot, 9) == Rewind(slot, seventh)
    assert residents.held(slot) == upto(7)
    assert residents.rewound(slot, 3) is None


def test_what_is_to_be_copied_out_is_shared_from_where_it_is() -> None:
    whole = Residents(2)
    slot = settled(whole, upto(10))
    assert whole.sharing(upto(6), 9) == (Share(slot, 9, 6),)
    assert whole.sharing(tokens(5), 9) == ()
    hybrid, checkpoints = with_checkpoints(2, 4)
    slot = settled(hybrid, upto(10))
    fourth = checkpoints.longest(upto(10), 4)
    assert fourth is not None
    assert hybrid.sharing(upto(10), 9) == (Share(slot, 9, 10),)
    assert hybrid.sharing(upto(4), 9) == (Share(slot, 9, 4), Rewind(9, fourth))
    assert hybrid.sharing(upto(6), 9) == ()
