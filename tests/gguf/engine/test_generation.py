"""Ours: what a client holds of a generation. The engine thread is the test, which hands over what it likes."""

from __future__ import annotations

import asyncio
from typing import cast

import attrs
import pytest

from pensieve_core import (
    EngineFailedError,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    PromptUsage,
    TextProduced,
    Usage,
)
from pensieve_gguf.engine.courier import Courier
from pensieve_gguf.engine.generation import GenerationItem, GgufGeneration
from pensieve_gguf.engine.loop import EngineLoop

FINISHED = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=1))


@attrs.define
class Engine:
    """Notes what is cancelled, and who has let go."""

    cancelled: list[int] = attrs.field(factory=list)
    released: list[int] = attrs.field(factory=list)

    def cancel(self, key: int) -> None:
        self.cancelled.append(key)

    def open(self) -> GgufGeneration:
        courier: Courier[GenerationItem] = Courier(asyncio.get_running_loop())
        loop = cast("EngineLoop", self)
        prompt = PromptUsage(prompt_tokens=1)
        return GgufGeneration(prompt, 7, loop, courier, lambda one: self.released.append(one.key))


async def rest(generation: GgufGeneration) -> list[GenerationEvent]:
    async with asyncio.timeout(20):
        return [event async for event in generation]


async def test_events_come_in_order_and_the_last_one_lets_go() -> None:
    engine = Engine()
    generation = engine.open()
    events: list[GenerationEvent] = [TextProduced(text="a"), TextProduced(text="b"), FINISHED]
    for event in events:
        generation.event(event)
    assert await rest(generation) == events
    assert engine.released == [7]
    assert await rest(generation) == []


async def test_after_the_end_there_is_nothing_to_cancel() -> None:
    engine = Engine()
    generation = engine.open()
    generation.event(FINISHED)
    await rest(generation)
    generation.cancel()
    await generation.aclose()
    assert engine.cancelled == []


async def test_a_failure_is_raised_once_and_lets_go() -> None:
    engine = Engine()
    generation = engine.open()
    generation.failed(EngineFailedError("torn"))
    with pytest.raises(EngineFailedError, match="torn"):
        await rest(generation)
    assert engine.released == [7]
    assert await rest(generation) == []


async def test_whoever_waits_is_woken_when_it_is_cancelled() -> None:
    engine = Engine()
    generation = engine.open()
    waiting = asyncio.ensure_future(rest(generation))
    await asyncio.sleep(0)
    generation.cancel()
    assert await waiting == []
    assert (engine.cancelled, engine.released) == ([7], [7])


async def test_closing_it_before_its_end_cancels_it() -> None:
    engine = Engine()
    generation = engine.open()
    generation.event(TextProduced(text="a"))
    await generation.aclose()
    assert (engine.cancelled, engine.released) == ([7], [7])
    assert await rest(generation) == []
