"""How a session of Claude Code opens: the same in each folder, then what is the folder's, then the user's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import GenerationRequest, Role, TextPart, Turn
from pensieve_protocol._opening import shared_first

Translate = Callable[..., GenerationRequest]

AGENTS = "Available agent types for the Agent tool:\n- Explore: Read-only search agent. (Tools: Read)"
SKILLS = "The following skills are available for use with the Skill tool:\n\n- init\n- review"
MARK = {"cache_control": {"type": "ephemeral"}}


def environment(folder: str) -> str:
    return (
        f"# Environment\nYou have been invoked in the following environment: \n - Primary working directory: {folder}"
    )


def told(folder: str = "/shop", day: str = "2026-11-23") -> str:
    """What Claude Code 2.1.330 tells behind the user's first words, in its order."""
    paragraphs = (environment(folder), "You are powered by the model m.", AGENTS, SKILLS, f"Today's date is {day}.")
    return "\n\n".join(paragraphs)


def opening(words: str = "Say hello.", system: Any = None) -> list[dict[str, Any]]:
    return [{"role": "user", "content": words}, {"role": "system", "content": told() if system is None else system}]


def texts(turns: Sequence[Turn]) -> list[tuple[str, ...]]:
    return [tuple(part.text for part in turn.parts if isinstance(part, TextPart)) for turn in turns]


def test_what_every_session_is_told_comes_first_then_folder_and_date_then_the_words(translate: Translate) -> None:
    """Seen of 2.1.330: 9,673 characters behind the words, the folder at the 114th."""
    (turn,) = translate(messages=opening()).turns
    reminder, words = turn.parts
    shared = f"You are powered by the model m.\n\n{AGENTS}\n\n{SKILLS}"
    own = f"{environment('/shop')}\n\nToday's date is 2026-11-23."
    assert turn.role is Role.USER
    assert reminder == TextPart(text=f"<system-reminder>\n{shared}\n\n{own}\n</system-reminder>")
    assert words == TextPart(text="Say hello.")


def test_two_folders_share_all_that_is_not_theirs(translate: Translate) -> None:
    first, second = (
        texts(translate(messages=opening(words, told(folder, day))).turns)[0][0]
        for words, folder, day in (("Hello.", "/shop", "2026-11-23"), ("Good evening.", "/library", "2026-11-24"))
    )
    assert first.partition("/shop")[0] == second.partition("/library")[0]
    assert first.index(AGENTS) < first.index(SKILLS) < first.index("/shop")


@pytest.mark.parametrize(
    "told", [AGENTS, SKILLS, "The following deferred tools are now available via ToolSearch. Ask."]
)
def test_each_of_its_lists_is_known_as_the_opening_by_itself(translate: Translate, told: str) -> None:
    """2.1.197 tells the folder in the user's turn."""
    assert texts(translate(system="S", messages=opening("U", told)).turns) == [
        ("S",),
        (f"<system-reminder>\n{told}\n</system-reminder>", "U"),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(opening(system="Answer in French."), id="what anybody says"),
        pytest.param(opening(system=f"I say: {AGENTS}"), id="in the middle of a paragraph"),
        pytest.param([*opening("U", "S"), {"role": "system", "content": AGENTS}], id="not right behind the words"),
        pytest.param([{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}, *opening()], id="later"),
        pytest.param([{"role": "system", "content": AGENTS}, *opening("U", "S")], id="before them"),
        pytest.param([{"role": "system", "content": AGENTS}], id="without them"),
        pytest.param([{"role": "assistant", "content": "A"}, {"role": "system", "content": AGENTS}], id="of nobody"),
    ],
)
def test_other_system_turns_stay_where_they_stand(translate: Translate, messages: list[dict[str, Any]]) -> None:
    assert [turn.role.value for turn in translate(messages=messages).turns] == [one["role"] for one in messages]


def test_what_is_not_text_alone_stays_where_it_stands(translate: Translate) -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Read"}}
    tools = [{"name": "Read", "input_schema": {"type": "object"}}]
    turns = translate(tools=tools, messages=opening("U", [{"type": "text", "text": AGENTS}, added])).turns
    assert [turn.role for turn in turns] == [Role.USER, Role.SYSTEM]


def test_a_mark_behind_it_is_kept(translate: Translate) -> None:
    (turn,) = translate(messages=opening("U", [{"type": "text", "text": AGENTS, **MARK}])).turns
    assert [isinstance(part, TextPart) and part.cache_mark for part in turn.parts] == [True, False]


@given(st.lists(st.sampled_from(Role), max_size=6))
def test_a_conversation_that_grows_keeps_the_turns_it_had(later: list[Role]) -> None:
    turns = tuple(Turn(role=role, parts=(TextPart(text=told()),)) for role in (Role.USER, Role.SYSTEM, *later))
    opened = shared_first(turns[:2])
    assert len(opened) == 1
    assert tuple(shared_first(turns)) == (*opened, *turns[2:])
