"""Ours: the words of the glossary, in numbers."""

from __future__ import annotations

from array import array

import attrs

from pensieve_core import ImagePart
from pensieve_gguf.engine.sequence import ImageSpan, Sequence


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


def span(start: int, stop: int) -> ImageSpan:
    image = ImagePart(media_type="image/png", data=b"png")
    return ImageSpan(start=start, stop=stop, image=image, digest=b"digest", piece=0)


def test_a_row_holds_no_text_beside_an_image() -> None:
    """A batch has tokens or embeddings."""
    shown = attrs.evolve(sequence(20, prompt_tokens=20, computed=0), images=(span(3, 7), span(7, 9), span(12, 15)))
    edges = []
    while shown.pending:
        shown.computed += shown.ahead
        edges.append(shown.computed)
    assert edges == [3, 7, 9, 12, 15, 20]


def test_part_of_an_image_may_be_computed_already() -> None:
    assert attrs.evolve(sequence(20, prompt_tokens=20, computed=5), images=(span(3, 7),)).ahead == 2


def test_a_position_is_part_of_one_image_or_of_none() -> None:
    first, second = span(3, 7), span(7, 9)
    shown = attrs.evolve(sequence(20, prompt_tokens=20, computed=0), images=(first, second))
    assert [shown.image_at(position) for position in (2, 3, 6, 7, 9)] == [None, first, first, second, None]


def test_what_ends_first_ends_a_row() -> None:
    """A checkpoint is made within an image, or before it."""
    shown = attrs.evolve(sequence(20, prompt_tokens=20, computed=0), images=(span(3, 7),), checkpoints=[12, 5])
    assert shown.ahead == 3
    shown.computed = 3
    assert shown.ahead == 2
