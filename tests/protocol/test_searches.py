"""Searches for tools in a history: as the model knew them, whatever a client made of their blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_core import (
    GenerationRequest,
    Part,
    ResultPart,
    Role,
    TextPart,
    ToolCallId,
    ToolReferencePart,
    ToolResultPart,
)

Translate = Callable[..., GenerationRequest]

TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]


def searched(content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": content}


def found(*references: dict[str, Any]) -> dict[str, Any]:
    return searched({"type": "tool_search_tool_search_result", "tool_references": list(references)})


@pytest.fixture
def told(translate: Translate) -> Callable[..., list[tuple[Role, tuple[Part, ...]]]]:
    """Return the turns that these blocks of one answer become."""

    def told(*content: Any) -> list[tuple[Role, tuple[Part, ...]]]:
        answer = {"role": "assistant", "content": list(content)}
        turns = translate(tools=TOOLS, messages=[{"role": "user", "content": "U"}, answer]).turns
        return [(turn.role, turn.parts) for turn in turns[1:]]

    return told


Told = Callable[..., list[tuple[Role, tuple[Part, ...]]]]


def result(*content: ResultPart, is_error: bool = False) -> ToolResultPart:
    return ToolResultPart(call_id=ToolCallId("toolu_1"), content=content, is_error=is_error)


def test_what_was_found_stands_in_a_turn_of_the_user(told: Told) -> None:
    reference = {"type": "tool_reference", "tool_name": "f"}
    assert told({"type": "text", "text": "I look."}, found(reference)) == [
        (Role.ASSISTANT, (TextPart(text="I look."),)),
        (Role.USER, (result(ToolReferencePart(name="f")),)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"error_code": "invalid_pattern", "error_message": "no such pattern"}, "no such pattern"),
        ({"error_code": "unavailable"}, "the search failed"),
    ],
)
def test_a_search_that_failed_did_so_in_the_history_too(told: Told, content: dict[str, Any], message: str) -> None:
    failed = searched({"type": "tool_search_tool_result_error", **content})
    assert told(failed) == [(Role.USER, (result(TextPart(text=message), is_error=True),))]


def test_a_reference_without_a_name_is_passed_over(told: Told) -> None:
    references = ({"type": "tool_reference"}, {"type": "tool_reference", "tool_name": "f"})
    assert told(found(*references)) == [(Role.USER, (result(ToolReferencePart(name="f")),))]


def test_between_searches_an_empty_text_is_no_turn(told: Told) -> None:
    reference = {"type": "tool_reference", "tool_name": "f"}
    roles = [role for role, _ in told(found(reference), {"type": "text", "text": ""}, found(reference))]
    assert roles == [Role.USER, Role.USER]
