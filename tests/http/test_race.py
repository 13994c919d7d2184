from __future__ import annotations

import asyncio

import pytest

from pensieve_http.errors import ClientGoneError
from pensieve_http.race import client_gone, race


async def _forever(log: list[str]) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        log.append("cleaned up")
    return "never"


async def _soon(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def test_the_first_to_end_decides_and_the_others_clean_up_before_the_call_returns() -> None:
    log: list[str] = []
    assert await race(_forever(log), _soon("won"), companions=[_forever(log)]) == "won"
    assert log == ["cleaned up", "cleaned up"]


async def test_of_two_that_end_together_the_one_named_first_counts() -> None:
    assert await race(_soon("first"), _soon("second")) == "first"


async def test_a_companion_that_ends_decides_nothing() -> None:
    async def later() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "contender"

    assert await race(later(), companions=[_soon("companion")]) == "contender"


async def test_the_winners_exception_is_the_races() -> None:
    async def fails() -> str:
        return str(int("no"))

    log: list[str] = []
    with pytest.raises(ValueError, match="invalid literal"):
        await race(fails(), _forever(log))


async def test_cancelling_the_race_cancels_and_awaits_everybody() -> None:
    log: list[str] = []
    running = asyncio.ensure_future(race(_forever(log), companions=[_forever(log)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log == ["cleaned up", "cleaned up"]


async def test_a_client_is_gone_when_it_disconnects_and_not_before() -> None:
    messages = iter(["http.request", "http.request", "http.disconnect", "http.never"])

    async def receive() -> dict[str, str]:
        return {"type": next(messages)}

    with pytest.raises(ClientGoneError):
        await client_gone(receive)
    assert next(messages) == "http.never"
