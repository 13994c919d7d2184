"""Ours: a server that was started for a session does not hold the model's memory for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.http_server import Receive, Scope, Send
from pensieve_cli.idle_end import Attendance
from pensieve_inference.testing import FakeClock


class _Served:
    """An application whose requests end when the test says so."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        await self.may_end.wait()


async def _nothing(*_: Any) -> Any:
    return None


def _ask(attendance: Attendance, kind: str = "http") -> asyncio.Future[None]:
    return asyncio.ensure_future(attendance({"type": kind}, _nothing, _nothing))


async def test_it_ends_when_nobody_has_asked_for_so_long() -> None:
    clock = FakeClock()
    end = asyncio.ensure_future(Attendance(_Served(), clock).until_idle(60))
    await clock.advance(59)
    assert not end.done()
    await clock.advance(2)
    await asyncio.wait_for(end, 20)


async def test_an_answer_of_hours_keeps_it_and_the_time_counts_from_its_end() -> None:
    clock, app = FakeClock(), _Served()
    attendance = Attendance(app, clock)
    end = asyncio.ensure_future(attendance.until_idle(60))
    answer = _ask(attendance)
    await clock.advance(7_200)
    app.may_end.set()
    await answer
    for _ in range(5):
        await clock.advance(10)
    assert not end.done()
    for _ in range(7):
        await clock.advance(10)
    await asyncio.wait_for(end, 20)


async def test_a_status_line_that_asks_every_second_keeps_it() -> None:
    clock, app = FakeClock(), _Served()
    app.may_end.set()
    attendance = Attendance(app, clock)
    end = asyncio.ensure_future(attendance.until_idle(5))
    for _ in range(30):
        await clock.advance(1)
        await _ask(attendance)
    assert not end.done()
    end.cancel()


async def test_batches_keep_it_though_nobody_is_connected() -> None:
    clock, working = FakeClock(), [True]
    end = asyncio.ensure_future(Attendance(_Served(), clock, lambda: working[0]).until_idle(60))
    for _ in range(10):
        await clock.advance(60)
    assert not end.done()
    working.clear()
    working.append(False)
    for _ in range(3):
        await clock.advance(60)
    await asyncio.wait_for(end, 20)


async def test_the_lifespan_is_no_guest() -> None:
    clock = FakeClock()
    attendance = Attendance(_Served(), clock)
    lifespan = _ask(attendance, "lifespan")
    await clock.advance(61)
    assert attendance.idle_s == 61
    lifespan.cancel()


async def test_zero_means_never() -> None:
    clock = FakeClock()
    end = asyncio.ensure_future(Attendance(_Served(), clock).until_idle(0))
    for _ in range(10):
        await clock.advance(86_400)
    assert not end.done()
    end.cancel()


@given(st.lists(st.tuples(st.floats(0.1, 50), st.booleans()), max_size=20))
async def test_it_never_ends_before_its_time(pauses: list[tuple[float, bool]]) -> None:
    clock, app = FakeClock(), _Served()
    app.may_end.set()
    attendance = Attendance(app, clock)
    end = asyncio.ensure_future(attendance.until_idle(30))
    quiet = 0.0
    for seconds, asks in pauses:
        await clock.advance(seconds)
        quiet += seconds
        assert not end.done() or quiet >= 30
        if end.done():
            return
        if asks:
            await _ask(attendance)
            quiet = 0.0
    end.cancel()
