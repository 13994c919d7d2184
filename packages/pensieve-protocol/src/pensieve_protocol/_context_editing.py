"""Makes the edits of `context_management`. Pure: whoever drives it counts tokens for it.

    editing = edit_context(request)
    counts = next(editing)             # a request: how many tokens has its prompt?
    counts = editing.send(tokens)      # the next one; in the end StopIteration, whose value is `Edited`

A client sends its whole history every time, so that the same edits are made every time, to the same blocks and a few
more; a cleared result is always the same text. What is to be kept is counted from the end of the conversation.

Above: `pensieve_http` asks the engine. Below: the wire's values.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar, assert_never

import attrs

from pensieve_protocol._blocks import (
    ContentBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from pensieve_protocol._context_management import (
    AppliedEdit,
    ClearedThinking,
    ClearedToolUses,
    ClearThinking,
    ClearToolUses,
    ContextEdit,
    OtherEdit,
)
from pensieve_protocol._requests import CountTokensRequest, InputMessage

__all__ = ["CLEARED", "Edited", "edit_context"]

_Request = TypeVar("_Request", bound=CountTokensRequest)

CLEARED = "[This tool result was removed to save room. Call the tool again if you need it.]"
"""Stands in place of a result: the model is to know that there was one."""


@attrs.frozen(kw_only=True)
class Edited(Generic[_Request]):
    """What came of it."""

    request: _Request
    applied: tuple[AppliedEdit, ...] = ()
    original_tokens: int | None = None
    """Of the prompt as it was sent; None where nobody had to count."""


@attrs.frozen(kw_only=True)
class _Proposal(Generic[_Request]):
    """An edit, made on trial."""

    request: _Request
    cleared: int
    """Uses of tools, or turns."""


def edit_context(request: _Request) -> Generator[_Request, int, Edited[_Request]]:
    """Yield requests whose prompts are to be counted; return what is to be done instead of `request`."""
    tokens: int | None = None
    original: int | None = None
    applied: list[AppliedEdit] = []
    for edit in () if request.context_management is None else request.context_management.edits:
        proposal = _proposed(edit, request)
        if proposal is None:
            continue
        if tokens is None:
            tokens = original = yield request
        if isinstance(edit, ClearToolUses) and edit.trigger.type == "input_tokens" and tokens <= edit.trigger.value:
            continue
        left = yield proposal.request
        if tokens - left >= _least(edit):
            applied.append(_applied(edit, proposal.cleared, tokens - left))
            request, tokens = proposal.request, left
    return Edited(request=request, applied=tuple(applied), original_tokens=original)


def _proposed(edit: ContextEdit, request: _Request) -> _Proposal[_Request] | None:
    """Return `request` with the edit made; None when it would change nothing."""
    match edit:
        case ClearToolUses():
            cleared = _clearable_uses(edit, request)
            change: Callable[[ContentBlock], ContentBlock | None] = _clearing_uses(edit, cleared)
            return _Proposal(request=_changed(request, change), cleared=len(cleared)) if cleared else None
        case ClearThinking():
            turns = _clearable_turns(edit, request)
            return _Proposal(request=_changed(request, _without_thinking, turns), cleared=len(turns)) if turns else None
        case OtherEdit():
            return None
        case _:
            assert_never(edit)


def _least(edit: ContextEdit) -> int:
    """Return how many tokens the edit must save. One that saves none was not made."""
    least = edit.clear_at_least if isinstance(edit, ClearToolUses) else None
    return 1 if least is None else max(1, least.value)


def _applied(edit: ContextEdit, cleared: int, tokens: int) -> AppliedEdit:
    if isinstance(edit, ClearToolUses):
        return ClearedToolUses(cleared_tool_uses=cleared, cleared_input_tokens=tokens)
    return ClearedThinking(cleared_thinking_turns=cleared, cleared_input_tokens=tokens)


# Uses of tools.


def _uses(request: CountTokensRequest) -> dict[str, str]:
    """Return the calls that have a result, in their order: from id to tool."""
    answered = {block.tool_use_id for block in _blocks(request) if isinstance(block, ToolResultBlock)}
    calls = (block for block in _blocks(request) if isinstance(block, ToolUseBlock))
    return {call.id: call.name for call in calls if call.id in answered}


def _clearable_uses(edit: ClearToolUses, request: CountTokensRequest) -> frozenset[str]:
    uses = _uses(request)
    if edit.trigger.type == "tool_uses" and len(uses) <= edit.trigger.value:
        return frozenset()
    older = list(uses)[: max(0, len(uses) - edit.keep.value)]
    return frozenset(use for use in older if uses[use] not in edit.exclude_tools)


def _clearing_uses(edit: ClearToolUses, cleared: frozenset[str]) -> Callable[[ContentBlock], ContentBlock]:
    def change(block: ContentBlock) -> ContentBlock:
        match block:
            case ToolResultBlock(tool_use_id=call) if call in cleared:
                return attrs.evolve(block, content=(TextBlock(type="text", text=CLEARED),))
            case ToolUseBlock(id=call, name=tool) if call in cleared and edit.clears_input(tool):
                return attrs.evolve(block, input={})
            case _:
                return block

    return change


# Reasoning.


def _clearable_turns(edit: ClearThinking, request: CountTokensRequest) -> frozenset[int]:
    """Return the positions of messages that lose their reasoning."""
    if edit.kept_turns is None:
        return frozenset()
    thoughtful = [i for i, message in enumerate(request.messages) if any(map(_is_thinking, _content(message)))]
    return frozenset(thoughtful[: max(0, len(thoughtful) - edit.kept_turns)])


def _is_thinking(block: ContentBlock) -> bool:
    return isinstance(block, ThinkingBlock | RedactedThinkingBlock)


def _without_thinking(block: ContentBlock) -> ContentBlock | None:
    return None if _is_thinking(block) else block


# Both.


def _blocks(request: CountTokensRequest) -> Iterator[ContentBlock]:
    for message in request.messages:
        yield from _content(message)


def _content(message: InputMessage) -> tuple[ContentBlock, ...]:
    return () if isinstance(message.content, str) else message.content


def _changed(
    request: _Request, change: Callable[[ContentBlock], ContentBlock | None], only: frozenset[int] | None = None
) -> _Request:
    """Return `request` with `change` made to each block, None taking it out; in these messages, or in all."""
    messages = tuple(
        _changed_message(message, change) if only is None or position in only else message
        for position, message in enumerate(request.messages)
    )
    return attrs.evolve(request, messages=messages)


def _changed_message(message: InputMessage, change: Callable[[ContentBlock], ContentBlock | None]) -> InputMessage:
    if isinstance(message.content, str):
        return message
    blocks = (change(block) for block in message.content)
    return attrs.evolve(message, content=tuple(block for block in blocks if block is not None))
