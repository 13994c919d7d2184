"""Admission: a bounded number of requests at work, a bounded number waiting, the rest refused at once.

The engine schedules what it is given; this gate keeps what it is given finite. Those who wait are let in by
priority, then by arrival. Above: the endpoints. Below: nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from pensieve_core import OverloadedError, Priority

__all__ = ["Gate"]

_RETRY_AFTER_S = 10


@attrs.frozen(order=True)
class _Waiter:
    priority: Priority
    arrival: int
    turn: asyncio.Future[None] = attrs.field(order=False)


class Gate:
    """Lets `places` requests in at a time, while `queue` more wait.

    Invariant: nobody waits while a place is free; `running <= places` and `waiting <= queue`.
    """

    def __init__(self, *, places: int, queue: int) -> None:
        self._places = places
        self._queue = queue
        self._waiters: list[_Waiter] = []
        self._arrivals = itertools.count()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiters)

    @asynccontextmanager
    async def place(self, priority: Priority = Priority.MAIN) -> AsyncIterator[None]:
        """Hold a place, waiting for it if need be.

        Raises:
            OverloadedError: at once, when the queue is full as well.
        """
        await self._enter(priority)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, priority: Priority) -> None:
        if self.running < self._places:
            self.running += 1
            return
        if len(self._waiters) >= self._queue:
            msg = f"{self.running} requests are at work and {len(self._waiters)} wait; try again later"
            raise OverloadedError(msg, retry_after_s=_RETRY_AFTER_S)
        await self._wait(priority)

    async def _wait(self, priority: Priority) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(priority, next(self._arrivals), turn)
        heapq.heappush(self._waiters, waiter)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.turn.cancelled():  # the place came in the same step as the cancellation
            self._leave()
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
            heapq.heapify(self._waiters)

    def _leave(self) -> None:
        """Pass the place on to the next who still wants it."""
        while self._waiters:
            turn = heapq.heappop(self._waiters).turn
            if not turn.cancelled():
                turn.set_result(None)
                return
        self.running -= 1
