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
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    PromptUsage,
)
from pensieve_http.gate import Gate
from pensieve_http.preparation import Preparation, Prepared
from pensieve_inference import EngineProvider

__all__ = ["EngineFound", "Exchange", "Happening", "Opened"]


@attrs.frozen
class EngineFound:
    """The request has its place, and its model is loaded."""


@attrs.frozen(kw_only=True)
class Opened:
    """An engine has taken the request; nothing is computed yet."""

    prompt: PromptUsage


Happening: TypeAlias = EngineFound | Prepared | Opened | GenerationEvent


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
            request = self.request
            if self.preparation is not None:
                prepared = await self.preparation.prepare(engine)
                request = prepared.request
                yield prepared
            async with aclosing(await engine.generate(request)) as generation:
                if self.preparation is not None:
                    self.preparation.opened(request, generation.prompt)
                yield Opened(prompt=generation.prompt)
                async for event in generation:
                    yield event
                    if isinstance(event, GenerationFinished):
                        return
        msg = "the engine stopped without finishing its answer"
        raise EngineFailedError(msg)
