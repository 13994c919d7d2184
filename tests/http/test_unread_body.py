"""Refusals whose request's body is still under way; see the trap in `middleware/unread_body.py`."""

from __future__ import annotations

import asyncio

from pensieve_http import HttpSettings
from pensieve_http.testing import build_world

_SMALL = HttpSettings(max_body_bytes=10, linger_s=2)


async def test_a_refused_client_may_finish_sending_before_the_response_ends() -> None:
    world = build_world(settings=_SMALL)
    async with world.client.open("POST", "/v1/messages") as connection:
        connection.upload(b"x" * 11, more=True)
        assert await connection.status() == 413
        assert b"request_too_large" in await connection.piece()
        assert connection.silent, "the end is held back"
        connection.upload(b"x" * 1_000, more=True)
        connection.upload(b"x", more=False)
        assert await connection.piece() == b""
        await connection.served()


async def test_a_refused_client_that_goes_on_for_ever_is_cut_after_the_linger() -> None:
    world = build_world(settings=_SMALL)
    async with world.client.open("POST", "/v1/messages") as connection:
        connection.upload(b"x" * 11, more=True)
        await connection.piece()
        await world.clock.advance(1.9)
        assert connection.silent
        await world.clock.advance(0.2)
        assert await connection.piece() == b""
        await connection.served()


async def test_the_end_of_a_response_cannot_be_blocked_by_an_unread_body() -> None:
    # Hypercorn 0.18: `send` of the last message waits for room in a queue of ten that only `receive` empties.
    world = build_world(settings=_SMALL)
    inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue(10)
    sent: list[dict[str, object]] = []
    closed = asyncio.Event()

    async def feed() -> None:
        while not closed.is_set():
            await inbox.put({"type": "http.request", "body": b"x" * 11, "more_body": True})

    async def send(message: dict[str, object]) -> None:
        sent.append(message)
        if not message.get("more_body") and message["type"] == "http.response.body":
            closed.set()
            await inbox.put({"type": "http.disconnect"})

    feeder = asyncio.ensure_future(feed())
    scope = world.client._scope("POST", "/v1/messages", {})
    serving = asyncio.ensure_future(world.app(scope, inbox.get, send))  # type: ignore[arg-type] # ASGI's loose dicts
    await world.clock.advance(2)
    await asyncio.wait_for(serving, 5)
    await asyncio.wait_for(feeder, 5)
    assert sent[-1] == {"type": "http.response.body"}


async def test_a_request_without_body_is_answered_without_waiting() -> None:
    world = build_world()
    reply = await world.client.get("/healthz")
    assert reply.status == 200
    assert world.clock.sleeping == 0
