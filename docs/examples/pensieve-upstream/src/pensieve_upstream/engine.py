"""`InferenceEngine` on an upstream: admits, counts, and hands on its stream.

The prompt is counted by the upstream before it is sent, since a generation knows its prompt from the start. That is one
more round trip, to a server on the same machine or in the same rack.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import attrs

from pensieve_core import (
    EngineDescription,
    EngineFailedError,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    PromptUsage,
)
from pensieve_upstream.upstream import Answer, Upstream

__all__ = ["UpstreamEngine", "UpstreamGeneration"]


class UpstreamEngine:
    """One model of the upstream.

    Args:
        upstream: Closed by `aclose`.
        description: What is known of the model.
    """

    def __init__(self, upstream: Upstream, description: EngineDescription) -> None:
        self.description = description
        self._upstream = upstream
        self._running: set[UpstreamGeneration] = set()
        self._admitted = 0
        self._closed = False

    async def generate(self, request: GenerationRequest) -> UpstreamGeneration:
        """Count the prompt, send the request, and return once the upstream has taken it."""
        self._check_room()
        self._admitted += 1
        try:
            return await self._sent(request)
        finally:
            self._admitted -= 1

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Let the upstream count."""
        return await self._upstream.count(request)

    async def aclose(self) -> None:
        """End what runs with `OverloadedError`, and close all connections."""
        self._closed = True
        for generation in list(self._running):
            generation.interrupt(_closing())
            await generation.stopped()
        await self._upstream.aclose()

    async def _sent(self, request: GenerationRequest) -> UpstreamGeneration:
        tokens = await self._upstream.count(request)
        if tokens > self.description.context_tokens:
            raise PromptTooLongError(tokens, self.description.context_tokens)
        room = max(self.description.context_tokens - tokens, 1)
        # vLLM refuses what could become longer than the context, Claude Code asks for 32,000 tokens anywhere.
        answer = await self._upstream.begin(attrs.evolve(request, max_tokens=min(request.max_tokens, room)))
        if self._closed:
            await answer.aclose()
            raise _closing()
        generation = UpstreamGeneration(answer, tokens, self._running.discard, shortened=request.max_tokens > room)
        self._running.add(generation)
        return generation

    def _check_room(self) -> None:
        if self._closed:
            raise _closing()
        if len(self._running) + self._admitted >= self.description.max_sequences:
            msg = "as many requests as are allowed are with the upstream"
            raise OverloadedError(msg)


class UpstreamGeneration:
    """`Generation` over one answer. A task reads it, so that a slow reader here keeps nothing busy there.

    What it has read ahead is bounded by `max_tokens` of the request.

    Args:
        answer: Closed when it has ended, or the client has left.
        prompt_tokens: As counted.
        released: Called then.
        shortened: The answer may have fewer tokens than were asked for, since the context ends there.
    """

    def __init__(
        self,
        answer: Answer,
        prompt_tokens: int,
        released: Callable[[UpstreamGeneration], None],
        *,
        shortened: bool = False,
    ) -> None:
        self.prompt = PromptUsage(prompt_tokens=prompt_tokens)
        self._answer = answer
        self._released = released
        self._shortened = shortened
        self._inbox: asyncio.Queue[GenerationEvent | PensieveError | None] = asyncio.Queue()
        self._done = False
        self._told_last = False
        self._left = asyncio.Event()
        self._pump = asyncio.create_task(self._run(), name="upstream-answer")

    def __aiter__(self) -> UpstreamGeneration:
        return self

    async def __anext__(self) -> GenerationEvent:
        if self._done:
            raise StopAsyncIteration
        item = await self._inbox.get()
        if isinstance(item, PensieveError):
            self._done = True
            raise item
        if item is None:
            self._done = True
            raise StopAsyncIteration
        return item

    def cancel(self) -> None:
        """Hang up, and end the iteration with what was read already."""
        self._left.set()
        self._tell_last(None)

    def interrupt(self, error: PensieveError) -> None:
        """Hang up, and end the iteration with `error`, unless it has its end already."""
        self._left.set()
        self._tell_last(error)

    async def stopped(self) -> None:
        """Wait until the answer is closed."""
        await asyncio.wait((self._pump,))

    async def aclose(self) -> None:
        """Cancel unless finished, and wait until the answer is closed."""
        self._done = True
        self.cancel()
        await self.stopped()

    async def _run(self) -> None:
        """Read until the end, or until the client has left; never cancelled itself, so that the answer is closed."""
        tasks = (asyncio.create_task(self._read()), asyncio.create_task(self._left.wait()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._released(self)
        await self._answer.aclose()

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._answer.events()) as events:
                async for event in events:
                    self._inbox.put_nowait(self._meant(event))
            self._tell_last(None)
        except PensieveError as error:
            self._tell_last(error)
        except Exception as error:  # noqa: BLE001 - this is the engine's loop: whatever it is, the reader must hear of it
            self._tell_last(EngineFailedError(f"the upstream's answer could not be read: {error!r}"))

    def _meant(self, event: GenerationEvent) -> GenerationEvent:
        """Return the event; where the limit was the context's, the upstream knows of no other."""
        if self._shortened and isinstance(event, GenerationFinished) and event.reason is FinishReason.MAX_TOKENS:
            return attrs.evolve(event, reason=FinishReason.CONTEXT_FULL)
        return event

    def _tell_last(self, last: PensieveError | None) -> None:
        if not self._told_last:
            self._told_last = True
            self._inbox.put_nowait(last)


def _closing() -> OverloadedError:
    return OverloadedError("the engine is closing")
