"""An engine that may be loaded anew between two requests, and holds its model in memory as long as one runs.

Whoever was given such an engine may keep it for ever: each request takes a *lease*, which waits until the model is in
memory and keeps it there. A request whose lease was cut short, because another model needed the room, begins again when
its turn comes, if nobody has seen a word of its answer.

Above: the layers that serve requests. Below: the provider, which gives leases, and the supervised engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

import attrs

from pensieve_core import (
    EngineDescription,
    EnginePhase,
    EngineStatus,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    OverloadedError,
    PensieveError,
    PromptUsage,
)
from pensieve_gguf.told import Told
from pensieve_inference import Generation, InferenceEngine

__all__ = ["Lease", "LeasedEngine", "LeasedGeneration", "LoadedEngine"]


class LoadedEngine(InferenceEngine, Protocol):
    """What a lease is of: an engine of which one can tell whether it has been closed."""

    @property
    def status(self) -> EngineStatus:
        """CLOSED from the moment on in which its generations are ended."""
        ...


@attrs.frozen(kw_only=True, eq=False)
class Lease:
    """A model that stays in memory until `release`, unless it is cut short."""

    engine: LoadedEngine
    release: Callable[[], None]
    """Idempotent."""

    @property
    def cut_short(self) -> bool:
        """The engine was closed under it."""
        return self.engine.status.phase is EnginePhase.CLOSED


_CUT_SHORT = "the model had to make room for another one, in the middle of the answer; try again"
TakeLease: TypeAlias = Callable[[], Awaitable[Lease]]


class LeasedEngine:
    """`InferenceEngine` of a model that is in memory while somebody needs it.

    Args:
        take_lease: Waits until the model is in memory; raises `ModelBrokenError` or `OverloadedError`.
        describe: What is known of the model as it was loaded last.
    """

    def __init__(self, take_lease: TakeLease, describe: Callable[[], EngineDescription]) -> None:
        self._take_lease = take_lease
        self._describe = describe

    @property
    def description(self) -> EngineDescription:
        """What was loaded last, and how it was fitted."""
        return self._describe()

    async def generate(self, request: GenerationRequest) -> LeasedGeneration:
        """Admit `request`, waiting for the model to be loaded if need be; see `InferenceEngine.generate`."""
        generation = LeasedGeneration(self._take_lease, request)
        try:
            await generation.open()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt's tokens; waits as `generate`."""
        while True:
            lease = await self._take_lease()
            try:
                return await lease.engine.count_tokens(request)
            except OverloadedError:
                if not lease.cut_short:
                    raise
            finally:
                lease.release()

    async def aclose(self) -> None:
        """Do nothing: the model is others' as well, and its provider closes it."""


class LeasedGeneration:
    """`Generation` that holds a lease to its end."""

    def __init__(self, take_lease: TakeLease, request: GenerationRequest) -> None:
        self._take_lease = take_lease
        self._request = request
        self._lease: Lease | None = None
        self._generation: Generation | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._told = Told()
        self._cancelled = False
        self.prompt = PromptUsage(prompt_tokens=0)

    async def open(self) -> None:
        """Wait until an engine has admitted the request."""
        while self._generation is None:
            self._lease = await self._take_lease()
            try:
                self._generation = await self._lease.engine.generate(self._request)
            except OverloadedError:
                if not self._lease.cut_short:
                    raise
                self._lease.release()
        self.prompt = self._generation.prompt

    def __aiter__(self) -> AsyncIterator[GenerationEvent]:
        return self

    async def __anext__(self) -> GenerationEvent:
        while self._generation is not None:
            try:
                event = await anext(self._generation)
            except OverloadedError as error:
                await self._survive(error)
                continue
            except (StopAsyncIteration, PensieveError):
                self._release()
                raise
            if not self._told.repeats(event):
                self._told.note(event)
                if isinstance(event, GenerationFinished):
                    self._release()
                return event
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Stop the work, and the waiting for another turn."""
        self._cancelled = True
        if self._generation is not None:
            self._generation.cancel()
        if self._reopening is not None:
            self._reopening.cancel()

    async def aclose(self) -> None:
        """Cancel unless finished, and let go of the model."""
        self.cancel()
        generation, self._generation = self._generation, None
        if generation is not None:
            await generation.aclose()
        self._release()

    async def _survive(self, error: OverloadedError) -> None:
        """Wait for another turn, if this one was cut short before its first word."""
        lease, generation = self._lease, self._generation
        self._release()
        if lease is None or not lease.cut_short or self._cancelled:
            raise error
        if self._told.answered:
            raise OverloadedError(_CUT_SHORT) from error
        self._generation = None
        if generation is not None:
            await generation.aclose()
        await self._reopen()

    async def _reopen(self) -> None:
        self._reopening = asyncio.ensure_future(self.open())
        try:
            await self._reopening
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
        except PensieveError:
            self._release()
            raise
        if self._cancelled:
            await self.aclose()

    def _release(self) -> None:
        if self._lease is not None:
            self._lease.release()
