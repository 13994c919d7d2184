"""The bodies of `POST /v1/messages` and `POST /v1/messages/count_tokens`.

The wire is the specification: the official SDK's `types/message_create_params.py` and its beta sibling. A field
that is not declared here is ignored; its name is kept in `unknown_fields`, for the server to log once.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._blocks import CacheControl, ContentBlock, TextBlock
from pensieve_protocol._constraints import AtLeast, Between, Length
from pensieve_protocol._context_management import ContextManagement
from pensieve_protocol._tools import RequestTool, ToolName

__all__ = [
    "AdaptiveThinking",
    "BetweenToolsThinking",
    "CountTokensRequest",
    "DiagnosticsConfig",
    "DisabledThinking",
    "EnabledThinking",
    "InputMessage",
    "JsonSchemaFormat",
    "MessagesRequest",
    "Metadata",
    "OutputConfig",
    "ThinkingConfig",
    "ToolChoiceAny",
    "ToolChoiceAuto",
    "ToolChoiceConfig",
    "ToolChoiceNone",
    "ToolChoiceTool",
]

MAX_MESSAGES = 100_000
"""The API's own limit, from the SDK's documentation of `messages`."""


@attrs.frozen(kw_only=True)
class InputMessage:
    """One turn. System turns may stand anywhere (beta mid-conversation-system-2026-04-07)."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[ContentBlock, ...]
    clear_at: str = "never"
    """Of a system turn: with `next_user_message` it is shown until the next user turn only."""


@attrs.frozen(kw_only=True)
class EnabledThinking:
    """Reason, for at most so many tokens."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, AtLeast(1024)]
    display: str = "summarized"
    """With `omitted` the client wants signatures without the reasoning."""


@attrs.frozen(kw_only=True)
class AdaptiveThinking:
    """Reason as you see fit."""

    type: Literal["adaptive"]
    display: str = "summarized"


@attrs.frozen(kw_only=True)
class DisabledThinking:
    """Do not reason."""

    type: Literal["disabled"]


@attrs.frozen(kw_only=True)
class BetweenToolsThinking:
    """Do not reason; progress notes between tool calls are optional, and none are made here."""

    type: Literal["between_tools"]


ThinkingConfig: TypeAlias = EnabledThinking | AdaptiveThinking | DisabledThinking | BetweenToolsThinking


@attrs.frozen(kw_only=True)
class ToolChoiceAuto:
    """Call tools or do not."""

    type: Literal["auto"]
    disable_parallel_tool_use: bool = False


@attrs.frozen(kw_only=True)
class ToolChoiceAny:
    """Call at least one tool."""

    type: Literal["any"]
    disable_parallel_tool_use: bool = False


@attrs.frozen(kw_only=True)
class ToolChoiceTool:
    """Call this tool."""

    type: Literal["tool"]
    name: ToolName
    disable_parallel_tool_use: bool = False


@attrs.frozen(kw_only=True)
class ToolChoiceNone:
    """Call none."""

    type: Literal["none"]


ToolChoiceConfig: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


@attrs.frozen(kw_only=True)
class JsonSchemaFormat:
    """The answer's text is JSON of this schema."""

    type: Literal["json_schema"]
    schema: JsonObject


@attrs.frozen(kw_only=True)
class OutputConfig:
    """How the answer shall be. `effort` is open: new levels appear."""

    effort: str | None = None
    format: JsonSchemaFormat | None = None


@attrs.frozen(kw_only=True)
class Metadata:
    """About the request. Claude Code puts JSON into `user_id`."""

    user_id: str | None = None


@attrs.frozen(kw_only=True)
class DiagnosticsConfig:
    """Which earlier answer's prompt to compare with; without one, this answer's is remembered for the next."""

    previous_message_id: str | None = None


@attrs.frozen(kw_only=True)
class CountTokensRequest:
    """What has a prompt. The fields are those of `MessagesRequest` that a prompt depends on."""

    model: Annotated[str, Length(256)]
    messages: Annotated[tuple[InputMessage, ...], Length(MAX_MESSAGES)]
    system: str | tuple[TextBlock, ...] = ()
    tools: tuple[RequestTool, ...] = ()
    tool_choice: ToolChoiceConfig | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig = OutputConfig()
    output_format: JsonSchemaFormat | None = None
    """The beta's older place of `output_config.format`."""
    context_management: ContextManagement | None = None
    cache_control: CacheControl | None = None
    """Marks the last block that can be marked."""
    mcp_servers: tuple[JsonObject, ...] = ()
    """Refused unless empty, as is `container`."""
    unknown_fields: tuple[str, ...] = attrs.field(default=(), metadata={"wire": False})
    """Names of top-level fields that were ignored; filled by the parser."""


@attrs.frozen(kw_only=True)
class MessagesRequest(CountTokensRequest):
    """One request for an answer."""

    max_tokens: Annotated[int, AtLeast(0)]
    """0 warms the cache and answers nothing."""
    stream: bool = False
    stop_sequences: tuple[Annotated[str, Length(4096)], ...] = ()
    temperature: Annotated[float, AtLeast(0)] | None = None
    """Anthropic's range ends at 1; more is honoured as 1."""
    top_p: Annotated[float, Between(0, 1)] | None = None
    top_k: Annotated[int, AtLeast(0)] | None = None
    metadata: Metadata = Metadata()
    diagnostics: DiagnosticsConfig | None = None
    container: str | JsonObject | None = None
    thread: JsonObject | None = None
    """Refused with `thread_unsupported_request`: its next request would bring only what is new."""

    @property
    def shows_thinking(self) -> bool:
        """Whether reasoning is sent as text; signatures are sent in any case."""
        return not isinstance(self.thinking, EnabledThinking | AdaptiveThinking) or self.thinking.display != "omitted"
