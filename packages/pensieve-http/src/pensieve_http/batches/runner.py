"""Runs batches, beside everything else and after everything else: the shell around `machine.plan`.

One of the servers that share a data folder runs them, the one that holds the claim; when it ends, another takes over
within `poll_s`. What is interrupted (the server goes down, or is too busy) stays pending and runs again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from pensieve_core import Clock, OverloadedError
from pensieve_http.batches.machine import Candidate, OpenBatch, RequestEvent, plan
from pensieve_http.drain import Drain
from pensieve_http.race import race
from pensieve_http.storage.batch_store import BatchStore, PendingRequest

__all__ = ["BatchRunner", "Claim", "RequestAnswerer"]

_POLL_S = 10.0


class RequestAnswerer(Protocol):
    """Answers one request of a batch (`answerer.BatchAnswerer`)."""

    async def answer(self, request: PendingRequest) -> tuple[RequestEvent, bytes]:
        """Return how it went, and the result that is kept.

        Raises:
            OverloadedError: not now; it is to be tried again.
        """
        ...


class Claim(Protocol):
    """The right to run the batches of a data folder (`storage.FolderClaim`)."""

    def take(self) -> bool:
        """Return whether it is ours, now or since long."""
        ...

    def release(self) -> None:
        """Let another server have it. Idempotent."""
        ...


class BatchRunner:
    """Runs what is pending, until it is cancelled.

    Args:
        store: What there is to run.
        answerer: Who runs it.
        claim: Whether we may.
        clock: For expiry, and for waiting.
        drain: Requests that run are in flight for it; none is begun once it has begun.
        log: For what nobody foresaw.
        places: How many requests are run at a time.
        poll_s: How often to look for what other servers have done to the store.
    """

    def __init__(
        self,
        store: BatchStore,
        answerer: RequestAnswerer,
        *,
        claim: Claim,
        clock: Clock,
        drain: Drain,
        log: FilteringBoundLogger,
        places: int,
        poll_s: float = _POLL_S,
    ) -> None:
        self._store = store
        self._answerer = answerer
        self._claim = claim
        self._clock = clock
        self._drain = drain
        self._log = log
        self._places = places
        self._poll_s = poll_s
        self._running: dict[Candidate, asyncio.Task[None]] = {}
        self._busy_until = 0.0
        """On the monotonic clock: an engine had no room, and said when to ask again."""

    async def run(self) -> None:
        """Run batches until cancelled; what runs then is interrupted."""
        try:
            while True:
                self._store.changed.clear()
                nap_s = await self._guarded_round()
                await race(self._woken(), self._clock.sleep(nap_s))
        finally:
            await self._interrupt(self._running)
            self._claim.release()

    async def _guarded_round(self) -> float:
        try:
            return await self._round() if self._store.exists and self._claim.take() else self._poll_s
        except Exception as error:  # noqa: BLE001 - the loop that runs batches: a full disk must not end it
            self._log.error("batches_not_run", exc_info=error)
            return self._poll_s

    async def _round(self) -> float:
        """Do what is due; return how long nothing will be, unless something happens."""
        now = self._clock.time()
        batches = await self._store.open_batches()
        pending = await self._store.pending(self._places + len(self._running))
        todo = plan(batches, pending, running=self._running, places=self._places, now=now)
        for batch_id, event in todo.end.items():
            await self._interrupt([one for one in self._running if one.batch_id == batch_id])
            await self._store.end(batch_id, event)
        wait_s = self._busy_until - self._clock.monotonic()
        if not self._drain.draining and wait_s <= 0:
            for candidate in todo.start:
                self._running[candidate] = asyncio.create_task(self._run(candidate))
        return min(self._poll_s, *_seconds_left(batches, now), *([wait_s] if wait_s > 0 else []))

    async def _run(self, candidate: Candidate) -> None:
        try:
            with self._drain.request():
                request = await self._store.request(candidate)
                event, result = await self._answerer.answer(request)
                await asyncio.shield(self._store.settle(candidate, event, result))
        except OverloadedError as error:
            self._wait(error.retry_after_s)
        except Exception as error:  # noqa: BLE001 - as above; the request is pending still, and runs again
            self._log.error("batch_request_crashed", batch=candidate.batch_id, exc_info=error)
            self._wait(self._poll_s)
        finally:
            del self._running[candidate]
            self._store.changed.set()

    def _wait(self, seconds: float) -> None:
        self._busy_until = self._clock.monotonic() + seconds

    async def _interrupt(self, candidates: Iterable[Candidate]) -> None:
        tasks = [self._running[candidate] for candidate in candidates]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _woken(self) -> None:
        await self._store.changed.wait()


def _seconds_left(batches: Iterable[OpenBatch], now: float) -> list[float]:
    return [batch.expires_at - now for batch in batches if batch.expires_at > now]
