"""Ours: the words of the glossary, in numbers."""

from __future__ import annotations

from array import array

from pensieve_gguf.engine.sequence import Sequence


def sequence(known: int, *, prompt_tokens: int, computed: int) -> Sequence:
    return Sequence(
        key=1, tokens=array("i", range(known)), prompt_tokens=prompt_tokens, max_tokens=9, computed=computed
    )


def test_what_is_known_and_not_computed_is_pending() -> None:
    assert sequence(10, prompt_tokens=10, computed=4).pending == 6


def test_what_is_known_beyond_the_prompt_was_generated() -> None:
    assert sequence(10, prompt_tokens=7, computed=9).generated == 3


def test_a_sequence_answers_when_its_newest_token_alone_is_pending() -> None:
    assert sequence(10, prompt_tokens=9, computed=9).answering


def test_the_last_token_of_a_prompt_is_no_answer_yet() -> None:
    assert not sequence(10, prompt_tokens=10, computed=9).answering


def test_a_preempted_answer_that_is_computed_again_does_not_stream() -> None:
    assert not sequence(10, prompt_tokens=5, computed=0).answering


def test_sequences_are_themselves_and_not_their_values() -> None:
    """They stand in sets while they change."""
    one, other = sequence(3, prompt_tokens=3, computed=0), sequence(3, prompt_tokens=3, computed=0)
    assert one != other
    assert len({one, other}) == 2
