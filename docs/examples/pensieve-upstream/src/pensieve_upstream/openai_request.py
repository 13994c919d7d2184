"""From a neutral request to the body of `POST /v1/chat/completions`. Pure.

Results of tools are messages of their own there, without images and without a mark for errors: the images follow in the
user's words. Reasoning of earlier turns is left out, as are cache marks, for which there is no word; a turn of nothing
but reasoning is no message there.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import orjson

from pensieve_core import (
    Effort,
    GenerationRequest,
    ImagePart,
    Part,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)

__all__ = ["chat_body", "one_token_body", "tokenize_body"]

_Json: TypeAlias = dict[str, Any]
_PROMPT = ("model", "messages", "tools", "chat_template_kwargs")
_MODES = {ToolChoiceMode.AUTO: "auto", ToolChoiceMode.ANY: "required", ToolChoiceMode.NONE: "none"}
_EFFORTS = {Effort.XHIGH: "high", Effort.MAX: "high"}
"""What goes beyond the words that every server knows."""


def chat_body(request: GenerationRequest, model: str) -> _Json:
    """Return the body of a streamed request to `model`. A limit of 0 tokens is not known there: it becomes 1."""
    wanted = {
        "model": model,
        "max_tokens": max(request.max_tokens, 1),
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": list(_messages(request.turns)),
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request.tool_choice) if request.tools else None,
        "parallel_tool_calls": False if request.tools and not request.tool_choice.parallel else None,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_k": request.sampling.top_k,
        "seed": request.sampling.seed,
        "stop": list(request.stop_sequences) or None,
        "response_format": _format(request),
        "reasoning_effort": _effort(request.thinking.effort),
        "chat_template_kwargs": {"enable_thinking": request.thinking.enabled},  # vLLM's and llama-server's word
    }
    return {name: value for name, value in wanted.items() if value is not None}


def tokenize_body(request: GenerationRequest, model: str) -> _Json:
    """Return the body of a request that counts the same prompt."""
    body = chat_body(request, model)
    return {name: body[name] for name in _PROMPT if name in body}


def one_token_body(request: GenerationRequest, model: str) -> _Json:
    """Return the body of a request for one token after the same prompt, whose usage tells how long that is."""
    return {**tokenize_body(request, model), "max_tokens": 1}


def _messages(turns: Iterable[Turn]) -> Iterator[_Json]:
    """Yield the messages. System turns that stand first are one; later ones, which templates refuse, the user's."""
    rest = list(turns)
    head = list(itertools.takewhile(lambda turn: turn.role is Role.SYSTEM, rest))
    if head:
        yield {"role": "system", "content": _text(part for turn in head for part in turn.parts)}
    for turn in rest[len(head) :]:
        yield from _answered(turn.parts) if turn.role is Role.ASSISTANT else _said(turn.parts)


def _answered(parts: tuple[Part, ...]) -> Iterator[_Json]:
    """Yield the answer, if there are words or calls in it: without either, strict servers refuse it."""
    calls = [_call(part) for part in parts if isinstance(part, ToolCallPart)]
    text = _text(parts)
    answer: _Json = {"role": "assistant", "content": text or None}
    if calls:
        yield {**answer, "tool_calls": calls}
    elif text:
        yield answer


def _call(call: ToolCallPart) -> _Json:
    arguments = orjson.dumps(dict(call.arguments)).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _said(parts: tuple[Part, ...]) -> Iterator[_Json]:
    """Yield the results of tools first, as they follow upon the calls, then what the user says."""
    results = [part for part in parts if isinstance(part, ToolResultPart)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.call_id, "content": _text(result.content)}
    images = [part for part in _within(parts) if isinstance(part, ImagePart)]
    text = _text(parts)
    if images:
        words = [{"type": "text", "text": text}] if text else []
        yield {"role": "user", "content": [*map(_image, images), *words]}
    elif text:
        yield {"role": "user", "content": text}


def _within(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield all parts, and those that results of tools are made of."""
    for part in parts:
        yield from part.content if isinstance(part, ToolResultPart) else (part,)


def _image(image: ImagePart) -> _Json:
    url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _text(parts: Iterable[Part]) -> str:
    texts = (
        f"The tool {part.name} is available." if isinstance(part, ToolReferencePart) else part.text
        for part in parts
        if isinstance(part, TextPart | ToolReferencePart)
    )
    return "\n".join(texts)


def _tool(tool: Tool) -> _Json:
    described: _Json = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": {**described, "strict": True} if tool.strict else described}


def _choice(choice: ToolChoice) -> str | _Json:
    if choice.mode is ToolChoiceMode.TOOL:
        return {"type": "function", "function": {"name": choice.name}}
    return _MODES[choice.mode]


def _format(request: GenerationRequest) -> _Json | None:
    if request.output_schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(request.output_schema)}}


def _effort(effort: Effort | None) -> str | None:
    return None if effort is None else _EFFORTS.get(effort, effort.value)
