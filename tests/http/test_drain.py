from __future__ import annotations

import asyncio

import pytest

from pensieve_core import OverloadedError
from pensieve_http import Drain
from pensieve_inference.testing import FakeClock


async def _hold(drain: Drain) -> str:
    """Work that never ends by itself; says how it ended."""
    try:
        with drain.request(), drain.hold():
            await asyncio.Event().wait()
    except OverloadedError as error:
        return error.message
    return "unreachable"


async def test_a_drain_without_requests_is_idle() -> None:
    drain = Drain(FakeClock())
    for draining in (False, True):
        await asyncio.wait_for(drain.wait_idle(), 20)
        assert drain.draining == draining
        drain.begin(10)


async def test_once_begun_no_request_is_let_in() -> None:
    drain = Drain(FakeClock())
    drain.begin(10)
    assert drain.draining
    with pytest.raises(OverloadedError), drain.request():
        pytest.fail("let in")


async def test_running_requests_go_on_until_the_deadline_and_then_are_ended_with_a_reason() -> None:
    clock = FakeClock()
    drain = Drain(clock)
    work = asyncio.ensure_future(_hold(drain))
    await asyncio.sleep(0)
    drain.begin(10)
    await clock.advance(9.9)
    assert (work.done(), drain.in_flight) == (False, 1)
    await clock.advance(0.2)
    assert await work == "the server is shutting down"
    await asyncio.wait_for(drain.wait_idle(), 20)


async def test_beginning_twice_keeps_the_first_deadline() -> None:
    clock = FakeClock()
    drain = Drain(clock)
    work = asyncio.ensure_future(_hold(drain))
    await asyncio.sleep(0)
    drain.begin(10)
    drain.begin(1_000)
    await clock.advance(10)
    assert await asyncio.wait_for(work, 20)


async def test_a_drain_that_is_idle_before_its_deadline_stops_its_timer() -> None:
    clock = FakeClock()
    drain = Drain(clock)
    with drain.request():
        drain.begin(10)
        await asyncio.sleep(0)
        assert clock.sleeping == 1
    await drain.wait_idle()
    await asyncio.sleep(0)
    assert clock.sleeping == 0


async def test_work_that_starts_after_the_deadline_is_ended_before_it_begins() -> None:
    clock = FakeClock()
    drain = Drain(clock)
    with drain.request():
        drain.begin(1)
        await clock.advance(1)
        with pytest.raises(OverloadedError), drain.hold():
            pytest.fail("begun")


async def test_a_cancellation_by_somebody_else_stays_a_cancellation() -> None:
    drain = Drain(FakeClock())
    work = asyncio.ensure_future(_hold(drain))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_deadline_and_cancellation_in_the_same_moment_are_a_cancellation() -> None:
    # As in asyncio.timeout: the outer cancellation must not get lost.
    drain = Drain(FakeClock())
    work = asyncio.ensure_future(_hold(drain))
    await asyncio.sleep(0)
    await drain._expire(0)  # the deadline, now: `work` is cancelled but has not run yet
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
