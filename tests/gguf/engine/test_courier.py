"""Ours: what the engine thread says reaches the event loop in order, soon, and with few wake-ups."""

from __future__ import annotations

import asyncio
import threading

from pensieve_gguf.engine.courier import PACE_S, Courier


async def test_the_first_item_is_delivered_at_once() -> None:
    courier: Courier[int] = Courier(asyncio.get_running_loop())
    inbox: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.timeout(5):
        courier.post(inbox.put_nowait, 1)
        assert await inbox.get() == 1


async def test_items_of_a_busy_thread_arrive_in_order_and_all() -> None:
    courier: Courier[int] = Courier(asyncio.get_running_loop())
    inbox: asyncio.Queue[int] = asyncio.Queue()

    def talk() -> None:
        for number in range(20_000):
            courier.post(inbox.put_nowait, number)

    talker = threading.Thread(target=talk)
    talker.start()
    async with asyncio.timeout(20):
        heard = [await inbox.get() for _ in range(20_000)]
    talker.join()
    assert heard == list(range(20_000))


async def test_each_recipient_gets_its_own() -> None:
    courier: Courier[str] = Courier(asyncio.get_running_loop())
    left: asyncio.Queue[str] = asyncio.Queue()
    right: asyncio.Queue[str] = asyncio.Queue()
    courier.post(left.put_nowait, "l")
    courier.post(right.put_nowait, "r")
    async with asyncio.timeout(5):
        assert (await left.get(), await right.get()) == ("l", "r")


def test_what_is_said_to_a_closed_event_loop_is_dropped_and_harms_nobody() -> None:
    """`asyncio.run` ended with a generation still open: the engine thread goes on for the others."""
    loop = asyncio.new_event_loop()
    courier: Courier[int] = Courier(loop)
    loop.close()
    heard: list[int] = []
    for number in range(3):
        courier.post(heard.append, number)
    assert heard == []
    assert not courier._outbox


async def test_what_comes_fast_is_delivered_together() -> None:
    courier: Courier[int] = Courier(asyncio.get_running_loop())
    loop = asyncio.get_running_loop()
    arrivals: list[tuple[int, float]] = []
    done = asyncio.Event()

    def receive(number: int) -> None:
        arrivals.append((number, loop.time()))
        if number == 2:
            done.set()

    async with asyncio.timeout(5):
        courier.post(receive, 0)
        while not arrivals:  # noqa: ASYNC110 - one round of the event loop
            await asyncio.sleep(0)
        courier.post(receive, 1)
        await asyncio.sleep(0)
        courier.post(receive, 2)
        await done.wait()
    (_, first), (_, second), (_, third) = arrivals
    assert second - first >= PACE_S * 0.9
    assert third - second < PACE_S
