"""Carries what the engine thread says to the event loop: in order, and in batches when it comes fast.

Waking the event loop, this process's and then the server's, costs far more than an event, and where all cores compute
it costs their time. So at most one delivery is made per `PACE_S`; what comes more slowly is delivered at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PACE_S", "Courier"]

PACE_S = 0.033
"""Thirty times a second: nobody sees more, and a token more slowly sampled than this is never held back."""

Item = TypeVar("Item")


class Courier(Generic[Item]):
    """One way from a thread to `loop`.

    Args:
        loop: Where deliveries happen.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outbox: deque[tuple[Callable[[Item], None], Item]] = deque()
        self._under_way = False
        self._delivered_at = 0.0

    def post(self, recipient: Callable[[Item], None], item: Item, *, at_once: bool = False) -> None:
        """Let `recipient(item)` be called in the event loop, soon, unless that is closed. From any thread.

        `at_once`: without waiting, and with it all that was posted before.
        """
        self._outbox.append((recipient, item))
        if at_once or not self._under_way:
            self._under_way = True
            try:
                self._loop.call_soon_threadsafe(self._deliver if at_once else self._leave)
            except RuntimeError:  # the event loop is closed: who waited there is gone, and the thread has others
                self._outbox.clear()
                self._under_way = False

    def _leave(self) -> None:
        wait = self._delivered_at + PACE_S - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._deliver)
        else:
            self._deliver()

    def _deliver(self) -> None:
        # First the flag: what is posted from here on starts a new delivery, or is taken along by this one.
        self._under_way = False
        self._delivered_at = self._loop.time()
        while self._outbox:
            recipient, item = self._outbox.popleft()
            recipient(item)
