"""Ours: seen with Qwen2.5-Coder-1.5B, which edited a file in the same answer in which it asked to read it."""

from __future__ import annotations

import pytest

from pensieve_core import GenerationRequest, ModelId, RequestId, Role, TextPart, ToolChoice, ToolChoiceMode, Turn
from pensieve_gguf.engine.single_calls import paced

_1_5B, _4B = 1_543_714_304, 4_000_000_000


def request(choice: ToolChoice | None = None) -> GenerationRequest:
    turns = (Turn(role=Role.USER, parts=(TextPart(text="Mend it."),)),)
    choice = choice or ToolChoice()
    return GenerationRequest(id=RequestId("r"), model=ModelId("m"), turns=turns, tool_choice=choice, max_tokens=9)


def test_a_small_model_makes_one_call_an_answer() -> None:
    asked = request()
    assert not paced(asked, _1_5B).tool_choice.parallel
    assert asked.tool_choice.parallel


@pytest.mark.parametrize("parameters", [_4B, None])
def test_a_model_that_is_large_or_of_unknown_size_makes_as_many_as_it_likes(parameters: int | None) -> None:
    assert paced(request(), parameters) == request()


@pytest.mark.parametrize("mode", [ToolChoiceMode.ANY, ToolChoiceMode.NONE])
def test_calls_that_are_demanded_may_be_several(mode: ToolChoiceMode) -> None:
    asked = request(ToolChoice(mode=mode))
    assert paced(asked, _1_5B) == asked
