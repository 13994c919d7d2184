"""The conversation of a request, in core's words. Pure.

What Claude Code sends is made prefix-stable here as far as the wire can see it (design 4): the billing block, which
changes from call to call, is dropped; system turns stay where they stand, save for the one that opens a session
(`_opening`); everything else is carried in order, and the same block always becomes the same parts. Merging of
neighbours and re-roling are the engine's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import assert_never

import attrs

from pensieve_core import (
    Part,
    ResultPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallId,
    ToolCallPart,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)
from pensieve_protocol._blocks import (
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    OpaqueBlock,
    RedactedThinkingBlock,
    ResultBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from pensieve_protocol._opening import shared_first
from pensieve_protocol._render import (
    document_parts,
    image_part,
    opaque_text,
    search_result_text,
    text_part,
)
from pensieve_protocol._requests import CountTokensRequest, InputMessage
from pensieve_protocol._searches import is_search_result, search_call, search_result

__all__ = ["conversation"]

BILLING_HEADER = "x-anthropic-billing-header:"
"""How Claude Code's first system block begins; its hex digits change from conversation to conversation."""


def conversation(request: CountTokensRequest) -> tuple[Turn, ...]:
    """Return the turns, the system prompt first when there is one.

    The top-level `cache_control` marks the last part of the last turn.
    """
    last_user = max((i for i, message in enumerate(request.messages) if message.role == "user"), default=-1)
    shown = [message for i, message in enumerate(request.messages) if i >= last_user or not _is_passing(message)]
    turns = shared_first([*_system_turn(request.system), *(turn for message in shown for turn in _turn(message))])
    if request.cache_control is not None and turns:
        *before, last = turns
        parts = list(last.parts)
        _mark_last(parts)
        turns = [*before, attrs.evolve(last, parts=tuple(parts))]
    return tuple(turns)


def _is_passing(message: InputMessage) -> bool:
    """Return whether the next user turn makes the model forget this message."""
    return message.role == "system" and message.clear_at == "next_user_message"


def _system_turn(system: str | tuple[TextBlock, ...]) -> tuple[Turn, ...]:
    if isinstance(system, str):
        system = (TextBlock(type="text", text=system),)
    parts = _parts(tuple(attrs.evolve(block, text=_without_billing(block.text)) for block in system))
    return (Turn(role=Role.SYSTEM, parts=parts),) if parts else ()


def _without_billing(text: str) -> str:
    return text.partition("\n")[2] if text.startswith(BILLING_HEADER) else text


def _turn(message: InputMessage) -> tuple[Turn, ...]:
    """Translate one message; no turn comes of an empty system message, and several of one with searches.

    Claude Code 2.1.330 sends the former for their `output_config` alone (beta per-turn-control-2026-07-01). Were an
    empty last question left out, however, the answer before it would become a prefill.
    """
    content = (TextBlock(type="text", text=message.content),) if isinstance(message.content, str) else message.content
    if any(is_search_result(block) for block in content):
        return tuple(_turns_with_searches(message, content))
    parts = _parts(content)
    if message.role == "system" and not parts:
        return ()
    return (Turn(role=Role(message.role), parts=parts or (TextPart(text=""),)),)


def _turns_with_searches(message: InputMessage, content: tuple[ContentBlock, ...]) -> Iterator[Turn]:
    """What a search found stands in a turn of the user, as it did when the model went on from there."""
    for is_found, blocks in itertools.groupby(content, key=is_search_result):
        parts = _parts(tuple(blocks))
        if parts:
            yield Turn(role=Role.USER if is_found else Role(message.role), parts=parts)


def _parts(blocks: tuple[ContentBlock, ...]) -> tuple[Part, ...]:
    """Translate blocks. What comes out empty is left out, and its mark goes to the part before it."""
    parts: list[Part] = []
    for block in blocks:
        parts.extend(part for part in _block_parts(block) if not _is_empty(part))
        if _has_mark(block):
            _mark_last(parts)
    return tuple(parts)


def _has_mark(block: ContentBlock) -> bool:
    return not isinstance(block, ThinkingBlock | RedactedThinkingBlock) and block.cache_control is not None


def _is_empty(part: Part) -> bool:
    return isinstance(part, TextPart | ThinkingPart) and not part.text


def _mark_last(parts: list[Part]) -> None:
    """Mark the last of `parts`, in place, that can be marked; reasoning cannot."""
    for index in reversed(range(len(parts))):
        part = parts[index]
        if not isinstance(part, ThinkingPart):
            parts[index] = attrs.evolve(part, cache_mark=True)
            return


def _block_parts(block: ContentBlock) -> tuple[Part, ...]:
    match block:
        case ThinkingBlock(thinking=text, signature=signature):
            return (ThinkingPart(text=text, signature=signature),)
        case RedactedThinkingBlock():
            return ()
        case ToolUseBlock(id=call_id, name=name, input=arguments):
            return (ToolCallPart(id=ToolCallId(call_id), name=name, arguments=arguments),)
        case ToolResultBlock(tool_use_id=call_id, content=content, is_error=is_error):
            return (ToolResultPart(call_id=ToolCallId(call_id), content=_result_parts(content), is_error=is_error),)
        case OpaqueBlock(added_tool=None):
            return _opaque_parts(block)
        case _:
            return _result_block_parts(block)


def _opaque_parts(block: OpaqueBlock) -> tuple[Part, ...]:
    """A search for tools is a call to the model; of what else Anthropic's servers did it is told in words."""
    if is_search_result(block):
        return (search_result(block),)
    call = search_call(block)
    return _result_block_parts(block) if call is None else (call,)


def _result_parts(content: str | tuple[ResultBlock, ...]) -> tuple[ResultPart, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),) if content else ()
    return tuple(part for block in content for part in _result_block_parts(block) if not _is_empty(part))


def _result_block_parts(block: ResultBlock) -> tuple[ResultPart, ...]:
    match block:
        case TextBlock():
            return (text_part(block),)
        case ImageBlock():
            return (image_part(block),)
        case DocumentBlock():
            return document_parts(block)
        case SearchResultBlock():
            return (TextPart(text=search_result_text(block)),)
        case ToolReferenceBlock(tool_name=name) | OpaqueBlock(added_tool=str(name)):
            return (ToolReferencePart(name=name, cache_mark=block.cache_control is not None),)
        case OpaqueBlock():
            return (TextPart(text=opaque_text(block)),)
        case _:
            assert_never(block)
