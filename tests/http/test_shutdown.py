"""Draining, as the clients see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pensieve_core import TextProduced
from pensieve_http.testing import build_world
from pensieve_inference.testing import Wait, say

Body = Callable[..., dict[str, Any]]


async def test_new_requests_are_refused_while_running_ones_finish(body: Body) -> None:
    world = build_world([TextProduced(text="a"), Wait(5), TextProduced(text="b")])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await connection.event()
        world.drain.begin(10)
        refused = await world.client.post("/v1/messages", body())
        assert (refused.status, refused.headers["retry-after"]) == (529, "15")
        assert (await world.client.get("/v1/other")).status == 529
        assert (await world.client.get("/healthz")).status == 200
        ready = await world.client.get("/readyz")
        assert (ready.status, ready.json()["reason"]) == (503, "the server is shutting down")
        await world.clock.advance(5)
        names = [event.name async for event in connection.events()]
    assert names[-1] == "message_stop"
    await asyncio.wait_for(world.drain.wait_idle(), 20)


async def test_at_the_deadline_the_rest_is_told_and_ended(body: Body) -> None:
    world = build_world([TextProduced(text="half"), Wait(1_000)])
    async with (
        world.client.open("POST", "/v1/messages", json=body(stream=True)) as streaming,
        world.client.open("POST", "/v1/messages", json=body()) as waiting,
    ):
        await streaming.event()
        world.drain.begin(10)
        await world.clock.advance(9)
        assert len(world.engine.running) == 2
        await world.clock.advance(2)
        *_, last = [event async for event in streaming.events()]
        whole = await waiting.reply()
    assert (last.name, last.data["error"]["type"]) == ("error", "overloaded_error")
    assert (whole.status, whole.json()["error"]["message"]) == (529, "the server is shutting down")
    assert not world.engine.running
    await asyncio.wait_for(world.drain.wait_idle(), 20)


async def test_an_answer_that_is_complete_at_the_deadline_is_delivered_to_the_slow(body: Body) -> None:
    world = build_world(say("Hello"), window=1)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        assert await connection.status() == 200
        world.drain.begin(1)
        await world.clock.advance(2)
        names = [event.name async for event in connection.events()]
    assert names[-1] == "message_stop"
