from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pensieve_core import GenerationRequest
from pensieve_http.testing import build_world
from pensieve_inference.testing import ScriptedEngine, ScriptedProvider

Body = Callable[..., dict[str, Any]]


async def test_the_count_is_what_the_same_request_is_charged(body: Body) -> None:
    world = build_world()
    request = body(system="Be brief", tools=[{"name": "Bash", "input_schema": {"type": "object"}}])
    counted = await world.client.post("/v1/messages/count_tokens?beta=true", request)
    answered = await world.client.post("/v1/messages", request)
    assert counted.json() == {"input_tokens": answered.json()["usage"]["input_tokens"]}


async def test_counting_needs_no_max_tokens_and_generates_nothing(body: Body) -> None:
    world = build_world()
    request = body()
    del request["max_tokens"]
    assert (await world.client.post("/v1/messages/count_tokens", request)).status == 200
    assert not world.engine.requests


class SlowCounter(ScriptedEngine):
    """Never comes to the end of a prompt."""

    counting = 0

    async def count_tokens(self, request: GenerationRequest) -> int:
        self.counting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.counting -= 1
        return 0


async def test_a_count_that_is_not_done_when_the_server_goes_down_is_a_529(body: Body) -> None:
    world = build_world(provider=lambda _: ScriptedProvider(SlowCounter()))
    async with world.client.open("POST", "/v1/messages/count_tokens", json=body()) as connection:
        await world.clock.advance(0)
        world.drain.begin(1)
        await world.clock.advance(1)
        assert (await connection.reply()).status == 529


async def test_a_client_that_leaves_stops_the_count(body: Body) -> None:
    slow = SlowCounter()
    world = build_world(provider=lambda _: ScriptedProvider(slow))
    async with world.client.open("POST", "/v1/messages/count_tokens", json=body()) as connection:
        await world.clock.advance(0)
        assert slow.counting == 1
        connection.disconnect()
        await connection.served()
    assert slow.counting == 0
