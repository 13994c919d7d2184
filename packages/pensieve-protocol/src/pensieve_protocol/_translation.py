"""From the wire to core: a `MessagesRequest` becomes a `GenerationRequest`. Pure.

The conversation is translated in `_conversation`, the tools in `_deferral` and `_client_tools`; here are the settings
around them.
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
    Priority,
    RequestId,
    Sampling,
    SessionId,
    ToolChoice,
    ToolChoiceMode,
)
from pensieve_protocol._client_tools import neutral_tools
from pensieve_protocol._conversation import conversation
from pensieve_protocol._deferral import offered_tools
from pensieve_protocol._effort import thinking
from pensieve_protocol._requests import (
    CountTokensRequest,
    MessagesRequest,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceConfig,
    ToolChoiceNone,
    ToolChoiceTool,
)

__all__ = ["session_of", "to_generation_request"]

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
        turns=conversation(request),
        tools=neutral_tools(offered_tools(request)),
        tool_choice=_tool_choice(request.tool_choice),
        thinking=thinking(request.thinking, request.output_config.effort, None),
        max_tokens=0,
        output_schema=_output_schema(request),
        origin=origin,
    )
    return _with_generation(base, request) if isinstance(request, MessagesRequest) else base


def _with_generation(base: GenerationRequest, request: MessagesRequest) -> GenerationRequest:
    return attrs.evolve(
        base,
        max_tokens=request.max_tokens,
        thinking=thinking(request.thinking, request.output_config.effort, request.max_tokens),
        stop_sequences=request.stop_sequences,
        sampling=_sampling(request),
        origin=_origin(request, base.origin),
    )


def _sampling(request: MessagesRequest) -> Sampling:
    temperature = None if request.temperature is None else min(request.temperature, 1.0)
    return Sampling(temperature=temperature, top_p=request.top_p, top_k=request.top_k)


def _origin(request: MessagesRequest, origin: Origin) -> Origin:
    session = origin.session or session_of(request.metadata.user_id)
    return attrs.evolve(origin, session=session, priority=_priority(request, origin))


def session_of(user_id: str | None) -> SessionId | None:
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
