"""Going down without hurting anybody who can still be served.

    OPEN --begin(deadline_s)--> DRAINING --deadline--> EXPIRED

OPEN: all are let in. DRAINING: new requests get 529, running ones go on. EXPIRED: the work of those that are left
is cancelled, and their clients are told. Hypercorn is told to stop only afterwards, by `pensieve_cli`: from Python
3.12 on its own `graceful_timeout` never applies while a stream is open.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator
from contextlib import contextmanager

from pensieve_core import Clock, OverloadedError

__all__ = ["Drain"]

_RETRY_AFTER_S = 15


def _going_down() -> OverloadedError:
    return OverloadedError("the server is shutting down", retry_after_s=_RETRY_AFTER_S)


class _Phase(enum.Enum):
    OPEN = enum.auto()
    DRAINING = enum.auto()
    EXPIRED = enum.auto()


class Drain:
    """Counts the requests in flight, and ends them when the server goes down. Belongs to one event loop.

    Args:
        clock:
            What the deadline is measured on.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._holders: set[asyncio.Task[object]] = set()
        self._deadline: asyncio.Task[None] | None = None
        self._phase = _Phase.OPEN

    @property
    def draining(self) -> bool:
        """Nobody is let in any more."""
        return self._phase is not _Phase.OPEN

    @property
    def in_flight(self) -> int:
        """Requests that have come in and are not answered completely."""
        return self._in_flight

    def begin(self, deadline_s: float) -> None:
        """Refuse new requests from now on, and end the running ones after `deadline_s`. Later calls do nothing."""
        if self.draining:
            return
        self._phase = _Phase.DRAINING
        if self._in_flight:
            self._deadline = asyncio.get_running_loop().create_task(self._expire(deadline_s))

    async def wait_idle(self) -> None:
        """Return when no request is in flight. A client that does not read may hold it up; bound the wait."""
        await self._idle.wait()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request until its last byte is written.

        Raises:
            OverloadedError: the server is going down.
        """
        if self.draining:
            raise _going_down()
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._note_idle()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let the deadline cancel the calling task while it is in here.

        Raises:
            OverloadedError: out of the block, in place of that cancellation (the way of `asyncio.timeout`).
        """
        if self._has_expired():
            raise _going_down()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an invariant: coroutines run in tasks
        earlier = task.cancelling()
        self._holders.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._has_expired() and task.uncancel() <= earlier:
                raise _going_down() from None
            raise
        finally:
            self._holders.discard(task)

    def _has_expired(self) -> bool:
        return self._phase is _Phase.EXPIRED

    def _note_idle(self) -> None:
        if self._in_flight:
            return
        self._idle.set()
        if self._deadline is not None:
            self._deadline.cancel()

    async def _expire(self, deadline_s: float) -> None:
        await self._clock.sleep(deadline_s)
        self._phase = _Phase.EXPIRED
        for task in self._holders:
            task.cancel()
