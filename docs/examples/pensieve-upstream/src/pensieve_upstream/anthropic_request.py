"""From a neutral request to the body of `POST /v1/messages`. Pure.

What the API has no words for is left out: a seed, and reasoning of earlier turns, whose signatures are the outer
server's own; a turn that consists of those alone is left out whole, for a message must not be empty. Deferred tools are
described in the head with all others.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, assert_never

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    Part,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)

__all__ = ["count_body", "messages_body"]

_Json: TypeAlias = dict[str, Any]
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking")
"""What `/v1/messages/count_tokens` takes."""


def messages_body(request: GenerationRequest, model: str) -> _Json:
    """Return the body of a streamed request to `model`."""
    head, turns = _head(request.turns)
    wanted = {
        "model": model,
        "max_tokens": request.max_tokens,
        "stream": True,
        "system": [_text(part.text, marked=part.cache_mark) for part in head] or None,
        "messages": [message for turn in turns if (message := _message(turn))["content"]],
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request.tool_choice) if request.tools else None,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_k": request.sampling.top_k,
        "stop_sequences": list(request.stop_sequences) or None,
        "thinking": _thinking(request),
        "output_config": _output(request),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def count_body(request: GenerationRequest, model: str) -> _Json:
    """Return the body of a request that counts the same prompt."""
    body = messages_body(request, model)
    return {name: body[name] for name in _COUNTED if name in body}


def _head(turns: tuple[Turn, ...]) -> tuple[list[TextPart], list[Turn]]:
    """Return the texts of the system turns that stand first, and all other turns."""
    first = next((i for i, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    head = [part for turn in turns[:first] for part in turn.parts if isinstance(part, TextPart)]
    return head, list(turns[first:])


def _message(turn: Turn) -> _Json:
    """Return a message; a system turn in the middle becomes the user's, which every upstream takes."""
    role = "assistant" if turn.role is Role.ASSISTANT else "user"
    return {"role": role, "content": _blocks(turn.parts)}


def _blocks(parts: Iterable[Part]) -> list[_Json]:
    return [block for part in parts if (block := _block(part)) is not None]


def _block(part: Part) -> _Json | None:
    match part:
        case TextPart(text=text, cache_mark=marked):
            return _text(text, marked=marked)
        case ThinkingPart():
            return None
        case ImagePart(media_type=media_type, data=data):
            source = {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}
            return {"type": "image", "source": source}
        case ToolCallPart(id=call_id, name=name, arguments=arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": dict(arguments)}
        case ToolResultPart(call_id=call_id, content=content, is_error=is_error):
            result = {"type": "tool_result", "tool_use_id": call_id, "content": _blocks(content)}
            return {**result, "is_error": True} if is_error else result
        case ToolReferencePart(name=name):
            return _text(f"The tool {name} is available.")
        case _:
            assert_never(part)


def _text(text: str, *, marked: bool = False) -> _Json:
    block: _Json = {"type": "text", "text": text}
    return {**block, "cache_control": {"type": "ephemeral"}} if marked else block


def _tool(tool: Tool) -> _Json:
    described: _Json = {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
    if tool.cache_mark:
        described["cache_control"] = {"type": "ephemeral"}
    return {**described, "strict": True} if tool.strict else described


def _choice(choice: ToolChoice) -> _Json:
    chosen: _Json = {"type": choice.mode.value}
    if choice.mode is ToolChoiceMode.TOOL:
        chosen["name"] = choice.name
    if not choice.parallel and choice.mode is not ToolChoiceMode.NONE:
        chosen["disable_parallel_tool_use"] = True
    return chosen


def _thinking(request: GenerationRequest) -> _Json | None:
    thinking = request.thinking
    if not thinking.enabled:
        return None
    if thinking.budget_tokens is None or thinking.budget_tokens >= request.max_tokens:  # the latter would be refused
        return {"type": "adaptive"}
    return {"type": "enabled", "budget_tokens": thinking.budget_tokens}


def _output(request: GenerationRequest) -> Mapping[str, Any] | None:
    config: _Json = {}
    if request.output_schema is not None:
        config["format"] = {"type": "json_schema", "schema": dict(request.output_schema)}
    if request.thinking.effort is not None:
        config["effort"] = request.thinking.effort.value
    return config or None
