"""The shipped test client, over small applications of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pensieve_http.testing import AppClient, EventReader, ServerSentEvent

_START = {"type": "http.response.start", "status": 200, "headers": [(b"x-name", b"value")]}


async def _counting(scope: Any, receive: Any, send: Any) -> None:
    """Stream numbers until the client leaves."""
    await send(_START)
    sending = asyncio.ensure_future(_count(send))
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()


async def _count(send: Any) -> None:
    number = 0
    while True:
        await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        number += 1


async def test_a_stream_reaches_the_test_piece_by_piece_and_waits_when_it_is_not_read() -> None:
    async with AppClient(_counting, window=2).open("GET", "/") as connection:
        assert (await connection.headers())["x-name"] == "value"
        assert [await connection.piece() for _ in range(3)] == [b"0", b"1", b"2"]


async def test_leaving_the_block_leaves_the_application() -> None:
    left = asyncio.Event()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        await _counting(scope, receive, send)
        left.set()

    async with AppClient(counting).open("GET", "/") as connection:
        assert await connection.status() == 200
        assert not left.is_set()
    await connection.served()
    assert left.is_set()


async def test_an_application_that_crashes_before_its_response_shows_in_the_test() -> None:
    async def crashes(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError(scope["path"])

    with pytest.raises(LookupError, match="/x y"):
        await AppClient(crashes).get("/x%20y")


async def test_an_application_that_never_answers_is_an_end_of_file() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    with pytest.raises(EOFError):
        await AppClient(silent).get("/")


async def test_the_body_ends_where_the_application_ends_it() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send(_START)
        await send({"type": "http.response.body", "body": body})

    async with AppClient(answers).open("POST", "/?a=b", body=b"echo") as connection:
        assert [await connection.piece(), await connection.piece()] == [b"echo", b""]


def test_events_are_read_across_any_cut() -> None:
    reader = EventReader()
    assert reader.feed(b"event: ping\ndata: {}") == []
    assert reader.feed(b"\n\nevent: a") == [ServerSentEvent("ping", {})]


@pytest.mark.parametrize("frame", [b"data: {}\nevent: x\n\n", b"event: x\n\n", b"event: x\ndata: {\n\n"])
def test_what_is_no_event_with_name_and_json_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|unpack|unexpected|JSON"):
        EventReader().feed(frame)


async def test_a_client_that_has_left_stays_left_and_takes_nothing_more() -> None:
    seen: list[str] = []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await send(_START)
        while len(seen) < 3:
            seen.append((await receive())["type"])
            await send({"type": "http.response.body", "body": b"", "more_body": True})

    async with AppClient(stubborn).open("POST", "/") as connection:
        await connection.status()
        connection.disconnect()
        await connection.served()
        assert connection.silent
    assert seen == ["http.disconnect"] * 3
