"""From the payloads of the upstream's stream to events. A machine: no sockets, no clock.

    message_start  (content_block_start  content_block_delta*  content_block_stop)*  message_delta  message_stop

Usage is the upstream's own: what it does not tell (reasoning apart from the rest) stays 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_upstream.refusals import failure

__all__ = ["MessageReader"]

_REASONS = {
    "max_tokens": FinishReason.MAX_TOKENS,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "tool_use": FinishReason.TOOL_CALLS,
    "model_context_window_exceeded": FinishReason.CONTEXT_FULL,
}


@attrs.define
class MessageReader:
    """One answer. Feed it the payloads in turn; once `finished`, nothing more comes."""

    finished: bool = False
    _usage: dict[str, int] = attrs.field(factory=dict)
    _reason: FinishReason = FinishReason.END_OF_TURN
    _stop_sequence: str | None = None
    _in_call: bool = False
    _has_arguments: bool = False
    _called: bool = False

    def feed(self, payload: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        """Yield what a payload says.

        Raises:
            OverloadedError, EngineFailedError: the upstream ended its answer with an error.
        """
        match payload:
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                self._note(usage)
            case {"type": "content_block_start", "content_block": {"type": "tool_use", "id": str(id_), "name": name}}:
                self._in_call, self._has_arguments, self._called = True, False, True
                yield ToolCallStarted(id=ToolCallId(id_), name=str(name))
            case {"type": "content_block_delta", "delta": dict(delta)}:
                yield from self._delta(delta)
            case {"type": "content_block_stop"}:
                yield from self._end_of_block()
            case {"type": "message_delta", "delta": dict(delta)}:
                self._note(payload.get("usage") or {})
                self._stop(delta)
            case {"type": "message_stop"}:
                self.finished = True
                yield self._conclusion()
            case {"type": "error", "error": dict(error)}:
                raise failure(error)
            case _:
                pass  # pings, and what a later version of the API may add

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        match delta:
            case {"type": "text_delta", "text": str(text)} if text:
                yield TextProduced(text=text)
            case {"type": "thinking_delta", "thinking": str(text)} if text:
                yield ThinkingProduced(text=text)
            case {"type": "input_json_delta", "partial_json": str(fragment)} if fragment:
                self._has_arguments = True
                yield ToolCallArguments(fragment=fragment)
            case _:
                pass  # signatures; and empty deltas, which are signs of life

    def _end_of_block(self) -> Iterator[GenerationEvent]:
        if self._in_call and not self._has_arguments:
            yield ToolCallArguments(fragment="{}")  # a call without arguments may come without a fragment
        self._in_call = False

    def _note(self, usage: Mapping[str, Any]) -> None:
        self._usage |= {name: value for name, value in usage.items() if isinstance(value, int)}

    def _stop(self, delta: Mapping[str, Any]) -> None:
        self._reason = _REASONS.get(str(delta.get("stop_reason")), FinishReason.END_OF_TURN)
        self._stop_sequence = delta.get("stop_sequence")

    def _conclusion(self) -> GenerationFinished:
        count = self._usage.get
        cached, created = count("cache_read_input_tokens", 0), count("cache_creation_input_tokens", 0)
        reason = self._reason
        if reason is FinishReason.TOOL_CALLS and not self._called:
            reason = FinishReason.END_OF_TURN
        return GenerationFinished(
            reason=reason,
            stop_sequence=self._stop_sequence if reason is FinishReason.STOP_SEQUENCE else None,
            usage=Usage(
                # The API's three are disjoint; ours is their sum.
                prompt_tokens=count("input_tokens", 0) + cached + created,
                cached_tokens=cached,
                cache_created_tokens=created,
                generated_tokens=count("output_tokens", 0),
            ),
        )
