"""Ours: the provider does what the planner says. Engines play scripts, and load when the test lets them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest

from pensieve_core import (
    Clock,
    EnginePhase,
    EngineResidency,
    EngineStatus,
    GenerationFinished,
    GenerationRequest,
    MemoryTerm,
    ModelBrokenError,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PensieveError,
    RequestId,
    ResidencyState,
    Role,
    TextPart,
    TextProduced,
    Turn,
)
from pensieve_gguf import GgufProvider, GgufSettings
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker.messages import Loaded
from pensieve_inference import EngineLoader, EngineProvider
from pensieve_inference.testing import FakeClock, Script, ScriptedEngine, Wait, make_descriptor, say
from pensieve_inference.testing.contract import LOADER_CHECKS, LoaderCase, LoaderCheck, LoadingProvider, check_name

A, B, C = (attrs.evolve(make_descriptor(name), size_bytes=10) for name in "abc")
BUDGET = 150
"""Every engine takes 100, and is known to take 10."""
TAKES = 100
SETTINGS = GgufSettings(memory_budget_bytes=BUDGET)


class FakeEngine(ScriptedEngine):
    """`LodgedEngine` without a process."""

    def __init__(self, world: World, model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> None:
        super().__init__(world.scripts.get(model.id, say("I am here")), model=model, clock=clock)
        self.world = world
        self.settings = settings
        self.status = EngineStatus(model=model.id, phase=EnginePhase.COLD)
        self.given_up: ModelBrokenError | None = None
        self.worker_pid = None
        self.came = False
        self.saved_for: float | None = None
        self.terms: tuple[MemoryTerm, ...] = (
            MemoryTerm(name="weights", size_bytes=TAKES),
            MemoryTerm(name="KV cache", size_bytes=1 << 40, on_gpu=True),
        )

    @property
    def loaded(self) -> Loaded:
        return Loaded(description=attrs.evolve(self.description, memory=self.terms), kv_type="q8_0")

    def give_up(self) -> None:
        """Be broken, as a `SupervisedEngine` is whose workers die."""
        self.given_up = ModelBrokenError(self.description.model.id, "it died again and again")
        self.status = attrs.evolve(self.status, phase=EnginePhase.BROKEN, detail=self.given_up.message)

    async def start(self) -> None:
        self.status = attrs.evolve(self.status, phase=EnginePhase.LOADING)
        await self.world.loading.wait()
        if self._closed:
            raise OverloadedError("the engine is closing")  # noqa: EM101 - a fake
        error = self.world.errors.get(self.description.model.id)
        if error is not None:
            self.status = attrs.evolve(self.status, phase=EnginePhase.BROKEN, detail=error.message)
            raise error
        allowed = self.settings.memory_bytes
        if allowed is not None and allowed < TAKES and self.settings.least_context is not None:
            raise TooLittleMemoryError(Footprint(ram=self.world.needs))
        self.status = attrs.evolve(self.status, phase=EnginePhase.READY, progress=1.0)
        self.came = True

    async def aclose(self, *, save_s: float | None = None) -> None:
        self.saved_for = save_s
        self.status = attrs.evolve(self.status, phase=EnginePhase.CLOSED)
        await super().aclose()
        self.world.loading.set()


@attrs.define(kw_only=True, eq=False)
class World:
    clock: FakeClock
    provider: GgufProvider
    scripts: dict[ModelId, Script] = attrs.field(factory=dict)
    errors: dict[ModelId, PensieveError] = attrs.field(factory=dict)
    engines: list[FakeEngine] = attrs.field(factory=list)
    """All that were ever made."""
    loading: asyncio.Event = attrs.field(factory=asyncio.Event)
    free: int = 1_000
    needs: int = TAKES
    """What an engine asks for that may take less than it takes."""

    def residency(self, model: ModelDescriptor) -> EngineResidency:
        return next(engine for engine in self.provider.residency().engines if engine.model == model.id)

    def state(self, model: ModelDescriptor) -> ResidencyState:
        return self.residency(model).state

    async def say(self, model: ModelDescriptor) -> str:
        """Return a whole answer."""
        async with asyncio.timeout(20):
            engine = await self.provider.engine(model)
            async with contextlib.aclosing(await engine.generate(request())) as generation:
                return "".join([event.text async for event in generation if isinstance(event, TextProduced)])


@contextlib.asynccontextmanager
async def world(settings: GgufSettings = SETTINGS) -> AsyncIterator[World]:
    clock = FakeClock()

    def open_engine(model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> FakeEngine:
        made.engines.append(FakeEngine(made, model, settings, clock))
        return made.engines[-1]

    provider = GgufProvider(settings, clock, open_engine=open_engine, free_bytes=lambda: made.free)
    made = World(clock=clock, provider=provider)
    made.loading.set()
    try:
        yield made
    finally:
        async with asyncio.timeout(20):
            await provider.aclose()


def request() -> GenerationRequest:
    turn = Turn(role=Role.USER, parts=(TextPart(text="who is there?"),))
    return GenerationRequest(id=RequestId("req_1"), model=A.id, turns=(turn,), max_tokens=100)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0)


@pytest.mark.parametrize("check", LOADER_CHECKS, ids=check_name)
async def test_it_keeps_the_contract_of_loaders(check: LoaderCheck) -> None:
    async with contextlib.AsyncExitStack() as stack:

        async def fresh() -> LoadingProvider:
            return (await stack.enter_async_context(world())).provider

        await check(LoaderCase(open_loader=fresh, model=A, patience_s=5.0))


async def test_it_is_what_the_layers_above_ask_for() -> None:
    async with world() as house:
        assert isinstance(house.provider, EngineProvider)
        assert isinstance(house.provider, EngineLoader)


async def test_one_model_makes_room_for_another_and_comes_back_as_it_was() -> None:
    """With the same keys and values: states on the disk are of no other use. And with a context no shorter."""
    async with world() as house:
        assert await house.say(A) == "I am here"
        await house.clock.advance(10)
        assert await house.say(B) == "I am here"
        assert (house.state(A), house.state(B)) == (ResidencyState.UNLOADED, ResidencyState.READY)
        await house.clock.advance(10)
        await house.say(A)
        first, other, again = (engine for engine in house.engines if engine.came)
        assert first.saved_for == 30.0
        assert (first.settings.kv_type, again.settings.kv_type) == (None, "q8_0")
        assert (first.settings.least_context, other.settings.least_context) == (None, None)
        assert first.settings.memory_bytes == again.settings.memory_bytes == BUDGET


async def test_an_engine_may_be_kept_while_its_model_comes_and_goes() -> None:
    async with world() as house:
        kept = await house.provider.engine(A)
        assert house.provider.loaded(A.id) == kept.description
        await house.clock.advance(10)
        await house.say(B)
        assert house.provider.loaded(A.id) is None
        assert kept.description.model == A
        await house.clock.advance(10)
        assert await kept.count_tokens(request()) == 3
        assert house.state(A) is ResidencyState.READY


async def test_models_share_the_budget_where_it_holds_them() -> None:
    async with world(attrs.evolve(SETTINGS, memory_budget_bytes=250)) as house:
        await house.say(A)
        await house.say(B)
        assert {house.state(A), house.state(B)} == {ResidencyState.READY}
        memory = house.provider.residency().memory
        assert (memory.budget_bytes, memory.used_bytes) == (250, 200)
        assert [engine.settings.memory_bytes for engine in house.engines] == [250, 150]
        assert house.engines[1].settings.least_context == 32_768


async def test_a_model_that_would_have_too_short_a_context_waits_for_room() -> None:
    """Its file is small enough for what is left, but it is not."""
    async with world() as house:
        await house.say(A)
        asking = asyncio.ensure_future(house.say(B))
        await until(lambda: len(house.engines) == 2 and house.engines[1].status.phase is EnginePhase.CLOSED)
        assert (house.state(B), house.residency(B).waiting) == (ResidencyState.UNLOADED, 1)
        await house.clock.advance(10)
        assert await asking == "I am here"
        assert house.state(A) is ResidencyState.UNLOADED


async def test_a_model_that_had_all_of_the_budget_has_it_again_though_it_would_have_more() -> None:
    """What it needs for the context that it had is searched to a hundredth, and may be more than there is."""
    async with world() as house:
        await house.say(A)
        await house.provider.unload(A.id)
        await house.say(B)
        house.needs = BUDGET + 1
        asking = asyncio.ensure_future(house.say(A))
        await until(lambda: len(house.engines) == 3 and house.engines[2].status.phase is EnginePhase.CLOSED)
        await house.clock.advance(10)
        assert await asking == "I am here"
        assert house.state(B) is ResidencyState.UNLOADED


async def test_two_that_want_one_place_take_turns() -> None:
    async with world() as house:
        answers: list[str] = []

        async def session(model: ModelDescriptor) -> None:
            for _ in range(5):
                await house.say(model)
                answers.append(model.id)

        house.engines.clear()
        sessions = [asyncio.ensure_future(session(model)) for model in (A, B)]
        for _ in range(12):
            await house.clock.advance(5)
        async with asyncio.timeout(20):
            await asyncio.gather(*sessions)
        assert sorted(answers) == ["a"] * 5 + ["b"] * 5
        assert len(house.engines) <= 4, "what comes together is served together"


async def test_a_running_answer_is_waited_for_and_then_cut_short() -> None:
    async with world() as house:
        house.scripts[A.id] = [*say("once"), Wait(1e6)]
        engine = await house.provider.engine(A)
        generation = await engine.generate(request())
        await anext(generation)
        rest = asyncio.ensure_future(anext(generation))
        await house.clock.advance(10)
        asking = asyncio.ensure_future(house.say(B))
        await until(lambda: house.state(A) is ResidencyState.DRAINING)
        assert house.residency(A).requests == 1
        await house.clock.advance(119)
        assert house.state(A) is ResidencyState.DRAINING
        await house.clock.advance(1)
        with pytest.raises(OverloadedError, match="make room"):
            await rest
        assert await asking == "I am here"


async def test_an_answer_that_has_not_begun_is_begun_again_when_its_model_is_back() -> None:
    async with world() as house:
        house.scripts[A.id] = [Wait(1e6)]
        generation = await (await house.provider.engine(A)).generate(request())
        first = asyncio.ensure_future(anext(generation))
        await house.clock.advance(10)
        asking = asyncio.ensure_future(house.say(B))
        await until(lambda: house.state(A) is ResidencyState.DRAINING)
        house.scripts[A.id] = say("at last")
        await house.clock.advance(120)
        assert await asking == "I am here"
        await house.clock.advance(10)
        event = await asyncio.wait_for(first, 5)
        assert isinstance(event, TextProduced)
        assert event.text == "at"
        assert isinstance([event async for event in generation][-1], GenerationFinished)


async def test_an_idle_model_goes_when_its_time_is_over_unless_it_is_pinned() -> None:
    async with world(attrs.evolve(SETTINGS, idle_unload_s=60.0)) as house:
        await house.say(A)
        assert house.residency(A).unloads_at == house.clock.time() + 60.0
        await house.clock.advance(60)
        await until(lambda: house.state(A) is ResidencyState.UNLOADED)
        await house.provider.load(A, pin=True)
        assert house.residency(A).unloads_at is None
        await house.clock.advance(1_000)
        assert house.state(A) is ResidencyState.READY


async def test_what_is_pinned_makes_no_room_until_it_is_told_to_go() -> None:
    async with world() as house:
        await house.provider.load(A, pin=True)
        assert house.residency(A).pinned
        await house.clock.advance(100)
        with pytest.raises(OverloadedError, match="take a pin off"):
            await house.say(B)
        await house.provider.unload(A.id)
        assert await house.say(B) == "I am here"
        await house.clock.advance(10)
        await house.say(A)
        assert not house.residency(A).pinned, "who took the pin off meant it"


async def test_who_waits_is_told_when_it_cannot_be_loaded_and_it_may_be_tried_again() -> None:
    async with world() as house:
        house.errors[A.id] = ModelBrokenError(A.id, "bad magic")
        for _ in range(2):
            with pytest.raises(ModelBrokenError, match="bad magic"):
                await house.say(A)
        assert len(house.engines) == 1, "a broken file is not read again"
        assert (house.state(A), house.residency(A).detail) == (
            ResidencyState.FAILED,
            "model a cannot be served: bad magic",
        )
        del house.errors[A.id]
        await house.provider.load(A)
        assert house.state(A) is ResidencyState.READY


async def test_unloading_what_is_broken_forgets_why() -> None:
    async with world() as house:
        house.errors[A.id] = ModelBrokenError(A.id, "bad magic")
        with pytest.raises(ModelBrokenError):
            await house.say(A)
        del house.errors[A.id]
        await house.provider.unload(A.id)
        assert house.state(A) is ResidencyState.UNLOADED
        assert house.provider.statuses() == (EngineStatus(model=A.id, phase=EnginePhase.COLD),)
        assert await house.say(A) == "I am here"


@pytest.mark.parametrize("noticed", [False, True])
async def test_unloading_what_gave_up_forgets_why(*, noticed: bool) -> None:
    async with world() as house:
        await house.say(A)
        engine = house.engines[0]
        engine.give_up()
        if noticed:
            with pytest.raises(ModelBrokenError, match="again and again"):
                await house.say(A)
        async with asyncio.timeout(20):
            await house.provider.unload(A.id)
        assert engine.status.phase is EnginePhase.CLOSED
        assert house.state(A) is ResidencyState.UNLOADED
        assert await house.say(A) == "I am here"


@pytest.mark.parametrize("noticed", [False, True])
async def test_loading_what_gave_up_tries_it_again(*, noticed: bool) -> None:
    async with world() as house:
        await house.say(A)
        house.engines[0].give_up()
        if noticed:
            with pytest.raises(ModelBrokenError, match="again and again"):
                await house.say(A)
        await house.provider.load(A)
        assert house.state(A) is ResidencyState.READY


async def test_what_a_worker_has_that_took_the_place_of_a_dead_one_is_told() -> None:
    """It may have done with a shorter context. Once the engine is gone, what it was to have is all that is known."""
    async with world() as house:
        kept = await house.provider.engine(A)
        before = kept.description.context_tokens
        engine = house.engines[0]
        engine.description = attrs.evolve(engine.description, context_tokens=before // 2)
        assert kept.description.context_tokens == before // 2
        assert house.provider.loaded(A.id) == kept.description
        await house.provider.unload(A.id)
        assert kept.description.context_tokens == before


async def test_an_engine_that_gave_up_is_noticed() -> None:
    async with world() as house:
        await house.say(A)
        house.engines[0].give_up()
        with pytest.raises(ModelBrokenError, match="again and again"):
            await house.say(A)
        assert house.state(A) is ResidencyState.FAILED
        assert house.provider.residency().memory.used_bytes == 0


async def test_without_a_budget_memory_is_looked_at_when_it_is_needed() -> None:
    async with world(GgufSettings()) as house:
        house.free = 150
        await house.say(A)
        assert house.engines[0].settings.memory_bytes is None, "the engine itself looks at what is free"
        assert house.provider.residency().memory.budget_bytes == 150
        house.free = 5
        await house.clock.advance(10)
        await house.say(B)
        assert house.state(A) is ResidencyState.UNLOADED
        memory = house.provider.residency().memory
        assert (memory.budget_bytes, memory.used_bytes) == (100, 100)


async def test_an_engine_that_does_not_say_what_it_takes_takes_all_it_was_allowed() -> None:
    class Silent(FakeEngine):
        @property
        def loaded(self) -> Loaded:
            return Loaded(description=self.description, kv_type="f16")

    async with world() as house:
        provider = GgufProvider(
            SETTINGS, house.clock, open_engine=lambda model, settings, clock: Silent(house, model, settings, clock)
        )
        await provider.load(A)
        assert provider.residency().memory.used_bytes == BUDGET
        await provider.aclose()


async def test_who_leaves_while_it_loads_stops_nothing() -> None:
    async with world() as house:
        house.loading.clear()
        leaving, staying = (asyncio.ensure_future(house.say(A)) for _ in range(2))
        await until(lambda: house.engines != [] and house.residency(A).waiting == 2)
        assert house.provider.loaded(A.id) is None
        leaving.cancel()
        await asyncio.wait((leaving,))
        house.loading.set()
        assert await staying == "I am here"
        assert house.residency(A).requests == house.residency(A).waiting == 0


async def test_how_much_of_a_model_is_there_is_told_while_it_loads() -> None:
    async with world() as house:
        house.loading.clear()
        waiting = asyncio.ensure_future(house.say(A))
        await until(lambda: house.engines != [] and house.engines[0].status.phase is EnginePhase.LOADING)
        house.engines[0].status = attrs.evolve(house.engines[0].status, progress=0.4)
        assert (house.state(A), house.residency(A).progress) == (ResidencyState.LOADING, 0.4)
        house.loading.set()
        await waiting
        assert house.residency(A).progress == 1.0


async def test_closing_tells_who_waits() -> None:
    async with world() as house:
        await house.say(A)
        waiting = asyncio.ensure_future(house.say(B))
        await until(lambda: len(house.provider.residency().engines) == 2)
        await house.provider.aclose()
        for late in (waiting, house.say(A), house.provider.load(A)):
            with pytest.raises(OverloadedError):
                await late


async def test_closing_while_one_is_loaded_leaves_nothing() -> None:
    async with world() as house:
        house.loading.clear()
        waiting = asyncio.ensure_future(house.say(A))
        await until(lambda: house.engines != [])
        await house.provider.aclose()
        with pytest.raises(OverloadedError):
            await waiting
        assert house.engines[0].status.phase is EnginePhase.CLOSED


async def test_unloading_what_was_never_there_does_nothing() -> None:
    async with world() as house:
        await house.provider.unload(ModelId("nobody"))
        assert house.provider.residency().engines == ()


async def test_a_descriptor_that_changed_counts_from_the_next_load_on() -> None:
    async with world() as house:
        await house.say(A)
        await house.provider.unload(A.id)
        moved = attrs.evolve(A, path=Path("/elsewhere/a.gguf"))
        await house.say(moved)
        assert house.engines[-1].description.model.path == moved.path
