"""Design 3: `context_management.edits`; the rules are those of Anthropic's documentation of context editing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_protocol import (
    ClearedThinking,
    ClearedToolUses,
    ClearThinking,
    ClearToolUses,
    Edited,
    MessagesRequest,
    RequestError,
    ToolResultBlock,
    ToolUseBlock,
    dump_json,
    edit_context,
    parse_messages_request,
)

CLEARED = "[This tool result was removed to save room. Call the tool again if you need it.]"


def round_of(number: int, tool: str = "Bash", *, thinking: bool = False) -> list[dict[str, Any]]:
    """Return a call and its result, and the reasoning before it."""
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": {"n": number}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": f"result {number} " + "x" * 1_000}
    thought = [{"type": "thinking", "thinking": f"thought {number}", "signature": "s"}] if thinking else []
    return [{"role": "assistant", "content": [*thought, call]}, {"role": "user", "content": [result]}]


def conversation(rounds: Iterable[list[dict[str, Any]]], *edits: dict[str, Any]) -> MessagesRequest:
    messages = [{"role": "user", "content": "Go"}, *(message for one in rounds for message in one)]
    request = {"model": "m", "max_tokens": 9, "messages": messages, "context_management": {"edits": list(edits)}}
    return parse_messages_request(json.dumps(request).encode())


def size(request: MessagesRequest) -> int:
    """Count tokens: one a letter."""
    return len(dump_json(request.messages))


def edit(request: MessagesRequest) -> Edited[MessagesRequest]:
    editing = edit_context(request)
    try:
        asked = next(editing)
        while True:
            asked = editing.send(size(asked))
    except StopIteration as done:
        edited: Edited[MessagesRequest] = done.value
        return edited


def results(request: MessagesRequest) -> dict[str, bool]:
    """Return for each call whether its result is still there."""
    blocks = [block for message in request.messages for block in message.content if isinstance(block, ToolResultBlock)]
    return {block.tool_use_id.removeprefix("toolu_"): CLEARED not in str(block.content) for block in blocks}


def inputs(request: MessagesRequest) -> list[object]:
    return [b.input for message in request.messages for b in message.content if isinstance(b, ToolUseBlock)]


def uses(value: int) -> dict[str, Any]:
    return {"type": "tool_uses", "value": value}


def tokens(value: int) -> dict[str, Any]:
    return {"type": "input_tokens", "value": value}


def clear(**fields: Any) -> dict[str, Any]:
    return {"type": "clear_tool_uses_20250919", "trigger": uses(0), **fields}


def test_older_results_are_cleared_and_the_latest_three_kept() -> None:
    request = conversation(map(round_of, range(5)), clear())
    edited = edit(request)
    assert results(edited.request) == {"0": False, "1": False, "2": True, "3": True, "4": True}
    assert inputs(edited.request) == [{"n": n} for n in range(5)]
    saved = size(request) - size(edited.request)
    assert edited.applied == (ClearedToolUses(cleared_tool_uses=2, cleared_input_tokens=saved),)
    assert edited.original_tokens == size(request)


def test_without_a_trigger_it_waits_for_a_hundred_thousand_tokens() -> None:
    (few,) = conversation([], {"type": "clear_tool_uses_20250919"}).context_management.edits  # type: ignore[union-attr]
    assert isinstance(few, ClearToolUses)
    assert (few.trigger.type, few.trigger.value, few.keep.value) == ("input_tokens", 100_000, 3)


def test_exactly_as_much_as_the_trigger_says_is_not_more() -> None:
    full = size(conversation(map(round_of, range(5))))
    for trigger, due in ((full, False), (full - 1, True)):
        assert bool(edit(conversation(map(round_of, range(5)), clear(trigger=tokens(trigger)))).applied) == due


@pytest.mark.parametrize(
    ("trigger", "due"), [(tokens(10**6), False), (tokens(100), True), (uses(5), False), (uses(4), True)]
)
def test_it_waits_until_there_is_more_than_the_trigger_says(trigger: dict[str, Any], *, due: bool) -> None:
    edited = edit(conversation(map(round_of, range(5)), clear(trigger=trigger)))
    assert bool(edited.applied) is due
    assert all(results(edited.request).values()) is not due


def test_what_saves_too_little_is_not_done() -> None:
    """The SDK: "Context will only be modified if at least this many tokens can be removed"."""
    request = conversation(map(round_of, range(5)), clear())
    (done,) = edit(request).applied
    saved = done.cleared_input_tokens
    for least, applied in ((saved, True), (saved + 1, False)):
        again = edit(conversation(map(round_of, range(5)), clear(clear_at_least=tokens(least))))
        assert bool(again.applied) is applied
        assert (again.request.messages == request.messages) is not applied


def test_excluded_tools_keep_their_results() -> None:
    rounds = [round_of(n, "Read" if n % 2 else "Bash") for n in range(4)]
    edited = edit(conversation(rounds, clear(keep=uses(0), exclude_tools=["Read"])))
    assert results(edited.request) == {"0": False, "1": True, "2": False, "3": True}
    assert edited.applied[0].type == "clear_tool_uses_20250919"


@pytest.mark.parametrize(
    ("clear_inputs", "left"), [(True, [{}, {}]), (["Read"], [{"n": 0}, {}]), (False, [{"n": 0}, {"n": 1}])]
)
def test_inputs_go_too_where_that_is_asked(clear_inputs: object, left: list[object]) -> None:
    rounds = [round_of(0), round_of(1, "Read")]
    assert inputs(edit(conversation(rounds, clear(keep=uses(0), clear_tool_inputs=clear_inputs))).request) == left


def test_a_call_without_a_result_is_not_counted() -> None:
    rounds = [round_of(0), round_of(1), round_of(2)[:1]]
    edited = edit(conversation(rounds, clear(keep=uses(1))))
    assert results(edited.request) == {"0": False, "1": True}


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("all", [0, 1, 2, 3]),
        ({"type": "all"}, [0, 1, 2, 3]),
        ({"type": "thinking_turns", "value": 2}, [2, 3]),
        (..., [3]),
        ({"type": "thinking_turns", "value": 9}, [0, 1, 2, 3]),
    ],
)
def test_reasoning_of_older_turns_is_cleared(keep: Any, left: list[int]) -> None:
    edit_asked = {"type": "clear_thinking_20251015"} | ({} if keep is ... else {"keep": keep})
    request = conversation([round_of(n, thinking=True) for n in range(4)], edit_asked)
    edited = edit(request)
    said = dump_json(edited.request.messages).decode()
    assert [n for n in range(4) if f"thought {n}" in said] == left
    saved = size(request) - size(edited.request)
    expected = ClearedThinking(cleared_thinking_turns=4 - len(left), cleared_input_tokens=saved)
    assert edited.applied == ((expected,) if len(left) < 4 else ())


def test_edits_are_made_in_order_and_each_tells_what_it_saved() -> None:
    request = conversation([round_of(n, thinking=True) for n in range(4)], {"type": "clear_thinking_20251015"}, clear())
    edited = edit(request)
    assert [type(one) for one in edited.applied] == [ClearedThinking, ClearedToolUses]
    assert sum(one.cleared_input_tokens for one in edited.applied) == size(request) - size(edited.request)


@pytest.mark.parametrize("asked", [None, {}, {"edits": []}, {"edits": [{"type": "compact_20260112"}]}])
def test_what_is_not_to_be_edited_is_not_counted(asked: Any, body: Callable[..., bytes]) -> None:
    """`compact_20260112` is accepted, not made, and not claimed."""
    request = parse_messages_request(body(context_management=asked))
    assert edit(request) == Edited(request=request)


def test_an_edit_that_is_none_is_refused(body: Callable[..., bytes]) -> None:
    edits = [clear(keep={"type": "tool_uses", "value": -1}), {"type": "clear_thinking_20251015", "keep": 3}]
    with pytest.raises(RequestError) as caught:
        parse_messages_request(body(context_management={"edits": edits}))
    assert caught.value.error.message == (
        "context_management.edits.0.keep.value: must be at least 0, got -1; "
        "context_management.edits.1.keep: expected a string or an object, got an integer"
    )


def test_defaults_of_the_reasoning_edit() -> None:
    (one,) = conversation([], {"type": "clear_thinking_20251015"}).context_management.edits  # type: ignore[union-attr]
    assert isinstance(one, ClearThinking)
    assert one.kept_turns == 1


@given(count=st.integers(0, 8), keep=st.integers(0, 4), excluded=st.sets(st.sampled_from(["Bash", "Read"])))
def test_a_conversation_that_grows_keeps_what_was_cleared(count: int, keep: int, excluded: set[str]) -> None:
    """Otherwise the prefix would change back and forth."""
    rounds = [round_of(n, "Read" if n % 3 else "Bash") for n in range(count + 1)]
    asked = clear(keep=uses(keep), exclude_tools=sorted(excluded))
    before = results(edit(conversation(rounds[:-1], asked)).request)
    after = results(edit(conversation(rounds, asked)).request)
    assert all(not after[call] for call, kept in before.items() if not kept)
