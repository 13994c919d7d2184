"""The neutral conversation: what a model is told, free of any wire format.

Above: `pensieve_protocol` builds it from the Anthropic wire. Below: an engine renders it through its
model's chat template. It deliberately knows nothing of JSON, tokens or templates.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from pensieve_core._ids import ToolCallId

__all__ = [
    "ImagePart",
    "JsonObject",
    "JsonValue",
    "Part",
    "ResultPart",
    "Role",
    "TextPart",
    "ThinkingPart",
    "Tool",
    "ToolCallPart",
    "ToolChoice",
    "ToolChoiceMode",
    "ToolReferencePart",
    "ToolResultPart",
    "Turn",
]

# A recursive alias could not be resolved where cattrs reads the annotations of another module's classes.
JsonValue: TypeAlias = object
JsonObject: TypeAlias = Mapping[str, JsonValue]


class Role(enum.StrEnum):
    """Who speaks. System turns may stand anywhere, not only first."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@attrs.frozen(kw_only=True)
class TextPart:
    """Plain text."""

    type: Literal["text"] = "text"
    text: str
    cache_mark: bool = False
    """The client expects the prompt up to here to come again (`cache_control`)."""


@attrs.frozen(kw_only=True)
class ThinkingPart:
    """The model's own reasoning, sent back by the client."""

    type: Literal["thinking"] = "thinking"
    text: str
    signature: str = ""


@attrs.frozen(kw_only=True)
class ImagePart:
    """An image, undecoded."""

    type: Literal["image"] = "image"
    media_type: str
    data: bytes
    place: str = attrs.field(default="", eq=False)
    """Where its data stands in what the client sent, in words for the client."""
    cache_mark: bool = False


@attrs.frozen(kw_only=True)
class ToolCallPart:
    """A tool call that the assistant made."""

    type: Literal["tool_call"] = "tool_call"
    id: ToolCallId
    name: str
    arguments: JsonObject
    cache_mark: bool = False


@attrs.frozen(kw_only=True)
class ToolReferencePart:
    """A tool was found, by name. Here the model is told of it, if the tool is a deferred one."""

    type: Literal["tool_reference"] = "tool_reference"
    name: str
    cache_mark: bool = False


ResultPart: TypeAlias = TextPart | ImagePart | ToolReferencePart


@attrs.frozen(kw_only=True)
class ToolResultPart:
    """What came of a tool call; stands in a user turn."""

    type: Literal["tool_result"] = "tool_result"
    call_id: ToolCallId
    content: tuple[ResultPart, ...]
    is_error: bool = False
    cache_mark: bool = False


Part: TypeAlias = TextPart | ThinkingPart | ImagePart | ToolCallPart | ToolResultPart | ToolReferencePart


@attrs.frozen(kw_only=True)
class Turn:
    """One message of the conversation. Equal neighbours are allowed; an engine merges or re-roles them."""

    role: Role
    parts: tuple[Part, ...]


@attrs.frozen(kw_only=True)
class Tool:
    """A tool that the model may call."""

    name: str
    description: str = ""
    parameters: JsonObject
    """JSON schema of the arguments, an object schema."""
    strict: bool = False
    cache_mark: bool = False
    deferred: bool = False
    """Described where a `ToolReferencePart` names it and not in the head, which thus stays as it was."""


class ToolChoiceMode(enum.StrEnum):
    """How free the model is in calling tools."""

    AUTO = "auto"
    ANY = "any"
    TOOL = "tool"
    NONE = "none"


@attrs.frozen(kw_only=True)
class ToolChoice:
    """Which tools may or must be called."""

    mode: ToolChoiceMode = ToolChoiceMode.AUTO
    name: str | None = None
    """The tool that must be called; set exactly when `mode` is TOOL."""
    parallel: bool = True
    """False: at most one call in the answer."""
