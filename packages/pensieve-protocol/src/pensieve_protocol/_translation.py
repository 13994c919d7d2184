"""From the wire to core: a `MessagesRequest` becomes a `GenerationRequest`. Pure.

What Claude Code sends is made prefix-stable here as far as the wire can see it (design 4): the billing block, which
changes from call to call, is dropped; system turns stay where they stand; everything else is carried in order.
Rendering, merging of neighbours and caching are the engine's.
"""

from __future__ import annotations

import hashlib
from typing import assert_never

import attrs

from pensieve_core import (
    GenerationRequest,
    JsonObject,
    ModelId,
    Origin,
    Part,
    Priority,
    RequestId,
    ResultPart,
    Role,
    Sampling,
    SessionId,
    TextPart,
    Thinking,
    ThinkingPart,
    ToolCallId,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
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
from pensieve_protocol._client_tools import neutral_tools
from pensieve_protocol._render import (
    document_parts,
    image_part,
    opaque_text,
    search_result_text,
    text_part,
    tool_reference_text,
)
from pensieve_protocol._requests import (
    AdaptiveThinking,
    BetweenToolsThinking,
    CountTokensRequest,
    DisabledThinking,
    EnabledThinking,
    InputMessage,
    MessagesRequest,
    ThinkingConfig,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceConfig,
    ToolChoiceNone,
    ToolChoiceTool,
)

__all__ = ["to_generation_request"]

BILLING_HEADER = "x-anthropic-billing-header:"
"""How Claude Code's first system block begins; its hex digits change from conversation to conversation."""

BACKGROUND_MAX_TOKENS = 16
"""A request for so few tokens is no turn: it warms a cache, or asks whether the model answers at all."""


def to_generation_request(
    request: MessagesRequest | CountTokensRequest, *, request_id: RequestId, model: ModelId, origin: Origin
) -> GenerationRequest:
    """Return what the engine is asked, under this id, of this model, on behalf of `origin`.

    Everything that the prompt depends on is translated alike for both kinds of request, so that counting counts
    what generating is charged for. `origin.priority` is kept unless it is MAIN; then it is derived.
    """
    base = GenerationRequest(
        id=request_id,
        model=model,
        turns=_turns(request),
        tools=neutral_tools(request.tools),
        tool_choice=_tool_choice(request.tool_choice),
        thinking=_thinking(request.thinking, request.output_config.effort),
        max_tokens=0,
        output_schema=_output_schema(request),
        origin=origin,
    )
    return _with_generation(base, request) if isinstance(request, MessagesRequest) else base


def _with_generation(base: GenerationRequest, request: MessagesRequest) -> GenerationRequest:
    return attrs.evolve(
        base,
        max_tokens=request.max_tokens,
        stop_sequences=request.stop_sequences,
        sampling=_sampling(request),
        origin=_origin(request, base.origin),
    )


def _sampling(request: MessagesRequest) -> Sampling:
    temperature = None if request.temperature is None else min(request.temperature, 1.0)
    return Sampling(temperature=temperature, top_p=request.top_p, top_k=request.top_k)


def _origin(request: MessagesRequest, origin: Origin) -> Origin:
    session = origin.session or _session(request.metadata.user_id)
    return attrs.evolve(origin, session=session, priority=_priority(request, origin))


def _session(user_id: str | None) -> SessionId | None:
    """Return a key for fairness; hashed, since Claude Code's `user_id` holds account and device."""
    return SessionId("user_" + hashlib.sha256(user_id.encode()).hexdigest()[:16]) if user_id else None


def _priority(request: MessagesRequest, origin: Origin) -> Priority:
    """Tell Claude Code's side calls (the title: a schema and no tools) from turns, unless the caller knows better."""
    if origin.priority is not Priority.MAIN:
        return origin.priority
    is_title = not request.tools and _output_schema(request) is not None
    if is_title or request.max_tokens <= BACKGROUND_MAX_TOKENS:
        return Priority.BACKGROUND
    return Priority.MAIN if origin.agent is None else Priority.AGENT


def _output_schema(request: CountTokensRequest) -> JsonObject | None:
    output_format = request.output_config.format or request.output_format
    return None if output_format is None else output_format.schema


def _thinking(config: ThinkingConfig | None, effort: str | None) -> Thinking:
    """Adaptive thinking has no budget; at low effort it is off, which is what "as you see fit" means there."""
    match config:
        case EnabledThinking(budget_tokens=budget):
            return Thinking(enabled=True, budget_tokens=budget)
        case AdaptiveThinking():
            return Thinking(enabled=effort != "low")
        case DisabledThinking() | BetweenToolsThinking() | None:
            return Thinking()
        case _:
            assert_never(config)


def _tool_choice(config: ToolChoiceConfig | None) -> ToolChoice:
    match config:
        case ToolChoiceAuto(disable_parallel_tool_use=alone):
            return ToolChoice(parallel=not alone)
        case ToolChoiceAny(disable_parallel_tool_use=alone):
            return ToolChoice(mode=ToolChoiceMode.ANY, parallel=not alone)
        case ToolChoiceTool(name=name, disable_parallel_tool_use=alone):
            return ToolChoice(mode=ToolChoiceMode.TOOL, name=name, parallel=not alone)
        case ToolChoiceNone():
            return ToolChoice(mode=ToolChoiceMode.NONE)
        case None:
            return ToolChoice()
        case _:
            assert_never(config)


def _turns(request: CountTokensRequest) -> tuple[Turn, ...]:
    last_user = max((i for i, message in enumerate(request.messages) if message.role == "user"), default=-1)
    shown = [
        message
        for index, message in enumerate(request.messages)
        if message.clear_at != "next_user_message" or index > last_user
    ]
    turns = [*_system_turn(request.system), *(_turn(message) for message in shown)]
    if request.cache_control is not None:
        *before, last = turns
        parts = list(last.parts)
        _mark_last(parts)
        turns = [*before, attrs.evolve(last, parts=tuple(parts))]
    return tuple(turns)


def _system_turn(system: str | tuple[TextBlock, ...]) -> tuple[Turn, ...]:
    if isinstance(system, str):
        system = (TextBlock(type="text", text=system),)
    parts = _parts(tuple(attrs.evolve(block, text=_without_billing(block.text)) for block in system))
    return (Turn(role=Role.SYSTEM, parts=parts),) if parts else ()


def _without_billing(text: str) -> str:
    return text.partition("\n")[2] if text.startswith(BILLING_HEADER) else text


def _turn(message: InputMessage) -> Turn:
    """Translate one message, which keeps at least one part.

    Were an empty last question left out, the answer before it would become a prefill.
    """
    content = message.content
    parts = (TextPart(text=content),) if isinstance(content, str) else _parts(content)
    return Turn(role=Role(message.role), parts=parts or (TextPart(text=""),))


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
        case _:
            return _result_block_parts(block)


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
        case ToolReferenceBlock():
            return (TextPart(text=tool_reference_text(block)),)
        case OpaqueBlock():
            return (TextPart(text=opaque_text(block)),)
        case _:
            assert_never(block)
