"""From OpenAI's wire to core: the bytes of a chat request become a `ChatRequest`, and that a `GenerationRequest`. Pure.

The twin of `_parse` and `_translation`; JSON, converter and sentences about what is wrong are the same.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import assert_never, cast

import attrs
import cattrs
import orjson

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    JsonObject,
    ModelId,
    Origin,
    Part,
    RequestId,
    Role,
    Sampling,
    TextPart,
    Thinking,
    ThinkingPart,
    Tool,
    ToolCallId,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolResultPart,
    Turn,
)
from pensieve_protocol._converter import structure
from pensieve_protocol._effort import thinking
from pensieve_protocol._errors import invalid_request
from pensieve_protocol._json import JsonError, parse_json
from pensieve_protocol._openai_requests import (
    ChatAssistant,
    ChatFormat,
    ChatImage,
    ChatJsonFormat,
    ChatMessage,
    ChatRequest,
    ChatSchemaFormat,
    ChatSystem,
    ChatText,
    ChatTextFormat,
    ChatTool,
    ChatToolCall,
    ChatToolChoice,
    ChatToolResult,
    ChatUser,
)
from pensieve_protocol._requests import AdaptiveThinking, DisabledThinking, ThinkingConfig
from pensieve_protocol._translation import session_of
from pensieve_protocol._validation import InvalidValueError, Problem, problems, sentence

__all__ = ["chat_generation_request", "parse_chat_request"]

_ANY_OBJECT: JsonObject = {"type": "object"}
_NO_REASONING = ("none", "minimal")
_MODES = {"none": ToolChoiceMode.NONE, "auto": ToolChoiceMode.AUTO, "required": ToolChoiceMode.ANY}


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the request in `body`.

    Raises:
        RequestError: 400; the message names the JSON path.
    """
    try:
        document = cast("JsonObject", parse_json(body))
        request = structure(document, ChatRequest)
    except JsonError as error:
        raise invalid_request(str(error)) from None
    except (cattrs.BaseValidationError, InvalidValueError) as error:
        raise invalid_request(sentence(problems(error))) from None
    found = tuple(_violations(request))
    if found:
        raise invalid_request(sentence(found))
    unknown = sorted(document.keys() - attrs.fields_dict(ChatRequest).keys())
    return attrs.evolve(request, unknown_fields=tuple(unknown))


def chat_generation_request(
    request: ChatRequest, *, request_id: RequestId, model: ModelId, origin: Origin, room: int
) -> GenerationRequest:
    """Return what the engine is asked; as `to_generation_request`.

    Args:
        request: What the client wants.
        request_id: Of the HTTP request.
        model: Which model its name stands for.
        origin: On whose behalf; the session is that of `user` unless it is known.
        room: `max_tokens` of a request that sets none, in tokens. An engine ends where the context does.
    """
    return GenerationRequest(
        id=request_id,
        model=model,
        turns=tuple(_turn(message) for message in request.messages),
        tools=tuple(_tool(tool) for tool in request.tools),
        tool_choice=_tool_choice(request),
        sampling=Sampling(temperature=request.temperature, top_p=request.top_p, seed=request.seed),
        thinking=_thinking(request),
        max_tokens=request.max_completion_tokens or request.max_tokens or room,
        stop_sequences=(request.stop,) if isinstance(request.stop, str) else request.stop,
        output_schema=_output_schema(request.response_format),
        origin=attrs.evolve(origin, session=origin.session or session_of(request.user)),
    )


def _violations(request: ChatRequest) -> Iterator[Problem]:
    """Yield what is wrong between fields."""
    names = [tool.function.name for tool in request.tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            place = ("tools", index, "function", "name")
            yield Problem(place, f"tool names must be unique, got {name!r} again")
    match request.tool_choice:
        case "required" if not names:
            yield Problem(("tool_choice",), "needs at least one tool in tools")
        case ChatToolChoice(function=chosen) if chosen.name not in names:
            yield Problem(("tool_choice", "function", "name"), f"no tool is named {chosen.name!r}")
        case _:
            return


def _turn(message: ChatMessage) -> Turn:
    match message:
        case ChatSystem():
            return Turn(role=Role.SYSTEM, parts=_texts(message.content) or (TextPart(text=""),))
        case ChatUser():
            return Turn(role=Role.USER, parts=_parts(message.content) or (TextPart(text=""),))
        case ChatAssistant():
            return Turn(role=Role.ASSISTANT, parts=_answer(message) or (TextPart(text=""),))
        case ChatToolResult(tool_call_id=call_id):
            result = ToolResultPart(call_id=ToolCallId(call_id), content=_texts(message.content))
            return Turn(role=Role.USER, parts=(result,))
        case _:
            assert_never(message)


def _texts(content: str | tuple[ChatText, ...]) -> tuple[TextPart, ...]:
    texts = (content,) if isinstance(content, str) else tuple(part.text for part in content)
    return tuple(TextPart(text=text) for text in texts if text)


def _parts(content: str | tuple[ChatText | ChatImage, ...]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return _texts(content)
    return tuple(_image(part) if isinstance(part, ChatImage) else TextPart(text=part.text) for part in content)


def _image(part: ChatImage) -> ImagePart:
    head, _, data = part.image_url.url.partition(";base64,")
    return ImagePart(media_type=head.removeprefix("data:"), data=base64.b64decode(data))


def _answer(message: ChatAssistant) -> tuple[Part, ...]:
    reasoning = (ThinkingPart(text=message.reasoning_content),) if message.reasoning_content else ()
    return (*reasoning, *_texts(message.content), *(_call(call) for call in message.tool_calls))


def _call(call: ChatToolCall) -> ToolCallPart:
    return ToolCallPart(id=ToolCallId(call.id), name=call.function.name, arguments=_arguments(call.function.arguments))


def _arguments(text: str) -> JsonObject:
    """Return what a model wrote, as far as it is an object: an answer that was cut off comes back, too."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _tool(tool: ChatTool) -> Tool:
    function = tool.function
    return Tool(
        name=function.name,
        description=function.description,
        parameters=function.parameters or _ANY_OBJECT,
        strict=function.strict,
    )


def _tool_choice(request: ChatRequest) -> ToolChoice:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if isinstance(choice, ChatToolChoice):
        return ToolChoice(mode=ToolChoiceMode.TOOL, name=choice.function.name, parallel=parallel)
    return ToolChoice(mode=_MODES[choice], parallel=parallel)


def _thinking(request: ChatRequest) -> Thinking:
    effort = request.reasoning_effort
    config: ThinkingConfig | None = None if effort is None else AdaptiveThinking(type="adaptive")
    if effort in _NO_REASONING:
        config = DisabledThinking(type="disabled")
    return thinking(config, effort, request.max_completion_tokens or request.max_tokens)


def _output_schema(output: ChatFormat | None) -> JsonObject | None:
    match output:
        case None | ChatTextFormat():
            return None
        case ChatJsonFormat():
            return _ANY_OBJECT
        case ChatSchemaFormat(json_schema=named):
            return named.schema
        case _:
            assert_never(output)
