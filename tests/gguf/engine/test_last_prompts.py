"""Ours: where a prompt differs from the one before is told from both, not from what the cache had left."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.last_prompts import LastPrompts


def test_a_prompt_that_goes_on_differs_nowhere() -> None:
    last = LastPrompts()
    assert last.differs_at("ours", array("i", [1, 2])) is None
    assert last.differs_at("ours", array("i", [1, 2, 3])) is None


def test_a_prompt_that_is_cut_short_differs_where_it_ends() -> None:
    last = LastPrompts()
    last.differs_at("ours", array("i", [1, 2, 3]))
    assert last.differs_at("ours", array("i", [1, 2])) == 2


def test_what_is_answered_meanwhile_is_no_part_of_the_prompt() -> None:
    last, prompt = LastPrompts(), array("i", [1, 2])
    last.differs_at("ours", prompt)
    prompt.append(7)
    assert last.differs_at("ours", array("i", [1, 2, 9])) is None


def test_conversations_are_kept_apart_and_what_nobody_owns_is_not_compared() -> None:
    last = LastPrompts()
    last.differs_at("ours", array("i", [1]))
    last.differs_at(None, array("i", [1]))
    assert last.differs_at("theirs", array("i", [5])) is None
    assert last.differs_at(None, array("i", [5])) is None


def test_the_oldest_conversation_is_forgotten() -> None:
    last = LastPrompts()
    for number in range(65):
        last.differs_at(number, array("i", [1]))
    assert last.differs_at(0, array("i", [5])) is None
    assert last.differs_at(64, array("i", [5])) == 0


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_the_first_difference_is_told(one: list[int], other: list[int]) -> None:
    last = LastPrompts()
    last.differs_at("ours", array("i", one))
    found = last.differs_at("ours", array("i", other))
    reference = next((i for i, token in enumerate(one) if i >= len(other) or other[i] != token), None)
    assert found == reference
