"""The body of OpenAI's `POST /v1/chat/completions`, as far as it is served.

A second door to the same engine, for programs that know no other. The wire is the specification: the official SDK's
`types/chat/completion_create_params.py`. What is not declared here is ignored, as at the first door; translation to
core is in `_openai_translation`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._constraints import AtLeast, Between, Length, Matches, Refuses
from pensieve_protocol._requests import MAX_MESSAGES
from pensieve_protocol._tools import ToolName

__all__ = [
    "ChatAssistant",
    "ChatFormat",
    "ChatImage",
    "ChatJsonFormat",
    "ChatMessage",
    "ChatRequest",
    "ChatSchemaFormat",
    "ChatSystem",
    "ChatText",
    "ChatTextFormat",
    "ChatTool",
    "ChatToolCall",
    "ChatToolChoice",
    "ChatToolResult",
    "ChatUser",
]

_DATA_URL = r"data:image/(?:jpeg|png|gif|webp);base64,(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"


@attrs.frozen(kw_only=True)
class ChatText:
    """Text."""

    type: Literal["text"]
    text: str


@attrs.frozen(kw_only=True)
class ChatImageUrl:
    """An image in the request itself: what a client names elsewhere is not fetched."""

    url: Annotated[str, Matches(_DATA_URL)]


@attrs.frozen(kw_only=True)
class ChatImage:
    """An image."""

    type: Literal["image_url"]
    image_url: ChatImageUrl


ChatPart: TypeAlias = Annotated[
    ChatText | ChatImage,
    Refuses(
        {
            "input_audio": "this server hears no audio",
            "file": "file parts are not served at this door; use /v1/messages",
        }
    ),
]


@attrs.frozen(kw_only=True)
class ChatSystem:
    """What holds for the conversation, or from here on."""

    role: Literal["system", "developer"]
    content: str | tuple[ChatText, ...]


@attrs.frozen(kw_only=True)
class ChatUser:
    """What the user says."""

    role: Literal["user"]
    content: str | tuple[ChatPart, ...]


@attrs.frozen(kw_only=True)
class ChatCalledFunction:
    """Which function was called, and with what."""

    name: str
    arguments: str
    """JSON text, as the model wrote it."""


@attrs.frozen(kw_only=True)
class ChatToolCall:
    """A tool call of an earlier answer."""

    type: Literal["function"] = "function"
    id: str
    function: ChatCalledFunction


@attrs.frozen(kw_only=True)
class ChatAssistant:
    """An earlier answer; the last message, if it is one, is continued."""

    role: Literal["assistant"]
    content: str | tuple[ChatText, ...] = ""
    reasoning_content: str = ""
    """As answers have it here."""
    tool_calls: tuple[ChatToolCall, ...] = ()


@attrs.frozen(kw_only=True)
class ChatToolResult:
    """What came of a tool call."""

    role: Literal["tool"]
    tool_call_id: str
    content: str | tuple[ChatText, ...]


ChatMessage: TypeAlias = ChatSystem | ChatUser | ChatAssistant | ChatToolResult


@attrs.frozen(kw_only=True)
class ChatFunction:
    """What a tool is."""

    name: ToolName
    description: str = ""
    parameters: JsonObject = attrs.field(factory=dict)
    """JSON schema of the arguments, an object schema."""
    strict: bool = False


@attrs.frozen(kw_only=True)
class ChatTool:
    """A tool that the model may call."""

    type: Literal["function"]
    function: ChatFunction


@attrs.frozen(kw_only=True)
class ChatChosenFunction:
    """Which function."""

    name: ToolName


@attrs.frozen(kw_only=True)
class ChatToolChoice:
    """Call this tool."""

    type: Literal["function"]
    function: ChatChosenFunction


@attrs.frozen(kw_only=True)
class ChatTextFormat:
    """Any text."""

    type: Literal["text"]


@attrs.frozen(kw_only=True)
class ChatJsonFormat:
    """Some JSON object."""

    type: Literal["json_object"]


@attrs.frozen(kw_only=True)
class ChatSchema:
    """A JSON schema, with a name that changes nothing here."""

    name: str
    schema: JsonObject = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ChatSchemaFormat:
    """JSON of this schema."""

    type: Literal["json_schema"]
    json_schema: ChatSchema


ChatFormat: TypeAlias = ChatTextFormat | ChatJsonFormat | ChatSchemaFormat


@attrs.frozen(kw_only=True)
class ChatStreamOptions:
    """About the stream."""

    include_usage: bool = False
    """Tell the usage in a chunk of its own, the last."""


@attrs.frozen(kw_only=True)
class ChatRequest:
    """One request for an answer."""

    model: Annotated[str, Length(256)]
    messages: Annotated[tuple[ChatMessage, ...], Length(MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, AtLeast(1)] | None = None
    """Without it: as many as there is room for."""
    max_tokens: Annotated[int, AtLeast(1)] | None = None
    """The older name of `max_completion_tokens`."""
    stream: bool = False
    stream_options: ChatStreamOptions = ChatStreamOptions()
    temperature: Annotated[float, Between(0, 2)] | None = None
    top_p: Annotated[float, Between(0, 1)] | None = None
    seed: int | None = None
    stop: Annotated[str, Length(4096)] | tuple[Annotated[str, Length(4096)], ...] = ()
    tools: tuple[ChatTool, ...] = ()
    tool_choice: Literal["none", "auto", "required"] | ChatToolChoice = "auto"
    parallel_tool_calls: bool = True
    response_format: ChatFormat | None = None
    reasoning_effort: str | None = None
    """`none` and `minimal` forbid reasoning, other levels allow it."""
    n: Annotated[int, Between(1, 1)] = 1
    """One answer is given to a request."""
    user: str | None = None
    """Whose request it is, for fairness."""
    unknown_fields: tuple[str, ...] = attrs.field(default=(), metadata={"wire": False})
    """Names of top-level fields that were ignored; filled by the parser."""
