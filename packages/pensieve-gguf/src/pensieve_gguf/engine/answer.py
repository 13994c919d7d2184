"""From sampled tokens to events: detokenise, look for stop sequences, parse. Pure, one per generation.

The parts are shipped by `pensieve_gguf.parsers`; here they are joined, tokens are counted, and the reason to
stop is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationEvent,
    ToolCallStarted,
)
from pensieve_gguf.constraints import Guide
from pensieve_gguf.engine.reasoning import Reasoning
from pensieve_gguf.engine.repeats import RepeatGuard
from pensieve_gguf.parsers import OutputParser, ParsedEvent, StopSequences, Utf8Decoder

__all__ = ["Answer", "Pieces"]

_TOLD_EVERY = 8
"""Tokens between two words on progress: some four a second where a small model runs on a CPU."""
_OWN_ENDS = frozenset({FinishReason.END_OF_TURN, FinishReason.TOOL_CALLS})


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
        turn_ends: Texts that mean to this model that its turn is over.
        guard: Takes the answer back when it only repeats a call.
        guide: Says what may be sampled; told here of what was.
        reasoning: Counts the tokens of reasoning, and ends it in time.
    """

    def __init__(
        self,
        pieces: Pieces,
        parser: OutputParser,
        *,
        stop_sequences: tuple[str, ...] = (),
        max_tokens: int,
        turn_ends: tuple[str, ...] = (),
        guard: RepeatGuard | None = None,
        guide: Guide | None = None,
        reasoning: Reasoning | None = None,
    ) -> None:
        self.guide = guide
        """Asked before a token is sampled; None when anything may be."""
        self._pieces = pieces
        self._parser = parser
        self._decoder = Utf8Decoder()
        self._stops = StopSequences((*stop_sequences, *turn_ends))
        self._turn_ends = turn_ends
        self._max_tokens = max_tokens
        self._guard = guard or RepeatGuard(frozenset())
        self._reasoning = reasoning or Reasoning()
        self._called = False
        self._breaks = 0
        """Calls that broke, and were looked at."""
        self._sound = (0, 0)
        """Tokens, and events told, when nothing that was said could be part of a call."""
        self._may_mend = True
        self.broken = False
        """Whether a call broke of which nobody has seen anything: what stood before it is to be resumed."""
        self.words = ""
        """All text as sampled, calls and reasoning included."""
        self.told: list[GenerationEvent] = []
        """All events so far."""
        self.generated_tokens = 0
        self.stop_sequence: str | None = None
        self.finish_reason: FinishReason | None = None
        """Set as soon as nothing more is to be sampled."""

    @property
    def thinking_tokens(self) -> int:
        """Of the generated tokens, those of reasoning and of its marks."""
        return self._reasoning.tokens

    @property
    def forced(self) -> int | None:
        """The token that must come next; None: whatever is sampled."""
        return self._reasoning.forced

    @property
    def cut_short(self) -> bool:
        """Whether its reasoning was ended just now, and not by the model."""
        return self._reasoning.cut_short

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be sampled for it."""
        return self.finish_reason is not None or self.refused or self.broken

    @property
    def refused(self) -> bool:
        """Whether the answer only repeats a call: it is to be sampled anew, and nobody has seen anything of it."""
        return self._guard.refused

    @property
    def sound_tokens(self) -> int:
        """How many tokens there were before the call that is being made, or has broken."""
        return self._sound[0]

    @property
    def unkept(self) -> str:
        """Why the answer is not what was demanded of it; empty when it is, or was cut off before it could be."""
        if self.guide is None:
            return ""
        cut_off = self.finish_reason not in _OWN_ENDS
        return self.guide.failure if cut_off else self.guide.finish(enough=self._parser.done)

    def ends_with(self, token: int) -> bool:
        """Return whether the answer is over with `token`, whatever its text says."""
        return self.generated_tokens + 1 >= self._max_tokens or self._pieces.is_end(token)

    def push(self, token: int) -> tuple[GenerationEvent, ...]:
        """Take the next sampled token; return what it completes. May set `finish_reason`, or `refused`."""
        if self._pieces.is_end(token):
            return self._end()
        self.generated_tokens += 1
        text, stop = self._stops.feed(self._decoder.feed(self._pieces.piece(token)))
        events = self._told(text)
        self._reasoning.follow(token, reasons=self._parser.thinking)
        if self.guide is not None:
            self._follow(self.guide, token)
        if self.refused or self.broken:
            return ()
        if stop is not None:
            return (*events, *self._stopped(stop))
        if self._parser.done or self._guard.ended or (self.guide is not None and self.guide.complete):
            return (*events, *self._end())
        if self.generated_tokens >= self._max_tokens:
            return (*events, *self.finish(FinishReason.MAX_TOKENS))
        told = self.generated_tokens % _TOLD_EVERY == 0
        return (*events, AnswerProgressed(generated_tokens=self.generated_tokens)) if told else events

    def resume(self, tokens: Iterable[int], told: list[GenerationEvent]) -> None:
        """Go on, after `tokens`, with a call that cannot break: one did.

        Args:
            tokens: The first `sound_tokens` of the answer in which it did.
            told: The events of that answer; they are not told again.
        """
        for token in tokens:
            self.push(token)
        self.told = told
        self._may_mend = False
        if self.guide is not None:
            self.guide.demand_a_call()

    def finish(self, reason: FinishReason) -> tuple[GenerationEvent, ...]:
        """End here, for `reason`; return what was held back."""
        self.finish_reason = reason
        text, _ = self._stops.feed(self._decoder.finish())  # after a hit: nothing
        events = (*self._told(text + self._stops.finish()), *self._noted(self._parser.finish()))
        return (*events, *self._kept(self._guard.finish()))

    def _stopped(self, stop: str) -> tuple[GenerationEvent, ...]:
        if stop in self._turn_ends:
            return self._end()
        self.stop_sequence = stop
        return self.finish(FinishReason.STOP_SEQUENCE)

    def _end(self) -> tuple[GenerationEvent, ...]:
        events = self.finish(FinishReason.END_OF_TURN)
        if self._called:
            self.finish_reason = FinishReason.TOOL_CALLS
        return events

    def _told(self, text: str) -> tuple[GenerationEvent, ...]:
        self.words += text
        events = self._parser.feed(text) if text else ()
        self.broken = self.finish_reason is None and self._has_broken()
        return () if self.broken else self._noted(events)

    def _has_broken(self) -> bool:
        """Whether a call has broken just now that can be taken back, and demanded once more."""
        if self.guide is None or self._parser.broken == self._breaks:
            return False
        self._breaks = self._parser.broken
        unseen = len(self.told) == self._sound[1]
        return unseen and self._may_mend and self.guide.can_demand_a_call

    def _follow(self, guide: Guide, token: int) -> None:
        settled = self._decoder.empty and self._stops.empty
        if not self.broken:
            guide.follow(token, self._parser, settled=settled)
        if settled and not self.broken and not self._parser.holds:
            self._sound = (self.generated_tokens, len(self.told))

    def _noted(self, events: tuple[ParsedEvent, ...]) -> tuple[GenerationEvent, ...]:
        return self._kept(self._guard.feed(events))

    def _kept(self, events: tuple[GenerationEvent, ...]) -> tuple[GenerationEvent, ...]:
        self._called = self._called or any(isinstance(event, ToolCallStarted) for event in events)
        self.told.extend(events)
        return events
