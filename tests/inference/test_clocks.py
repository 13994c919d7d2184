"""The real clock, and the one that a test moves by hand."""

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Clock
from pensieve_inference import SystemClock
from pensieve_inference.testing import FakeClock


async def test_the_system_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic()
    await clock.sleep(0.001)
    assert before + 0.001 <= clock.monotonic() <= time.monotonic()
    assert abs(clock.time() - time.time()) < 60


async def test_the_fake_clock_stands_until_it_is_moved() -> None:
    clock = FakeClock(start=5.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 5.0)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (7.5, 7.5)


async def test_a_sleep_of_nothing_lets_others_run() -> None:
    clock = FakeClock()
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await clock.sleep(0)
    assert ran.is_set()
    assert clock.sleeping == 0


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(1.0))
    await asyncio.sleep(0)
    assert clock.sleeping == 1
    sleeper.cancel()
    await asyncio.sleep(0)
    assert clock.sleeping == 0
    await clock.advance(2.0)
    assert sleeper.cancelled()


async def test_a_sleeper_that_sleeps_again_is_woken_in_the_same_advance() -> None:
    clock = FakeClock()
    times: list[float] = []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(10.0)
            times.append(clock.monotonic())

    ticking = asyncio.ensure_future(tick())
    await asyncio.sleep(0)
    await clock.advance(25.0)
    assert times == [1010.0, 1020.0]
    ticking.cancel()


@given(naps=st.lists(st.floats(0.1, 100.0), max_size=8), until=st.floats(0.0, 100.0))
def test_sleepers_wake_in_order_at_their_own_time(naps: list[float], until: float) -> None:
    async def scenario() -> list[tuple[float, float]]:
        clock = FakeClock(start=0.0)
        woken: list[tuple[float, float]] = []

        async def nap(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((seconds, clock.monotonic()))

        sleepers = [asyncio.ensure_future(nap(seconds)) for seconds in naps]
        await asyncio.sleep(0)
        await clock.advance(until)
        assert clock.monotonic() == until
        assert clock.sleeping == len(naps) - len(woken)
        for sleeper in sleepers:
            sleeper.cancel()
        return woken

    assert asyncio.run(scenario()) == [(nap, nap) for nap in sorted(naps) if nap <= until]
