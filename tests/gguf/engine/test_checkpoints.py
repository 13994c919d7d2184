"""Ours: design 2, "Sliding-window, recurrent and hybrid models". Where the ways back are, and which one is taken."""

from __future__ import annotations

import itertools
from array import array

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.checkpoints import Checkpoint, Checkpoints, plan_checkpoints
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.tree import common_prefix

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(lambda ids: array("i", ids))


def checkpoint(*ids: int, size: int = 10, used_at: float = 0.0) -> Checkpoint:
    return Checkpoint(tokens=array("i", ids), state=np.zeros(size, np.uint8), used_at=used_at)


def kept(*ones: Checkpoint) -> Checkpoints:
    checkpoints = Checkpoints()
    for one in ones:
        checkpoints.put(one)
    return checkpoints


# -- which one -----------------------------------------------------------------------------------------------------


def test_the_longest_within_the_limit_is_found() -> None:
    short, long = checkpoint(1, 2), checkpoint(1, 2, 3, 4)
    checkpoints = kept(long, short, checkpoint(1, 9))
    prompt = array("i", [1, 2, 3, 4, 5])
    assert checkpoints.longest(prompt, 4) is long
    assert checkpoints.longest(prompt, 3) is short
    assert checkpoints.longest(prompt, 1) is None
    assert checkpoints.longest(prompt[:2], 9) is short


def test_a_checkpoint_of_the_same_tokens_takes_the_place_of_the_old_one() -> None:
    checkpoints = kept(checkpoint(1, 2, size=10), checkpoint(1, 2, size=7))
    assert (len(checkpoints), checkpoints.bytes_used) == (1, 7)


@given(known=st.lists(tokens, max_size=6), prompt=tokens, limit=st.integers(0, 12))
def test_the_longest_is_what_comparing_all_would_find(known: list[array[int]], prompt: array[int], limit: int) -> None:
    found = kept(*(checkpoint(*ids) for ids in known)).longest(prompt, limit)
    whole = [len(ids) for ids in known if common_prefix(ids, prompt) == len(ids) <= limit]
    assert (0 if found is None else found.length) == max(whole, default=0)


# -- where ---------------------------------------------------------------------------------------------------------


def test_the_end_of_a_prompt_is_left_out_for_the_next_turn_may_have_another() -> None:
    assert plan_checkpoints((), 1_000, reused=0) == (984,)


def test_where_marks_stand_a_prompt_comes_again() -> None:
    assert plan_checkpoints((300, 600), 1_000, reused=0) == (984, 600, 300)


def test_what_is_computed_already_is_too_late() -> None:
    assert plan_checkpoints((300, 600), 1_000, reused=300, latest=0) == (984, 600)


def test_what_follows_a_checkpoint_closely_needs_none() -> None:
    assert plan_checkpoints((300, 340), 400, reused=0) == (384, 300)
    assert plan_checkpoints((300, 340), 400, reused=300, latest=300) == (384,)
    assert plan_checkpoints((), 60, reused=0) == ()


def test_an_answer_behind_the_last_checkpoint_makes_another_one_worth_it() -> None:
    """It was continued in place, and may come back altered."""
    assert plan_checkpoints((), 1_000, reused=950, latest=600) == (984,)


def test_shortly_before_two_prompts_part_a_third_may() -> None:
    """ "Who" and "Where" have their first tokens in common, "How" has not."""
    assert plan_checkpoints((), 1_000, reused=0, parts=500) == (984, 484)


def test_a_long_prompt_has_some_on_the_way_and_not_too_many() -> None:
    assert plan_checkpoints((), 10_000, reused=0) == (9_984, 8_192, 4_096)
    assert plan_checkpoints((), 100_016, reused=0) == (100_000, 75_012, 50_008, 25_004)


@given(
    marks=st.lists(st.integers(0, 9_000), max_size=4),
    length=st.integers(1, 9_000),
    reused=st.integers(0, 9_000),
    latest=st.integers(0, 9_000),
    parts=st.integers(0, 9_000),
)
def test_a_plan_lies_ahead_and_within_the_prompt(
    marks: list[int], length: int, reused: int, latest: int, parts: int
) -> None:
    plan = plan_checkpoints(marks, length, reused=reused, latest=min(latest, reused), parts=parts)
    assert sorted(plan, reverse=True) == list(plan)
    assert all(reused < one < length for one in plan)
    assert all(high - low >= 64 for high, low in itertools.pairwise(plan))


# -- on the shelf --------------------------------------------------------------------------------------------------


def shelf_with(*ones: Checkpoint, cap: int = 100) -> Shelf:
    return Shelf(cap, forgets_partially=False, checkpoints=kept(*ones))


def shelved(*ids: int, size: int = 10, used_at: float = 0.0) -> Shelved:
    return Shelved(tokens=array("i", ids), state=np.zeros(size, np.uint8), used_at=used_at)


def test_a_state_is_of_use_as_far_as_to_one_of_its_checkpoints() -> None:
    shelf, whole = shelf_with(checkpoint(1, 2)), shelved(1, 2, 3, 4)
    shelf.put(whole)
    assert shelf.best(array("i", [1, 2, 3, 9])) == (whole, 2)
    assert shelf.best(array("i", [1, 2, 3, 4, 5])) == (whole, 4)
    assert shelf.best(array("i", [1, 9])) == (None, 0)


def test_states_and_checkpoints_are_under_one_cap_and_the_oldest_goes_first() -> None:
    old, young = checkpoint(1, 2, size=40, used_at=1.0), checkpoint(3, 4, size=10, used_at=3.0)
    shelf = shelf_with(old, young)
    shelf.put(shelved(5, 6, size=40, used_at=2.0))
    assert shelf.bytes_used == 90
    assert shelf.make_room(20)
    assert shelf.checkpoint(old.tokens, 2) is None
    assert shelf.make_room(60)
    assert (len(shelf), shelf.checkpoint(young.tokens, 2)) == (0, young)
    shelf.discard(young)
    assert shelf.bytes_used == 0


def test_where_there_are_no_cells_a_checkpoint_is_a_state_and_the_longer_one_does_not_replace_it() -> None:
    shelf = Shelf(100, forgets_partially=False)
    for ids in ((1, 2), (1, 2, 3, 4)):
        shelf.keep(array("i", ids), np.zeros(10, np.uint8), 0.0)
    assert [shelf.best(array("i", prompt))[1] for prompt in ((1, 2, 3), (1, 2, 3, 4, 5))] == [2, 4]
    assert shelf.checkpoint(array("i", [1, 2]), 2) is None


def test_how_far_a_prefix_can_be_had_once_more_was_computed() -> None:
    prompt = array("i", [1, 2, 3])
    assert Shelf(100).way_back(prompt) == 3
    assert shelf_with().way_back(prompt) == 0
    assert shelf_with(checkpoint(1, 2)).way_back(prompt) == 2
    recurrent = Shelf(100, forgets_partially=False)
    recurrent.put(shelved(1, 2))
    assert recurrent.way_back(prompt) == 2
    assert recurrent.whole(prompt) is None
    assert recurrent.whole(prompt[:2]) is not None
