"""What an engine answers: a stream of events, closed by exactly one `GenerationFinished` or an exception.

Order: any number of `PrefillProgressed`; then text, thinking and tool calls in any order, where
`ToolCallArguments` follows the `ToolCallStarted` that it belongs to (with nothing but progress between);
then `GenerationFinished`. `AnswerProgressed` may stand anywhere before that.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import attrs

from pensieve_core._ids import ToolCallId

__all__ = [
    "AnswerProgressed",
    "FinishReason",
    "GenerationEvent",
    "GenerationFinished",
    "PrefillProgressed",
    "PromptUsage",
    "TextProduced",
    "ThinkingProduced",
    "Timings",
    "ToolCallArguments",
    "ToolCallStarted",
    "Usage",
]


class FinishReason(enum.StrEnum):
    """Why an engine stopped. Anthropic's *stop reason* is derived from it."""

    END_OF_TURN = "end_of_turn"
    """The model said that it is done."""
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_CALLS = "tool_calls"
    """The model is done, and its answer holds at least one tool call."""
    CONTEXT_FULL = "context_full"


@attrs.frozen(kw_only=True)
class PromptUsage:
    """The prompt in tokens, as far as it is known when a generation is admitted."""

    prompt_tokens: int
    """All tokens of the prompt; what `count_tokens` answers for the same request."""
    cached_tokens: int = 0
    """Of these, tokens that need no computation; final only in `Usage`."""
    differs_at: int | None = None
    """Of the same session's or agent's last prompt, the first token that is another here, counted from 0. None: this
    one goes on where that one ended, or none is remembered."""


@attrs.frozen(kw_only=True)
class Usage:
    """What a generation cost, in tokens. `prompt_tokens == cached_tokens + tokens prefilled`."""

    prompt_tokens: int
    cached_tokens: int = 0
    cache_created_tokens: int = 0
    """Of the prefilled tokens, those before the last cache mark of the request."""
    generated_tokens: int = 0
    thinking_tokens: int = 0
    """Of the generated tokens, those spent on reasoning."""


@attrs.frozen(kw_only=True)
class Timings:
    """Where the time went, in seconds on the engine's monotonic clock; and counters."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    """From the first scheduled chunk to the first sampled token."""
    decode_s: float = 0.0
    decode_steps: int = 0
    """Batches in which this sequence decoded."""
    prefilled_tokens: int = 0


@attrs.frozen(kw_only=True)
class PrefillProgressed:
    """More of the prompt has been computed."""

    type: Literal["prefill_progressed"] = "prefill_progressed"
    processed_tokens: int
    """Cached tokens included."""
    total_tokens: int


@attrs.frozen(kw_only=True)
class AnswerProgressed:
    """More of the answer was generated, seen or not: reasoning and calls count. Told now and then, for the speed."""

    type: Literal["answer_progressed"] = "answer_progressed"
    generated_tokens: int
    """So far. Less than before, when something that nobody has seen was taken back."""


@attrs.frozen(kw_only=True)
class TextProduced:
    """More of the answer; never empty."""

    type: Literal["text_produced"] = "text_produced"
    text: str


@attrs.frozen(kw_only=True)
class ThinkingProduced:
    """More of the reasoning; never empty."""

    type: Literal["thinking_produced"] = "thinking_produced"
    text: str


@attrs.frozen(kw_only=True)
class ToolCallStarted:
    """The model began a tool call."""

    type: Literal["tool_call_started"] = "tool_call_started"
    id: ToolCallId
    name: str


@attrs.frozen(kw_only=True)
class ToolCallArguments:
    """A fragment of the arguments' JSON text; all fragments of one call concatenate to one JSON object."""

    type: Literal["tool_call_arguments"] = "tool_call_arguments"
    fragment: str


@attrs.frozen(kw_only=True)
class GenerationFinished:
    """The end, with the truth about the cost."""

    type: Literal["generation_finished"] = "generation_finished"
    reason: FinishReason
    stop_sequence: str | None = None
    """Set exactly when `reason` is STOP_SEQUENCE."""
    usage: Usage
    timings: Timings = Timings()


GenerationEvent: TypeAlias = (
    PrefillProgressed
    | AnswerProgressed
    | TextProduced
    | ThinkingProduced
    | ToolCallStarted
    | ToolCallArguments
    | GenerationFinished
)
