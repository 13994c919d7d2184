"""Ours: several models on one GPU. Devices and engines are pretended; what fits, the very fit of the loader says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import attrs
import pytest

from pensieve_core import (
    Clock,
    EnginePhase,
    EngineResidency,
    EngineStatus,
    GenerationRequest,
    ModelBrokenError,
    ModelDescriptor,
    RequestId,
    ResidencyState,
    Role,
    TextPart,
    Turn,
)
from pensieve_gguf import GgufProvider, GgufSettings
from pensieve_gguf.engine.loading import free_memory
from pensieve_gguf.fit import ModelSize, Wishes, fit_model
from pensieve_gguf.llama import Gpu
from pensieve_gguf.needs import needs
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker.messages import Loaded
from pensieve_inference.testing import FakeClock, ScriptedEngine, make_descriptor, say
from pensieve_inference.testing.contract import LOADER_CHECKS, LoaderCase, LoaderCheck, LoadingProvider, check_name

GIB = 1 << 30


def model(name: str, weights_gib: int) -> ModelDescriptor:
    return attrs.evolve(make_descriptor(name, context_tokens=32_768), size_bytes=weights_gib * GIB)


A, B, C, D = model("a", 8), model("b", 8), model("c", 2), model("d", 8)


@attrs.define(kw_only=True, eq=False)
class Card:
    """A GPU, and who lies on it."""

    total: int
    buffers: int = GIB // 2
    """What an engine takes beside what it predicts; the fit's reserve is for that."""
    taken: dict[str, int] = attrs.field(factory=dict)

    def devices(self) -> tuple[Gpu, ...]:
        free = self.total - sum(self.taken.values())
        return (Gpu(name="A card", free_bytes=free, total_bytes=self.total),) if self.total else ()


class CardEngine(ScriptedEngine):
    """`LodgedEngine` without a process, which fits its model as the loader does and takes that of the card."""

    def __init__(self, card: Card, model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> None:
        super().__init__(say("I am here"), model=model, clock=clock)
        self.card = card
        self.settings = settings
        self.status = EngineStatus(model=model.id, phase=EnginePhase.COLD)
        self.given_up: ModelBrokenError | None = None
        self.worker_pid = None
        self.gpu_layers = 0
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded:
        assert self._loaded is not None
        return self._loaded

    async def start(self) -> None:
        named, settings = self.description.model, self.settings
        memory = free_memory(settings, self.card.devices)
        size = ModelSize(weight_bytes=named.size_bytes, kv_bytes_per_token=48 << 10, layers=24, trained=32_768)
        wishes = Wishes(gpu_layers=settings.gpu_layers, context=settings.context_tokens)
        if settings.least_context is not None:
            more = needs(
                size, memory, wishes, least_context=settings.least_context, gpu_most=settings.gpu_most_bytes or 0
            )
            if more is not None:
                raise TooLittleMemoryError(more)
        fit = fit_model(size, memory, wishes)
        on_gpu = sum(term.size_bytes for term in fit.terms if term.on_gpu)
        self.card.taken[named.id] = on_gpu + self.card.buffers if on_gpu else 0
        self.gpu_layers = fit.gpu_layers
        described = attrs.evolve(self.description, memory=fit.terms, gpu_layers=fit.gpu_layers)
        self._loaded = Loaded(description=described, kv_type="q8_0", gpu_bytes=memory.gpu)
        self.status = attrs.evolve(self.status, phase=EnginePhase.READY, progress=1.0)

    async def aclose(self, *, save_s: float | None = None) -> None:
        self.status = attrs.evolve(self.status, phase=EnginePhase.CLOSED)
        self.card.taken.pop(self.description.model.id, None)
        await super().aclose()


@attrs.define(kw_only=True, eq=False)
class House:
    clock: FakeClock
    provider: GgufProvider
    card: Card
    engines: list[CardEngine]
    """All that were ever made."""

    async def say(self, model: ModelDescriptor) -> None:
        """Ask for a whole answer."""
        async with asyncio.timeout(5):
            engine = await self.provider.engine(model)
            async with contextlib.aclosing(await engine.generate(_request(model))) as generation:
                async for _ in generation:
                    pass

    def residency(self, model: ModelDescriptor) -> EngineResidency:
        return next(engine for engine in self.provider.residency().engines if engine.model == model.id)

    def ready(self) -> set[str]:
        return {e.model for e in self.provider.residency().engines if e.state is ResidencyState.READY}

    def layers(self, model: ModelDescriptor) -> int:
        return [engine.gpu_layers for engine in self.engines if engine.description.model.id == model.id][-1]


def _request(model: ModelDescriptor) -> GenerationRequest:
    turn = Turn(role=Role.USER, parts=(TextPart(text="who is there?"),))
    return GenerationRequest(id=RequestId("req_1"), model=model.id, turns=(turn,), max_tokens=100)


@contextlib.asynccontextmanager
async def house(
    gpu_gib: int, settings: GgufSettings | None = None, ram_gib: int = 64, card: Card | None = None
) -> AsyncIterator[House]:
    card, clock, engines = card or Card(total=gpu_gib * GIB), FakeClock(), list[CardEngine]()

    def open_engine(model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> CardEngine:
        engines.append(CardEngine(card, model, settings, clock))
        return engines[-1]

    chosen = settings or GgufSettings(memory_budget_bytes=ram_gib * GIB)
    provider = GgufProvider(chosen, clock, open_engine=open_engine)
    try:
        yield House(clock=clock, provider=provider, card=card, engines=engines)
    finally:
        async with asyncio.timeout(5):
            await provider.aclose()


async def settle(at: House, *models: ModelDescriptor) -> None:
    """Ask for each in turn, and let them stay for as long as they may."""
    for each in models:
        await at.say(each)
        await at.clock.advance(10)


@pytest.mark.parametrize("gpu_gib", [0, 16])
@pytest.mark.parametrize("check", LOADER_CHECKS, ids=check_name)
async def test_it_keeps_the_contract_of_loaders(check: LoaderCheck, gpu_gib: int) -> None:
    async with contextlib.AsyncExitStack() as stack:

        async def fresh() -> LoadingProvider:
            return (await stack.enter_async_context(house(gpu_gib))).provider

        await check(LoaderCase(open_loader=fresh, model=A, patience_s=5.0))


async def test_a_second_model_has_the_first_leave_the_gpu_though_ram_holds_both() -> None:
    """Before, it went to the CPU, and stayed there for as long as it was used."""
    async with house(gpu_gib=16) as at:
        await settle(at, A, B)
        assert at.ready() == {"b"}
        assert at.layers(B) == 25
        await settle(at, A)
        assert at.ready() == {"a"}
        assert at.layers(A) == 25


async def test_models_that_the_gpu_holds_together_stay_together() -> None:
    settings = GgufSettings(memory_budget_bytes=64 * GIB, context_tokens=32_768)
    async with house(gpu_gib=24, settings=settings) as at:
        await settle(at, A, B)
        assert at.ready() == {"a", "b"}
        assert (at.layers(A), at.layers(B)) == (25, 25)
        memory = at.provider.residency().memory
        assert memory.gpu_budget_bytes == 24 * GIB
        assert memory.gpu_used_bytes == sum(at.residency(each).gpu_bytes or 0 for each in (A, B))
        assert sum(at.card.taken.values()) <= memory.gpu_used_bytes <= 24 * GIB


async def test_of_several_on_the_gpu_the_longest_unused_leaves() -> None:
    settings = GgufSettings(memory_budget_bytes=64 * GIB, context_tokens=32_768)
    async with house(gpu_gib=16, settings=settings) as at:
        await settle(at, A, C)
        assert at.ready() == {"a", "c"}
        await settle(at, C, B)
        assert at.ready() == {"b", "c"}
        assert (at.layers(B), at.layers(C)) == (25, 25)


async def test_a_pinned_model_keeps_the_gpu_and_the_other_takes_what_is_left_of_it() -> None:
    async with house(gpu_gib=12) as at:
        await at.provider.load(A, pin=True)
        await at.clock.advance(10)
        await settle(at, B)
        assert at.ready() == {"a", "b"}
        assert at.layers(A) == 25
        assert at.layers(B) < 25
        assert at.residency(A).pinned


@pytest.mark.parametrize("gpu_gib", [18, 20])
async def test_beside_a_pinned_model_that_takes_more_than_it_said_a_second_has_what_is_left(gpu_gib: int) -> None:
    """Its buffers may exceed the reserve: then there is less than the planner thinks, and RAM enough."""
    settings = GgufSettings(memory_budget_bytes=64 * GIB, context_tokens=32_768)
    card = Card(total=gpu_gib * GIB, buffers=5 * GIB // 4)
    async with house(gpu_gib, settings=settings, card=card) as at:
        await at.provider.load(A, pin=True)
        await at.clock.advance(10)
        for _ in range(2):
            await settle(at, B)
            assert at.ready() == {"a", "b"}
            assert at.layers(A) == 25
            assert 0 < at.layers(B) < 25
            await at.provider.unload(B.id)


async def test_who_once_found_the_gpu_full_waits_for_no_ram_that_it_does_not_need() -> None:
    """Before, all the RAM that was free then was what it needed ever after; behind pins it was refused."""
    settings = GgufSettings(memory_budget_bytes=64 * GIB, context_tokens=32_768)
    small = [model(name, 2) for name in ("x", "y", "z")]
    async with house(gpu_gib=24, settings=settings) as at:
        await settle(at, A, B, D)
        assert at.ready() == {"b", "d"}
        for each in (B, D):
            await at.provider.unload(each.id)
        await settle(at, *small)
        for each in small:
            await at.provider.load(each, pin=True)
        await settle(at, D)
        assert at.ready() == {"d", "x", "y", "z"}
        assert at.layers(D) == 25


async def test_a_gpu_budget_is_kept_though_the_card_has_more() -> None:
    settings = GgufSettings(memory_budget_bytes=64 * GIB, gpu_memory_budget_bytes=12 * GIB)
    async with house(gpu_gib=80, settings=settings) as at:
        await settle(at, A)
        assert (at.residency(A).gpu_bytes or 0) <= 12 * GIB
        await settle(at, B)
        assert at.ready() == {"b"}
        assert at.provider.residency().memory.gpu_budget_bytes == 12 * GIB
        assert at.engines[0].settings.gpu_memory_bytes == 12 * GIB


async def test_a_model_larger_than_ram_is_loaded_where_the_gpu_holds_the_rest_of_it() -> None:
    settings = GgufSettings(memory_budget_bytes=4 * GIB, gpu_memory_budget_bytes=12 * GIB)
    async with house(gpu_gib=12, settings=settings) as at:
        await settle(at, A)
        assert at.layers(A) == 25
        assert (at.residency(A).memory_bytes or 0) < 4 * GIB


async def test_so_it_is_where_nobody_has_said_how_much_the_gpu_holds() -> None:
    async with house(gpu_gib=12, ram_gib=4) as at:
        await settle(at, A, B)
        assert at.ready() == {"b"}
        assert at.layers(B) == 25


async def test_models_that_are_kept_in_ram_make_no_room_on_the_gpu() -> None:
    settings = GgufSettings(memory_budget_bytes=64 * GIB, gpu_layers=0)
    async with house(gpu_gib=16, settings=settings) as at:
        await settle(at, A, B)
        assert at.ready() == {"a", "b"}
        assert at.provider.residency().memory.gpu_used_bytes == 0
        assert at.residency(A).gpu_bytes is None


async def test_without_a_gpu_none_is_counted() -> None:
    async with house(gpu_gib=0) as at:
        await settle(at, A)
        memory = at.provider.residency().memory
        assert (memory.gpu_budget_bytes, memory.gpu_used_bytes) == (None, 0)
