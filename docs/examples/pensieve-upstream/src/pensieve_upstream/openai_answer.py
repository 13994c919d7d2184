"""From the chunks of a chat completion to events. A machine: no sockets, no clock.

    chunk*  chunk with finish_reason  chunk with usage?  [DONE]

Usage is the upstream's own; what it does not tell is 0. Tool calls come one after the other, told apart by their index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pensieve_core import (
    EngineFailedError,
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

__all__ = ["ChunkReader"]

_REASONS = {"length": FinishReason.MAX_TOKENS}


@attrs.define
class ChunkReader:
    """One answer. Feed it the payloads in turn; once `finished`, nothing more comes.

    Args:
        only_prompt: The one token that had to be asked for is not passed on.
    """

    only_prompt: bool = False
    finished: bool = False
    _usage: Mapping[str, Any] = attrs.field(factory=dict)
    _reason: FinishReason = FinishReason.END_OF_TURN
    _stop_sequence: str | None = None
    _call: int = -1
    _has_arguments: bool = True

    def feed(self, payload: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        """Yield what a payload says.

        Raises:
            OverloadedError, EngineFailedError: the upstream ended its answer with an error, or made no sense.
        """
        match payload:
            case {"error": dict(error)}:
                raise failure(error)
            case {"done": True}:
                yield from self._end_of_call()
                self.finished = True
                yield self._conclusion()
            case _:
                self._usage = payload.get("usage") or self._usage
                for choice in payload.get("choices") or ():
                    yield from self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        if not self.only_prompt:
            yield from self._delta(choice.get("delta") or {})
        reason, stop = choice.get("finish_reason"), choice.get("stop_reason")
        if reason is not None:
            self._reason = _REASONS.get(reason, FinishReason.END_OF_TURN)
        if isinstance(stop, str):  # vLLM's own: which stop sequence it was
            self._reason, self._stop_sequence = FinishReason.STOP_SEQUENCE, stop

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")  # llama-server and Pensieve; newer vLLM
        if thought:
            yield ThinkingProduced(text=str(thought))
        if delta.get("content"):
            yield TextProduced(text=str(delta["content"]))
        for call in delta.get("tool_calls") or ():
            yield from self._more_of_call(call)

    def _more_of_call(self, call: Mapping[str, Any]) -> Iterator[GenerationEvent]:
        match call:
            case {"index": int(index), "id": str(id_), "function": {"name": str(name)}} if index > self._call:
                yield from self._end_of_call()
                self._call, self._has_arguments = index, False
                yield ToolCallStarted(id=ToolCallId(id_), name=name)
            case {"index": int(index)} if index == self._call:
                pass
            case _:
                msg = "the upstream mixes its tool calls, or names none"
                raise EngineFailedError(msg)
        fragment = (call.get("function") or {}).get("arguments")
        if fragment:
            self._has_arguments = True
            yield ToolCallArguments(fragment=str(fragment))

    def _end_of_call(self) -> Iterator[GenerationEvent]:
        if not self._has_arguments:
            self._has_arguments = True
            yield ToolCallArguments(fragment="{}")  # a call without arguments may come without a fragment

    def _conclusion(self) -> GenerationFinished:
        called = self._call >= 0 and self._reason is FinishReason.END_OF_TURN
        return GenerationFinished(
            reason=FinishReason.TOOL_CALLS if called else self._reason,
            stop_sequence=self._stop_sequence,
            usage=self._told_usage(),
        )

    def _told_usage(self) -> Usage:
        prompt = Usage(
            prompt_tokens=_count(self._usage, "prompt_tokens"),
            cached_tokens=_count(self._usage.get("prompt_tokens_details") or {}, "cached_tokens"),
        )
        if self.only_prompt:
            return prompt
        return attrs.evolve(
            prompt,
            generated_tokens=_count(self._usage, "completion_tokens"),
            thinking_tokens=_count(self._usage.get("completion_tokens_details") or {}, "reasoning_tokens"),
        )


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0
