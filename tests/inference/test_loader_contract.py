"""The contract of loaders: the fake keeps it, and an implementation that breaks a promise is caught by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
import pytest

from pensieve_core import (
    EngineDescription,
    EnginePhase,
    EngineStatus,
    MemoryUse,
    ModelDescriptor,
    ModelId,
    RequestRefusedError,
    Residency,
    ResidencyState,
)
from pensieve_inference import EngineLoader, EngineProvider, InferenceEngine, loader_of
from pensieve_inference.testing import ScriptedEngine, ScriptedProvider, make_descriptor
from pensieve_inference.testing.contract import (
    LOADER_CHECKS,
    ContractBrokenError,
    LoaderCase,
    LoaderCheck,
    LoadingProvider,
    check_name,
)

MODEL = make_descriptor("one")


def case_of(make: Callable[[], LoadingProvider], patience_s: float = 30.0) -> LoaderCase:
    async def open_loader() -> LoadingProvider:
        return make()

    return LoaderCase(open_loader=open_loader, model=MODEL, patience_s=patience_s)


@pytest.mark.parametrize("check", LOADER_CHECKS, ids=check_name)
async def test_the_scripted_provider_keeps_the_loader_contract(check: LoaderCheck) -> None:
    await check(case_of(ScriptedProvider))


class Forward(ScriptedProvider):
    def residency(self) -> Residency:
        return Residency(memory=MemoryUse(used_bytes=1))


class Full(ScriptedProvider):
    def residency(self) -> Residency:
        return attrs.evolve(
            super().residency(), memory=MemoryUse(budget_bytes=1, used_bytes=2 if self._residents else 0)
        )


class Free(ScriptedProvider):
    def residency(self) -> Residency:
        return attrs.evolve(super().residency(), memory=MemoryUse(budget_bytes=1))


class Hoarding(ScriptedProvider):
    async def unload(self, model: ModelId) -> None:
        """Keep it."""


class Greedy(ScriptedProvider):
    """Uses memory for what it has unloaded."""

    def residency(self) -> Residency:
        return attrs.evolve(super().residency(), memory=MemoryUse(used_bytes=len(self._residents)))


class Sticky(ScriptedProvider):
    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        await super().load(model, pin=pin or None)


class Eager(ScriptedProvider):
    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        await super().load(model, pin=True if pin is None else pin)


class Secretive(ScriptedProvider):
    def residency(self) -> Residency:
        return Residency()


class Lazy(ScriptedProvider):
    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        return self._engine


class Immortal(ScriptedProvider):
    async def aclose(self) -> None:
        """Go on."""


class Hanging(ScriptedProvider):
    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        await asyncio.Event().wait()


FAULTS: list[tuple[str, Callable[[], LoadingProvider], str]] = [
    ("holds_nothing_before_anybody_asks", Forward, "what holds nothing uses nothing"),
    ("tells_of_what_it_loaded", Secretive, "is told of"),
    ("tells_of_what_it_loaded", Hanging, "a model is loaded, within"),
    ("tells_of_what_it_loaded", Full, "the budget is kept"),
    ("tells_of_what_it_loaded", Free, "a loaded model counts"),
    ("loads_what_is_asked_for", Lazy, "is told of"),
    ("pins_as_told", Sticky, "a pin can be taken off"),
    ("pins_as_told", Eager, "not pinned unless"),
    ("unloads_as_told", Hoarding, "an unloaded model is unloaded"),
    ("unloads_as_told", Greedy, "what was unloaded uses nothing"),
    ("loads_again_what_was_unloaded", Lazy, "a model that came back is ready"),
    ("refuses_to_load_once_closed", Immortal, "refuses with OverloadedError"),
]


@pytest.mark.parametrize(
    ("check", "make", "promise"), FAULTS, ids=[f"{check}: {promise}" for check, _, promise in FAULTS]
)
async def test_a_broken_promise_is_named(check: str, make: Callable[[], LoadingProvider], promise: str) -> None:
    (found,) = [one for one in LOADER_CHECKS if one.__name__ == check]
    with pytest.raises(ContractBrokenError, match=promise):
        await found(case_of(make, patience_s=0.2))


class Plain:
    """A stranger's provider, which knows nothing of memory."""

    def __init__(self, phase: EnginePhase = EnginePhase.READY) -> None:
        self.phase = phase
        self.asked: list[ModelId] = []

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        self.asked.append(model.id)
        return ScriptedEngine()

    def loaded(self, model: ModelId) -> EngineDescription | None:
        raise NotImplementedError

    def statuses(self) -> tuple[EngineStatus, ...]:
        return tuple(EngineStatus(model=model, phase=self.phase, progress=0.5, detail="x") for model in self.asked)

    async def aclose(self) -> None:
        raise NotImplementedError


def test_a_provider_that_is_a_loader_is_its_own() -> None:
    provider = ScriptedProvider()
    assert isinstance(provider, EngineLoader)
    assert loader_of(provider) is provider


async def test_any_provider_can_be_asked_to_load() -> None:
    provider: EngineProvider = Plain()
    loader = loader_of(provider)
    await loader.load(MODEL)
    (engine,) = loader.residency().engines
    assert (engine.model, engine.state, engine.progress, engine.detail) == ("one", ResidencyState.READY, 0.5, "x")


async def test_what_a_plain_provider_cannot_do_is_refused() -> None:
    loader = loader_of(Plain())
    with pytest.raises(RequestRefusedError, match="pinned"):
        await loader.load(MODEL, pin=True)
    await loader.unload(MODEL.id)
    await loader.load(MODEL, pin=False)
    with pytest.raises(RequestRefusedError, match="unloaded"):
        await loader.unload(MODEL.id)


@pytest.mark.parametrize("phase", EnginePhase)
async def test_every_phase_is_a_state(phase: EnginePhase) -> None:
    loader = loader_of(Plain(phase))
    await loader.load(MODEL)
    (engine,) = loader.residency().engines
    assert isinstance(engine.state, ResidencyState)
