"""The contract of `EngineLoader`.

Each check opens a loader of its own and closes it. Waits are bounded by `LoaderCase.patience_s`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

import attrs

from pensieve_core import EngineResidency, ModelDescriptor, ModelId, OverloadedError, ResidencyState
from pensieve_inference._protocols import EngineLoader, EngineProvider
from pensieve_inference.testing.contract._expect import ContractBrokenError, expect, soon

__all__ = ["LOADER_CHECKS", "LoaderCase", "LoaderCheck", "LoadingProvider"]


class LoadingProvider(EngineProvider, EngineLoader, Protocol):
    """What is checked: a provider that can be told what to hold in memory."""


@attrs.frozen(kw_only=True)
class LoaderCase:
    """A loader under test."""

    open_loader: Callable[[], Awaitable[LoadingProvider]]
    """Returns a fresh one that holds nothing."""
    model: ModelDescriptor
    """A model that can be loaded."""
    patience_s: float = 60.0
    """How long a model may take to load or to leave."""

    @contextlib.asynccontextmanager
    async def loader(self) -> AsyncIterator[LoadingProvider]:
        """Open a loader, and close it after the block."""
        loader = await self.open_loader()
        try:
            yield loader
        finally:
            await soon(loader.aclose(), within_s=self.patience_s, promise="aclose of a provider returns")

    async def load(self, loader: LoadingProvider, *, pin: bool | None = None) -> None:
        """Load the model, in time."""
        await soon(loader.load(self.model, pin=pin), within_s=self.patience_s, promise="a model is loaded")

    async def unload(self, loader: LoadingProvider) -> None:
        """Unload the model, in time."""
        await soon(loader.unload(self.model.id), within_s=self.patience_s, promise="a model is unloaded")

    def found(self, loader: LoadingProvider) -> EngineResidency:
        """Return what is said of the model."""
        told = [engine for engine in loader.residency().engines if engine.model == self.model.id]
        if not told:
            msg = "a model that was asked for is told of"
            raise ContractBrokenError(msg)
        return told[0]


LoaderCheck: TypeAlias = Callable[[LoaderCase], Awaitable[None]]


async def holds_nothing_before_anybody_asks(case: LoaderCase) -> None:
    """Nothing is loaded for its own sake."""
    async with case.loader() as loader:
        residency = loader.residency()
        expect(residency.engines == (), "nothing was asked for, and nothing is told of")
        expect(residency.memory.used_bytes == 0, "what holds nothing uses nothing")


async def tells_of_what_it_loaded(case: LoaderCase) -> None:
    """A loaded model is ready, and counted."""
    async with case.loader() as loader:
        await case.load(loader)
        expect(case.found(loader).state is ResidencyState.READY, "a loaded model is ready")
        expect(case.found(loader).requests == 0, "nobody works with a model that was only loaded")
        memory = loader.residency().memory
        counted = memory.budget_bytes is not None
        expect(not counted or memory.used_bytes > 0, "where memory is counted, a loaded model counts")
        expect(memory.budget_bytes is None or memory.used_bytes <= memory.budget_bytes, "the budget is kept")


async def loads_what_is_asked_for(case: LoaderCase) -> None:
    """Asking for an engine loads it, too."""
    async with case.loader() as loader:
        await soon(loader.engine(case.model), within_s=case.patience_s, promise="an engine is handed out")
        expect(case.found(loader).state is ResidencyState.READY, "a model that was handed out is ready")


async def pins_as_told(case: LoaderCase) -> None:
    """A pin stays until it is taken off; loading without a word leaves it."""
    async with case.loader() as loader:
        await case.load(loader)
        expect(not case.found(loader).pinned, "a model is not pinned unless that was asked for")
        await case.load(loader, pin=True)
        await case.load(loader)
        expect(case.found(loader).pinned, "a pin stays until it is taken off")
        await case.load(loader, pin=False)
        expect(not case.found(loader).pinned, "a pin can be taken off")


async def unloads_as_told(case: LoaderCase) -> None:
    """Unloading takes even a pinned model; unloading what is not loaded does nothing."""
    async with case.loader() as loader:
        await case.unload(loader)
        await case.load(loader, pin=True)
        for _ in range(2):
            await case.unload(loader)
            expect(case.found(loader).state is ResidencyState.UNLOADED, "an unloaded model is unloaded")
            expect(not case.found(loader).pinned, "unloading takes the pin off")
        expect(loader.residency().memory.used_bytes == 0, "what was unloaded uses nothing")
        await loader.unload(ModelId("a model that nobody ever asked for"))


async def loads_again_what_was_unloaded(case: LoaderCase) -> None:
    """A model that left comes back when it is asked for."""
    async with case.loader() as loader:
        await case.load(loader)
        await case.unload(loader)
        await soon(loader.engine(case.model), within_s=case.patience_s, promise="a model that left comes back")
        expect(case.found(loader).state is ResidencyState.READY, "a model that came back is ready")


async def refuses_to_load_once_closed(case: LoaderCase) -> None:
    """Whoever goes down loads nothing."""
    async with case.loader() as loader:
        await soon(loader.aclose(), within_s=case.patience_s, promise="aclose of a provider returns")
        try:
            await case.load(loader)
        except OverloadedError:
            return
        msg = "a closed provider refuses with OverloadedError"
        raise ContractBrokenError(msg)


LOADER_CHECKS: tuple[LoaderCheck, ...] = (
    holds_nothing_before_anybody_asks,
    tells_of_what_it_loaded,
    loads_what_is_asked_for,
    pins_as_told,
    unloads_as_told,
    loads_again_what_was_unloaded,
    refuses_to_load_once_closed,
)
"""Of any loader."""
