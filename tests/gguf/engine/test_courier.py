"""Ours: what the engine thread says reaches the event loop in order, soon, and with few wake-ups."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from pensieve_gguf.engine.courier import PACE_S, Courier


class HandMovedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands until it is moved."""

    _now = 1_000.0

    def time(self) -> float:
        return self._now

    def move(self, seconds: float) -> None:
        """Let the time pass, and do all that is due."""
        self._now += seconds
        self.run_until_complete(self._rounds())

    async def _rounds(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


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


def test_what_comes_fast_is_delivered_together() -> None:
    with contextlib.closing(HandMovedLoop()) as loop:
        courier: Courier[int] = Courier(loop)
        heard: list[int] = []
        courier.post(heard.append, 0)
        loop.move(0.0)
        assert heard == [0], "the first is not held back"
        courier.post(heard.append, 1)
        loop.move(PACE_S / 2)
        courier.post(heard.append, 2)
        loop.move(0.0)
        assert heard == [0]
        loop.move(PACE_S / 2)
        assert heard == [0, 1, 2]


def test_what_cannot_wait_takes_along_what_was_posted_before() -> None:
    with contextlib.closing(HandMovedLoop()) as loop:
        courier: Courier[int] = Courier(loop)
        heard: list[int] = []
        courier.post(heard.append, 0)
        loop.move(0.0)
        courier.post(heard.append, 1)
        courier.post(heard.append, 2, at_once=True)
        loop.move(0.0)
        assert heard == [0, 1, 2]
