"""Design 3: `diagnostics.previous_message_id`; the reasons are those of the SDK's `beta_cache_miss_reason.py`."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    TextPart,
    Thinking,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolChoiceMode,
    Turn,
)
from pensieve_protocol import CacheMiss, Diagnostics, PromptRecords, Undiagnosed

TURNS = (
    Turn(role=Role.SYSTEM, parts=(TextPart(text="Be brief."),)),
    Turn(role=Role.USER, parts=(TextPart(text="one"), TextPart(text="two"))),
    Turn(role=Role.ASSISTANT, parts=(TextPart(text="three"),)),
    Turn(role=Role.USER, parts=(TextPart(text="four"),)),
)
BEFORE = GenerationRequest(
    id=RequestId("req_1"),
    model=ModelId("m"),
    turns=TURNS,
    tools=(Tool(name="ls", parameters={}), Tool(name="later", parameters={}, deferred=True)),
    max_tokens=9,
)


def words(request: GenerationRequest) -> int:
    return sum(len(turn.parts) for turn in request.turns)


def compare(now: GenerationRequest, before: GenerationRequest = BEFORE, *, of: str = "msg_1") -> Diagnostics | None:
    records = PromptRecords()
    records.note("msg_1", before, words(before))
    comparing = records.compare(of, now)
    try:
        asked = next(comparing)
        while True:
            asked = comparing.send(words(asked))
    except StopIteration as done:
        told: Diagnostics | None = done.value
        return told


def said(role: Role, *texts: str) -> Turn:
    return Turn(role=role, parts=tuple(TextPart(text=text) for text in texts))


def changed(**fields: Any) -> GenerationRequest:
    return attrs.evolve(BEFORE, **fields)


@pytest.mark.parametrize(
    ("now", "what", "missed"),
    [
        (changed(model=ModelId("n")), "model_changed", 5),
        (changed(turns=(said(Role.SYSTEM, "Be long."), *TURNS[1:])), "system_changed", 5),
        (changed(turns=TURNS[1:]), "system_changed", 5),
        (changed(tools=()), "tools_changed", 5),
        (changed(turns=(*TURNS[:2], said(Role.ASSISTANT, "tree"), TURNS[3])), "messages_changed", 2),
        (changed(turns=(TURNS[0], said(Role.USER, "one", "2"), *TURNS[2:])), "messages_changed", 3),
        (changed(turns=(TURNS[0], said(Role.USER, "1"), *TURNS[2:])), "messages_changed", 5),
        (changed(turns=TURNS[:3]), "messages_changed", 1),
        (changed(model=ModelId("n"), tools=()), "model_changed", 5),
    ],
)
def test_the_first_difference_is_named_with_what_it_costs(now: GenerationRequest, what: Any, missed: int) -> None:
    miss = CacheMiss(type=what, cache_missed_input_tokens=missed)
    assert compare(now) == Diagnostics(cache_miss_reason=miss)


@pytest.mark.parametrize(
    "now",
    [
        BEFORE,
        changed(turns=(*TURNS, said(Role.ASSISTANT, "five"), said(Role.USER, "six"))),
        changed(turns=(*TURNS[:3], said(Role.USER, "four", "and more"))),
        changed(max_tokens=100, id=RequestId("req_2")),
        changed(tools=BEFORE.tools[:1]),
        changed(turns=(Turn(role=Role.SYSTEM, parts=(TextPart(text="Be brief.", cache_mark=True),)), *TURNS[1:])),
    ],
    ids=["same", "appended", "appended-to-a-turn", "limits", "deferred-tools", "marks"],
)
def test_a_prompt_that_goes_on_where_the_other_ended_missed_nothing(now: GenerationRequest) -> None:
    assert compare(now) is None


@pytest.mark.parametrize(
    "now", [changed(thinking=Thinking(enabled=True)), changed(tool_choice=ToolChoice(mode=ToolChoiceMode.NONE))]
)
def test_what_differs_elsewhere_is_not_diagnosed(now: GenerationRequest) -> None:
    """The SDK: "whose other prompt-affecting parameters, such as `thinking` or `tool_choice`, differ"."""
    assert compare(now) == Diagnostics(cache_miss_reason=Undiagnosed(type="unavailable"))


def test_a_prompt_that_nobody_remembers_is_not_compared() -> None:
    unknown = Diagnostics(cache_miss_reason=Undiagnosed(type="previous_message_not_found"))
    assert compare(BEFORE, of="msg_2") == unknown


def test_the_oldest_prompts_are_forgotten() -> None:
    records = PromptRecords()
    for number in range(1_001):
        records.note(f"msg_{number}", BEFORE, 5)
    for message_id, forgotten in (("msg_0", True), ("msg_1", False)):
        with pytest.raises(StopIteration) as done:
            next(records.compare(message_id, BEFORE))
        assert (done.value.value is not None) is forgotten


def test_reasoning_that_was_cleared_is_a_change() -> None:
    thought = Turn(role=Role.ASSISTANT, parts=(ThinkingPart(text="hm"), TextPart(text="three")))
    before = changed(turns=(*TURNS[:2], thought, TURNS[3]))
    told = compare(BEFORE, before)
    assert told == Diagnostics(cache_miss_reason=CacheMiss(type="messages_changed", cache_missed_input_tokens=3))


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=5), st.lists(st.sampled_from("ab"), max_size=5))
def test_missed_is_what_lies_behind_the_common_beginning(before: list[str], now: list[str]) -> None:
    common = next(
        (i for i, (one, other) in enumerate(zip(before, now, strict=False)) if one != other), min(len(before), len(now))
    )
    requests = [attrs.evolve(BEFORE, turns=(said(Role.USER, *texts),)) for texts in (before, now)]
    told = compare(requests[1], requests[0])
    assert (told is None) == (common == len(before))
    if told is not None:
        assert isinstance(told.cache_miss_reason, CacheMiss)
        assert told.cache_miss_reason.cache_missed_input_tokens == len(before) - common
