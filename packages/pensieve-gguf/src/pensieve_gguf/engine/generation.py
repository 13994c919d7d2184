"""A generation as its client holds it: events that the engine thread hands over to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from pensieve_core import (
    AnswerProgressed,
    GenerationEvent,
    GenerationFinished,
    PensieveError,
    PrefillProgressed,
    PromptUsage,
)
from pensieve_gguf.engine.courier import Courier
from pensieve_gguf.engine.loop import EngineLoop

__all__ = ["GenerationItem", "GgufGeneration"]

GenerationItem: TypeAlias = GenerationEvent | PensieveError
"""What comes out of the engine thread."""


class GgufGeneration:
    """`Generation` of a `GgufEngine`; the loop's sink at the same time."""

    def __init__(
        self,
        prompt: PromptUsage,
        key: int,
        loop: EngineLoop,
        courier: Courier[GenerationItem],
        released: Callable[[GgufGeneration], None],
    ) -> None:
        self.prompt = prompt
        self.key = key
        self._engine_loop = loop
        self._courier = courier
        self._released = released
        self._inbox: asyncio.Queue[GenerationItem | None] = asyncio.Queue()
        self._begun = False
        self._done = False

    def __aiter__(self) -> GgufGeneration:
        return self

    async def __anext__(self) -> GenerationEvent:
        if self._done:
            raise StopAsyncIteration
        item = await self._inbox.get()
        if isinstance(item, GenerationFinished | PensieveError | None):
            self._finish()
        if isinstance(item, PensieveError):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item

    def cancel(self) -> None:
        """Stop the work, even in the middle of a decode."""
        if not self._done:
            self._engine_loop.cancel(self.key)
            self._inbox.put_nowait(None)

    async def aclose(self) -> None:
        """Cancel unless finished."""
        self.cancel()
        self._finish()

    # -- Sink: called in the engine thread -----------------------------------------------------------------------

    def event(self, event: GenerationEvent) -> None:
        """Hand an event to the event loop: the first word of an answer and its end at once, what is between in time."""
        first = not self._begun and not isinstance(event, PrefillProgressed | AnswerProgressed)
        self._begun = self._begun or first
        self._courier.post(self._inbox.put_nowait, event, at_once=first or isinstance(event, GenerationFinished))

    def failed(self, error: PensieveError) -> None:
        """Hand an error to the event loop."""
        self._courier.post(self._inbox.put_nowait, error, at_once=True)

    def _finish(self) -> None:
        self._done = True
        self._released(self)
