"""The answer: a message, its blocks and its usage.

The wire is the specification: the official SDK's `types/message.py`, `usage.py`. Fields that can only be null here
are still sent where the SDKs' types promise them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from pensieve_core import FinishReason, JsonObject, PromptUsage, Usage
from pensieve_protocol._context_management import ContextManagementResponse
from pensieve_protocol._diagnostics import Diagnostics
from pensieve_protocol._json import RARE

__all__ = [
    "Message",
    "MessageUsage",
    "OriginalTokens",
    "OutputTokensDetails",
    "ResponseBlock",
    "ResponseServerToolUse",
    "ResponseText",
    "ResponseThinking",
    "ResponseToolReference",
    "ResponseToolSearchResult",
    "ResponseToolUse",
    "StopReason",
    "TokenCount",
    "ToolSearchError",
    "ToolSearchFound",
    "final_usage",
    "initial_usage",
    "stop_reason",
]

StopReason: TypeAlias = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]

_STOP_REASONS: Mapping[FinishReason, StopReason] = {
    FinishReason.END_OF_TURN: "end_turn",
    FinishReason.MAX_TOKENS: "max_tokens",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTEXT_FULL: "model_context_window_exceeded",
}


def stop_reason(reason: FinishReason) -> StopReason:
    """Return Anthropic's word for an engine's finish reason."""
    return _STOP_REASONS[reason]


@attrs.frozen(kw_only=True)
class OutputTokensDetails:
    """How the output tokens divide."""

    thinking_tokens: int


@attrs.frozen(kw_only=True)
class MessageUsage:
    """Tokens. The prompt is the sum of the three input counts, each token in exactly one of them."""

    input_tokens: int
    """Neither read from the cache nor written for a later request."""
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails | None = None


def initial_usage(prompt: PromptUsage) -> MessageUsage:
    """Return the usage of `message_start`, as far as it is known at admission."""
    cached = min(prompt.cached_tokens, prompt.prompt_tokens)
    return MessageUsage(input_tokens=prompt.prompt_tokens - cached, cache_read_input_tokens=cached)


def final_usage(usage: Usage) -> MessageUsage:
    """Return the usage of `message_delta`. Its input counts add up to the prompt, whatever an engine claims."""
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    created = min(usage.cache_created_tokens, usage.prompt_tokens - cached)
    return MessageUsage(
        input_tokens=usage.prompt_tokens - cached - created,
        cache_creation_input_tokens=created,
        cache_read_input_tokens=cached,
        output_tokens=usage.generated_tokens,
        output_tokens_details=OutputTokensDetails(thinking_tokens=usage.thinking_tokens),
    )


@attrs.frozen(kw_only=True)
class ResponseText:
    """Text of the answer."""

    type: Literal["text"] = "text"
    text: str = ""


@attrs.frozen(kw_only=True)
class ResponseThinking:
    """Reasoning, with the signature that comes back with it."""

    type: Literal["thinking"] = "thinking"
    thinking: str = ""
    signature: str = ""


@attrs.frozen(kw_only=True)
class ResponseToolUse:
    """A tool call. `input` is empty at the start of a streamed block."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: JsonObject = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ResponseServerToolUse:
    """A call that the server runs."""

    type: Literal["server_tool_use"] = "server_tool_use"
    id: str
    name: str
    input: JsonObject = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ResponseToolReference:
    """A tool that was found."""

    type: Literal["tool_reference"] = "tool_reference"
    tool_name: str


@attrs.frozen(kw_only=True)
class ToolSearchFound:
    """What was found; perhaps nothing."""

    type: Literal["tool_search_tool_search_result"] = "tool_search_tool_search_result"
    tool_references: tuple[ResponseToolReference, ...] = ()


@attrs.frozen(kw_only=True)
class ToolSearchError:
    """Why nothing could be looked for."""

    type: Literal["tool_search_tool_result_error"] = "tool_search_tool_result_error"
    error_code: Literal["invalid_tool_input"] = "invalid_tool_input"
    error_message: str


@attrs.frozen(kw_only=True)
class ResponseToolSearchResult:
    """What came of a search; complete from its start."""

    type: Literal["tool_search_tool_result"] = "tool_search_tool_result"
    tool_use_id: str
    content: ToolSearchFound | ToolSearchError


ResponseBlock: TypeAlias = (
    ResponseText | ResponseThinking | ResponseToolUse | ResponseServerToolUse | ResponseToolSearchResult
)


@attrs.frozen(kw_only=True)
class Message:
    """The answer. In `message_start` it has no content and no stop reason yet."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    """As the client named it."""
    content: tuple[ResponseBlock, ...] = ()
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    """Only a refusal by Anthropic's classifiers has details."""
    usage: MessageUsage
    context_management: ContextManagementResponse | None = attrs.field(default=None, metadata=RARE)
    """Which edits were made; there if edits were asked for."""
    diagnostics: Diagnostics | None = attrs.field(default=None, metadata=RARE)
    """There if they were asked for, and there is something to tell."""


@attrs.frozen(kw_only=True)
class OriginalTokens:
    """What the prompt had before it was edited."""

    original_input_tokens: int


@attrs.frozen(kw_only=True)
class TokenCount:
    """The answer of `count_tokens`."""

    input_tokens: int
    context_management: OriginalTokens | None = attrs.field(default=None, metadata=RARE)
    """There if edits were asked for."""
