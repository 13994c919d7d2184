"""From an admitted request to what happens to it: a place, an engine, a generation, its events.

The same sequence of happenings feeds the stream and the JSON answer. Above: `endpoints.messages`. Below: the
Protocols of `pensieve_inference`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import attrs

from pensieve_core import (
    EngineFailedError,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    PromptTooLongError,
    PromptUsage,
)
from pensieve_http.gate import Gate
from pensieve_http.preparation import Preparation, Prepared
from pensieve_inference import EngineProvider, InferenceEngine
from pensieve_protocol import SearchTurn, TurnEvent

__all__ = ["EngineFound", "Exchange", "Happening", "Opened"]


@attrs.frozen
class EngineFound:
    """The request has its place, and its model is loaded."""


@attrs.frozen(kw_only=True)
class Opened:
    """An engine has taken the request; nothing is computed yet."""

    prompt: PromptUsage


Happening: TypeAlias = EngineFound | Prepared | Opened | TurnEvent


@attrs.frozen(kw_only=True)
class Exchange:
    """One request on its way through gate, provider and engine."""

    request: GenerationRequest
    model: ModelDescriptor
    engines: EngineProvider
    gate: Gate
    preparation: Preparation | None = None
    """What comes before; None: nothing, and `request` is handed over as it is."""

    async def happenings(self) -> AsyncGenerator[Happening, None]:
        """Yield `EngineFound`, `Prepared` if there is a preparation, `Opened`, then the engine's events.

        The last is `GenerationFinished`. Iterate in `aclosing`.

        Waits for a place and for the model to load before `EngineFound`. Closing it, or cancelling the task that
        iterates it, cancels the generation and frees the place.

        Raises:
            PensieveError: any of them; `EngineFailedError` also when the events end without a finish.
        """
        async with self.gate.place(self.request.origin.priority):
            engine = await self.engines.engine(self.model)
            yield EngineFound()
            prepared = Prepared(request=self.request)
            if self.preparation is not None:
                prepared = await self.preparation.prepare(engine)
                yield prepared
            turn = SearchTurn(prepared.request, prepared.search)
            while turn.request is not None:
                async with aclosing(self._generated(engine, turn)) as generated:
                    async for happening in generated:
                        yield happening

    async def _generated(self, engine: InferenceEngine, turn: SearchTurn) -> AsyncGenerator[Happening, None]:
        """Yield what comes of the next generation of `turn`; of the first one also `Opened`."""
        if turn.request is None:
            return
        try:
            opened = await engine.generate(turn.request)
        except PromptTooLongError:
            if not turn.begun:
                raise
            yield turn.overflow()
            return
        async with aclosing(opened) as generation:
            if not turn.begun:
                self._note(turn.request, generation.prompt, engine.description.context_tokens)
                yield Opened(prompt=generation.prompt)
            async for event in generation:
                for told in turn.feed(event):
                    yield told
                if isinstance(event, GenerationFinished):
                    return
        msg = "the engine stopped without finishing its answer"
        raise EngineFailedError(msg)

    def _note(self, request: GenerationRequest, prompt: PromptUsage, context_tokens: int) -> None:
        if self.preparation is not None:
            self.preparation.opened(request, prompt, context_tokens)
