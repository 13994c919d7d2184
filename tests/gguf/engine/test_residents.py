"""Ours: design 2, "KV cache". Where prompts are placed, and what of the cache they may take for granted."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.residents import Cut, Placement, Residents, Share, common_prefix


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
    assert residents.place(tokens(7, 8, 9), 3.0) == Placement(slot=old, reused=0, moves=(Cut(old, 0),))
    assert residents.longest_prefix(tokens(4, 5, 6, 7)) == 3
    assert young != old


def test_the_prefix_that_a_prompt_shares_is_not_evicted_for_it() -> None:
    residents = Residents(2)
    source = settled(residents, upto(10), now=1.0)
    other = settled(residents, tokens(55, 56), now=2.0)
    placement = residents.place(tokens(0, 1, 2, 99), 3.0)
    assert placement == Placement(slot=other, reused=3, moves=(Cut(other, 0), Share(source, other, 3)))


def test_without_another_slot_a_fork_cuts_its_own_source_back() -> None:
    residents = Residents(1)
    slot = settled(residents, upto(10))
    assert residents.place(tokens(0, 1, 2, 99), 1.0) == Placement(slot=slot, reused=3, moves=(Cut(slot, 3),))


def test_without_a_slot_a_prompt_waits() -> None:
    residents = Residents(1)
    running(residents, upto(10))
    assert residents.place(upto(12), 1.0) is None
    assert residents.place(tokens(99), 1.0) is None


def test_sharing_from_an_idle_prefix_keeps_it_from_being_the_oldest() -> None:
    residents = Residents(3)
    head = settled(residents, upto(10), now=1.0)
    settled(residents, tokens(55, 56), now=2.0)
    settled(residents, tokens(0, 1, 2, 99), now=3.0)  # shares from `head`
    cut = residents.evict()
    assert cut is not None
    assert cut.slot != head


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
    assert [victim.slot for victim in (residents.evict(), residents.evict()) if victim] == [old, young]
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


def test_common_prefix_of_nothing_is_nothing() -> None:
    assert common_prefix(tokens(), upto(5)) == 0
    assert common_prefix(tokens(), tokens()) == 0


@given(
    st.lists(st.integers(0, 2), max_size=40).map(lambda ids: array("i", ids)),
    st.lists(st.integers(0, 2), max_size=40).map(lambda ids: array("i", ids)),
)
def test_common_prefix_is_equal_and_longest(left: array[int], right: array[int]) -> None:
    length = common_prefix(left, right)
    assert left[:length] == right[:length]
    assert length in (len(left), len(right)) or left[length] != right[length]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20))
def test_arrays_may_grow_after_they_were_compared(ids: list[int]) -> None:
    """A numpy view that outlives the comparison would make `append` raise BufferError."""
    left, right = array("i", ids), array("i", ids)
    assert common_prefix(left, right) == len(ids)
    left.append(7)
    right.append(7)
    assert len(left) == len(right) == len(ids) + 1
