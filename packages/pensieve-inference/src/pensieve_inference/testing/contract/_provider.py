"""The contract of `EngineProvider`.

Each check opens a provider of its own and closes it. Waits are bounded by `ProviderCase.patience_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import attrs

from pensieve_core import EnginePhase, ModelDescriptor, ModelId, OverloadedError
from pensieve_inference._protocols import EngineProvider, InferenceEngine
from pensieve_inference.testing.contract._engine import RequestFactory
from pensieve_inference.testing.contract._events import check_transcript
from pensieve_inference.testing.contract._expect import ContractBrokenError, expect, soon

__all__ = ["PROVIDER_CHECKS", "ProviderCase", "ProviderCheck"]

_AT_ONCE = 5
_MAX_TOKENS = 8


@attrs.frozen(kw_only=True)
class ProviderCase:
    """A provider under test."""

    open_provider: Callable[[], Awaitable[EngineProvider]]
    """Returns a fresh provider that holds nothing."""
    model: ModelDescriptor
    """One that it can load."""
    request: RequestFactory
    patience_s: float = 60.0
    """How long one load, one generation or the closing may take on this machine."""
    loads: Callable[[EngineProvider], int] | None = None
    """Tells how many copies of the model a provider holds, for instance its child processes; None: nobody can tell."""

    @contextlib.asynccontextmanager
    async def provider(self) -> AsyncIterator[EngineProvider]:
        """Open a provider, and close it after the block."""
        provider = await self.open_provider()
        try:
            yield provider
        finally:
            await self.close(provider)

    async def close(self, provider: EngineProvider) -> None:
        """Close it in time."""
        await soon(provider.aclose(), within_s=self.patience_s, promise="aclose of a provider returns")

    async def engine(self, provider: EngineProvider) -> InferenceEngine:
        """Return the model's engine."""
        return await soon(provider.engine(self.model), within_s=self.patience_s, promise="an engine is handed out")


ProviderCheck: TypeAlias = Callable[[ProviderCase], Awaitable[None]]


async def is_what_the_layer_above_asks_for(case: ProviderCase) -> None:
    """All methods are there."""
    async with case.provider() as provider:
        expect(isinstance(provider, EngineProvider), "a provider has all methods of EngineProvider")
        expect(isinstance(await case.engine(provider), InferenceEngine), "what it hands out is an InferenceEngine")


async def shares_one_load_among_all_who_ask_at_once(case: ProviderCase) -> None:
    """Each model is loaded once, be it handed out by a door of its own to everyone who asks."""
    async with case.provider() as provider:
        engines = await asyncio.gather(*(case.engine(provider) for _ in range(_AT_ONCE)))
        engines.append(await case.engine(provider))
        told = [engine.description for engine in engines]
        expect(all(one == told[0] for one in told), "all who ask for a model get the same one")
        held = None if case.loads is None else case.loads(provider)
        expect(held in {None, 1}, f"a model is loaded once for all who ask, not {held} times")


async def survives_one_who_stops_waiting(case: ProviderCase) -> None:
    """A client that leaves while a model is loading takes nobody's engine away."""
    async with case.provider() as provider:
        leaving = asyncio.ensure_future(provider.engine(case.model))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait((leaving,))
        expect(bool((await case.engine(provider)).description.engine), "who asks next gets an engine")


async def describes_what_is_loaded(case: ProviderCase) -> None:
    """What is known of an engine is what the engine says; of nobody's model nothing is known."""
    async with case.provider() as provider:
        engine = await case.engine(provider)
        expect(provider.loaded(case.model.id) == engine.description, "`loaded` is the engine's description")
        expect(provider.loaded(ModelId("nobody's model")) is None, "of what is not loaded nothing is known")


async def tells_the_state_of_what_was_asked_for(case: ProviderCase) -> None:
    """A loaded model is ready."""
    async with case.provider() as provider:
        await case.engine(provider)
        phases = {status.model: status.phase for status in provider.statuses()}
    expect(phases == {case.model.id: EnginePhase.READY}, f"what was loaded is ready, and there is no other: {phases}")


async def hands_out_engines_that_serve(case: ProviderCase) -> None:
    """The engine answers."""
    async with case.provider() as provider:
        engine = await case.engine(provider)
        request = case.request("Say hello.", max_tokens=_MAX_TOKENS)
        async with contextlib.aclosing(await engine.generate(request)) as generation:
            events = [event async for event in generation]
    check_transcript(events)


async def closes_its_engines(case: ProviderCase) -> None:
    """Closing is idempotent, and to the clients of its engines it means "come back later"."""
    async with case.provider() as provider:
        engine = await case.engine(provider)
        for _ in range(2):
            await case.close(provider)
        try:
            await engine.generate(case.request("Say hello.", max_tokens=_MAX_TOKENS))
        except OverloadedError:
            return
    msg = "the engine of a closed provider refuses with OverloadedError"
    raise ContractBrokenError(msg)


async def hands_out_nothing_once_closed(case: ProviderCase) -> None:
    """Whoever goes down loads nothing."""
    async with case.provider() as provider:
        await case.close(provider)
        try:
            await case.engine(provider)
        except OverloadedError:
            return
    msg = "a closed provider refuses with OverloadedError"
    raise ContractBrokenError(msg)


PROVIDER_CHECKS: tuple[ProviderCheck, ...] = (
    is_what_the_layer_above_asks_for,
    shares_one_load_among_all_who_ask_at_once,
    survives_one_who_stops_waiting,
    describes_what_is_loaded,
    tells_the_state_of_what_was_asked_for,
    hands_out_engines_that_serve,
    closes_its_engines,
    hands_out_nothing_once_closed,
)
"""Of any provider."""
