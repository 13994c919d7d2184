"""From sampled tokens to events: detokenise, look for stop sequences, parse. Pure, one per generation.

The parts are shipped by `pensieve_gguf.parsers`; here they are joined, tokens are counted, and the reason to
stop is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    ThinkingProduced,
    ToolCallStarted,
)
from pensieve_gguf.parsers import OutputParser, ParsedEvent, StopSequences, Utf8Decoder

__all__ = ["Answer", "Pieces"]


class Pieces(Protocol):
    """What the answer needs of a vocabulary."""

    def is_end(self, token: int) -> bool:
        """Whether `token` ends the model's turn."""
        ...

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` stands for."""
        ...


class Answer:
    """The answer of one generation as it grows.

    Args:
        pieces: The vocabulary.
        parser: Text to events, of the model's own dialect.
        stop_sequences: Texts at which the answer ends; they are not part of it.
        max_tokens: The client's limit.
    """

    def __init__(
        self, pieces: Pieces, parser: OutputParser, *, stop_sequences: tuple[str, ...], max_tokens: int
    ) -> None:
        self._pieces = pieces
        self._parser = parser
        self._decoder = Utf8Decoder()
        self._stops = StopSequences(stop_sequences)
        self._max_tokens = max_tokens
        self._called = False
        self.generated_tokens = 0
        self.thinking_tokens = 0
        self.stop_sequence: str | None = None
        self.finish_reason: FinishReason | None = None
        """Set as soon as nothing more is to be sampled."""

    def push(self, token: int) -> tuple[GenerationEvent, ...]:
        """Take the next sampled token; return what it completes. May set `finish_reason`."""
        if self._pieces.is_end(token):
            return self._end()
        self.generated_tokens += 1
        text, self.stop_sequence = self._stops.feed(self._decoder.feed(self._pieces.piece(token)))
        events = self._noted(self._parser.feed(text)) if text else ()
        if self.stop_sequence is not None:
            return (*events, *self.finish(FinishReason.STOP_SEQUENCE))
        if self._parser.done:
            return (*events, *self._end())
        if self.generated_tokens >= self._max_tokens:
            return (*events, *self.finish(FinishReason.MAX_TOKENS))
        return events

    def finish(self, reason: FinishReason) -> tuple[GenerationEvent, ...]:
        """End here, for `reason`; return what was held back."""
        self.finish_reason = reason
        text, _ = self._stops.feed(self._decoder.finish())  # after a hit: nothing
        held = text + self._stops.finish()
        events: Iterable[ParsedEvent] = self._parser.feed(held) if held else ()
        return self._noted((*events, *self._parser.finish()))

    def _end(self) -> tuple[GenerationEvent, ...]:
        events = self.finish(FinishReason.END_OF_TURN)
        if self._called:
            self.finish_reason = FinishReason.TOOL_CALLS
        return events

    def _noted(self, events: Iterable[ParsedEvent]) -> tuple[GenerationEvent, ...]:
        events = tuple(events)
        if events and isinstance(events[-1], ThinkingProduced):
            self.thinking_tokens = self.generated_tokens
        self._called = self._called or any(isinstance(event, ToolCallStarted) for event in events)
        return events
