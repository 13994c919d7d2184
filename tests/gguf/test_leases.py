"""Ours: who was handed an engine may keep it, whatever becomes of the model meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import attrs
import pytest

from pensieve_core import (
    AnswerProgressed,
    EngineFailedError,
    EnginePhase,
    EngineStatus,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelBrokenError,
    ModelId,
    OverloadedError,
    PrefillProgressed,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    Turn,
)
from pensieve_gguf.leases import Lease, LeasedEngine, LeasedGeneration
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import FakeClock, Raise, Script, ScriptedEngine, Wait, make_descriptor, say
from pensieve_inference.testing.contract import (
    ENGINE_CHECKS,
    EngineCase,
    EngineCheck,
    check_name,
    check_transcript,
)

MODEL = make_descriptor("one", context_tokens=200)
FOREVER = [Wait(1e9)]
CLOSING = "the server is closing"


class Engine(ScriptedEngine):
    """An engine whose closing can be told from outside."""

    @property
    def status(self) -> EngineStatus:
        return EngineStatus(model=MODEL.id, phase=EnginePhase.CLOSED if self._closed else EnginePhase.READY)


@attrs.define(kw_only=True)
class House:
    """Gives leases of its engines: the first until that is closed, then the next."""

    engines: list[Engine]
    held: int = 0
    room: asyncio.Event = attrs.field(factory=asyncio.Event)
    error: ModelBrokenError | None = None

    async def lease(self) -> Lease:
        if len(self.engines) > 1 and self.engines[0].status.phase is EnginePhase.CLOSED:
            await self.room.wait()
            if self.error is not None:
                raise self.error
            self.engines.pop(0)
        if self.engines[0].status.phase is EnginePhase.CLOSED:
            raise OverloadedError(CLOSING)
        self.held += 1
        released = False

        def release() -> None:
            nonlocal released
            self.held -= 0 if released else 1
            released = True

        return Lease(engine=self.engines[0], release=release)

    @property
    def engine(self) -> LeasedEngine:
        return LeasedEngine(self.lease, lambda: self.engines[0].description)


def house(*scripts: Script, clock: FakeClock | None = None) -> House:
    """Return a house whose engines play one script each, and the last one for ever."""
    return House(engines=[Engine(script, model=MODEL, clock=clock, max_running=3) for script in scripts])


def request_for(text: str = "hello there", *, max_tokens: int = 100) -> GenerationRequest:
    turn = Turn(role=Role.USER, parts=(TextPart(text=text),))
    return GenerationRequest(id=RequestId("req_1"), model=MODEL.id, turns=(turn,), max_tokens=max_tokens)


async def played(engine: InferenceEngine) -> list[GenerationEvent]:
    async with contextlib.aclosing(await engine.generate(request_for())) as generation:
        return [event async for event in generation]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0)


async def sent_away(held: House, *seen: GenerationEvent) -> tuple[LeasedGeneration, asyncio.Future[GenerationEvent]]:
    """Ask, read what was `seen`, and close the engine under whoever waits for more."""
    generation = await held.engine.generate(request_for())
    for event in seen:
        assert await anext(generation) == event
    rest = asyncio.ensure_future(anext(generation))
    await asyncio.sleep(0)
    await held.engines[0].aclose()
    return generation, rest


class Closing(LeasedEngine):
    """Closes the engine behind it, which is its provider's business else."""

    def __init__(self, house: House) -> None:
        super().__init__(house.lease, lambda: house.engines[0].description)
        self._house = house

    async def aclose(self) -> None:
        await super().aclose()
        await self._house.engines[0].aclose()


OF_LEASES = [check for check in ENGINE_CHECKS if check_name(check) != "ends running generations when closed"]
"""A single engine that closes is no swap."""


@pytest.mark.parametrize("check", OF_LEASES, ids=check_name)
async def test_keeps_the_engine_contract(check: EngineCheck) -> None:
    held = house(say("once upon a time a keeper lit the lamp"))
    held.room.set()

    async def fresh() -> InferenceEngine:
        return Closing(held)

    await check(EngineCase(open_engine=fresh, request=request_for, patience_s=20.0))


async def test_a_request_holds_its_lease_to_the_last_event() -> None:
    held = house(say("one two"))
    async with contextlib.aclosing(await held.engine.generate(request_for())) as generation:
        assert held.held == 1
        events = [event async for event in generation]
        assert held.held == 0
    check_transcript(events)
    assert held.held == 0


async def test_a_request_that_is_left_lets_go() -> None:
    held = house(say("one two three"))
    async with contextlib.aclosing(await held.engine.generate(request_for())) as generation:
        await anext(generation)
    assert held.held == 0
    with pytest.raises(StopAsyncIteration):
        await anext(generation)


@pytest.mark.parametrize("script", [[Raise(EngineFailedError("it died"))], [Raise(OverloadedError("too many"))]])
async def test_a_request_that_fails_lets_go(script: Script) -> None:
    held = house(script)
    with pytest.raises((EngineFailedError, OverloadedError)):
        await played(held.engine)
    assert held.held == 0


async def test_a_request_that_is_refused_lets_go() -> None:
    held = house(say("one"))
    engine = held.engine
    with pytest.raises(Exception, match="prompt is too long"):
        await engine.generate(request_for("word " * 300))
    assert held.held == 0


async def test_tokens_are_counted_under_a_lease() -> None:
    held = house(say("one"))
    assert await held.engine.count_tokens(request_for("a b c")) == 3
    assert held.held == 0


async def test_a_model_that_makes_room_before_the_first_word_is_waited_for() -> None:
    """What the client saw of the prefill it does not see again."""
    began, again = (
        PrefillProgressed(processed_tokens=1, total_tokens=3),
        PrefillProgressed(processed_tokens=2, total_tokens=3),
    )
    held = house([began, *FOREVER], [began, again, *say("here I am")])
    generation, rest = await sent_away(held, began)
    await asyncio.sleep(0)
    held.room.set()
    assert await rest == again
    events = [event async for event in generation]
    assert [event.text for event in events if isinstance(event, TextProduced)] == ["here", " I", " am"]
    assert isinstance(events[-1], GenerationFinished)
    assert held.held == 0


async def test_a_model_that_makes_room_when_nobody_has_seen_what_it_wrote_is_waited_for() -> None:
    written = AnswerProgressed(generated_tokens=16)
    held = house([written, *FOREVER], say("here"))
    held.room.set()
    generation, rest = await sent_away(held, written)
    assert await rest == TextProduced(text="here")
    await generation.aclose()
    assert held.held == 0


async def test_a_model_that_makes_room_in_the_middle_of_an_answer_says_so() -> None:
    held = house([*say("once"), *FOREVER], say("again"))
    held.room.set()
    _, rest = await sent_away(held, TextProduced(text="once"))
    with pytest.raises(OverloadedError, match="make room"):
        await rest
    assert held.held == 0


async def test_who_leaves_while_waiting_for_another_turn_is_let_go() -> None:
    held = house(FOREVER, say("again"))
    generation, rest = await sent_away(held)
    await until(lambda: held.held == 0)
    await asyncio.sleep(0)
    generation.cancel()
    with pytest.raises(StopAsyncIteration):
        await rest
    await generation.aclose()
    assert held.held == 0


async def test_who_is_cancelled_while_waiting_for_another_turn_is_cancelled() -> None:
    held = house(FOREVER, say("again"))
    generation, rest = await sent_away(held)
    await until(lambda: held.held == 0)
    await asyncio.sleep(0)
    rest.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rest
    await generation.aclose()
    assert held.held == 0


async def test_a_model_that_does_not_come_back_is_told() -> None:
    held = house(FOREVER, say("again"))
    _, rest = await sent_away(held)
    held.error = ModelBrokenError(ModelId("one"), "the file is gone")
    held.room.set()
    with pytest.raises(ModelBrokenError, match="the file is gone"):
        await rest
    assert held.held == 0


class TooLate(House):
    """Closes the first engine just when it is handed out."""

    async def lease(self) -> Lease:
        lease = await super().lease()
        if len(self.engines) > 1:
            await self.engines[0].aclose()
        return lease


async def test_who_comes_when_the_engine_has_just_closed_waits_for_the_next() -> None:
    held = TooLate(engines=house(say("never"), say("again")).engines)
    held.room.set()
    assert await held.engine.count_tokens(request_for("a b")) == 2
    assert held.held == 0


async def test_who_is_refused_by_an_engine_that_has_just_closed_is_admitted_by_the_next() -> None:
    held = TooLate(engines=house(say("never"), say("again")).engines)
    held.room.set()
    events = await played(held.engine)
    assert [event.text for event in events if isinstance(event, TextProduced)] == ["again"]
    assert held.held == 0


async def test_an_engine_that_is_full_is_not_waited_for() -> None:
    held = house(FOREVER)
    running = [await held.engine.generate(request_for()) for _ in range(3)]
    with pytest.raises(OverloadedError, match="the queue is full"):
        await held.engine.generate(request_for())
    for generation in running:
        await generation.aclose()
    assert held.held == 0


class Full(Engine):
    async def count_tokens(self, request: GenerationRequest) -> int:
        raise OverloadedError(request.id)


async def test_a_full_engine_is_not_asked_for_ever_to_count() -> None:
    held = House(engines=[Full(say("x"), model=MODEL)])
    with pytest.raises(OverloadedError, match="req_1"):
        await held.engine.count_tokens(request_for())
    assert held.held == 0
