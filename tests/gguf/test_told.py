"""Ours: a request begins again unnoticed as long as its reader has seen no word of the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    PrefillProgressed,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_gguf.told import Told

FINISHED = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=1))


@pytest.mark.parametrize(
    ("event", "answered"),
    [
        (PrefillProgressed(processed_tokens=1, total_tokens=2), False),
        (AnswerProgressed(generated_tokens=16), False),
        (FINISHED, False),
        (TextProduced(text="a"), True),
        (ThinkingProduced(text="a"), True),
        (ToolCallStarted(id=ToolCallId("toolu_1"), name="ls"), True),
        (ToolCallArguments(fragment="{"), True),
    ],
    ids=lambda value: getattr(value, "type", value),
)
def test_what_is_no_word_is_no_answer(event: GenerationEvent, *, answered: bool) -> None:
    told = Told()
    told.note(event)
    assert told.answered == answered
    told.note(AnswerProgressed(generated_tokens=17))
    assert told.answered == answered


@given(st.lists(st.integers(0, 9), min_size=1))
def test_of_a_prefill_that_begins_again_nobody_hears_the_same_twice(progress: list[int]) -> None:
    told, heard = Told(), [0]
    for processed in progress:
        event = PrefillProgressed(processed_tokens=processed, total_tokens=9)
        if not told.repeats(event):
            told.note(event)
            heard.append(processed)
    assert heard == sorted(set(heard))
    assert heard[-1] == max([0, *progress])


def test_an_answer_is_no_repetition() -> None:
    told = Told()
    told.note(TextProduced(text="a"))
    assert not told.repeats(TextProduced(text="a"))
