"""What runs batches: what it may do, and what stops it and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import LogCapture

from pensieve_http.batches.machine import BatchPhase, RequestEvent, RequestState
from pensieve_http.batches.runner import BatchRunner
from pensieve_http.drain import Drain
from pensieve_http.settings import HttpSettings
from pensieve_http.storage import BatchStore, Database, FolderClaim
from pensieve_http.storage.batch_store import Batch, NewBatch, PendingRequest
from pensieve_http.testing import SoleClaim, captured_log
from pensieve_inference.testing import FakeClock

BOUND_S = 20.0
LIMITS = HttpSettings().batch_limits


class Answers:
    """Answers each request with its own id; fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.seen: list[str] = []

    async def answer(self, request: PendingRequest) -> tuple[RequestEvent, bytes]:
        self.seen.append(request.custom_id)
        if self.failures:
            raise self.failures.pop(0)
        return RequestEvent.ANSWERED, request.custom_id.encode()


class Silent(Answers):
    """Never answers."""

    async def answer(self, request: PendingRequest) -> tuple[RequestEvent, bytes]:
        self.seen.append(request.custom_id)
        await asyncio.Event().wait()
        raise AssertionError


def batch_of(*ids: str) -> NewBatch:
    return NewBatch(api_version=None, betas=(), requests=[(one, b"{}") for one in ids])


@asynccontextmanager
async def store_on(path: Path | None, clock: FakeClock) -> AsyncIterator[BatchStore]:
    database = Database(path)
    try:
        yield BatchStore(database, clock, limits=LIMITS)
    finally:
        await database.aclose()


def runner_of(store: BatchStore, answers: Answers, clock: FakeClock, **more: object) -> tuple[BatchRunner, LogCapture]:
    log, capture = captured_log()
    parts = {"claim": SoleClaim(), "clock": clock, "drain": Drain(clock), "log": log, "places": 1, **more}
    return BatchRunner(store, answers, **parts), capture  # type: ignore[arg-type] # told by name


@asynccontextmanager
async def running(runner: BatchRunner) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def settled(store: BatchStore, batch_id: str, holds: Callable[[Batch], bool]) -> Batch:
    async with asyncio.timeout(BOUND_S):
        while not holds(batch := await store.batch(batch_id)):
            pass
    return batch


def has_ended(batch: Batch) -> bool:
    return batch.phase is BatchPhase.ENDED


async def test_one_of_two_servers_runs_batches_and_the_other_takes_over(tmp_path: Path) -> None:
    clock = FakeClock()
    claims = [FolderClaim(tmp_path / "lock") for _ in range(2)]
    path = tmp_path / "pensieve.sqlite3"
    async with store_on(path, clock) as first, store_on(path, clock) as second:
        one, other = Answers(), Answers()
        batch = await first.create(batch_of("a"))
        async with running(runner_of(second, other, clock, claim=claims[1])[0]):
            await settled(first, batch.id, has_ended)
            async with running(runner_of(first, one, clock, claim=claims[0])[0]):
                later = await first.create(batch_of("b"))
                await clock.advance(10)
                await settled(first, later.id, has_ended)
                assert (one.seen, other.seen) == ([], ["a", "b"])
        async with running(runner_of(first, one, clock, claim=claims[0])[0]):
            last = await second.create(batch_of("c"))
            await clock.advance(10)
            await settled(second, last.id, has_ended)
        assert (one.seen, other.seen) == (["c"], ["a", "b"])


async def test_what_another_server_cancels_is_interrupted(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "pensieve.sqlite3"
    async with store_on(path, clock) as ours, store_on(path, clock) as theirs:
        batch = await ours.create(batch_of("a", "b"))
        silent = Silent()
        async with running(runner_of(ours, silent, clock)[0]):
            async with asyncio.timeout(BOUND_S):
                while not silent.seen:
                    await ours.batch(batch.id)
            await theirs.cancel(batch.id)
            await clock.advance(10)
            done = await settled(theirs, batch.id, has_ended)
    assert done.counts == {RequestState.CANCELED: 2}


async def test_a_bug_is_logged_and_the_request_runs_again(tmp_path: Path) -> None:
    clock = FakeClock()
    async with store_on(None, clock) as store:
        answers = Answers(ZeroDivisionError("a bug"))
        runner, log = runner_of(store, answers, clock)
        batch = await store.create(batch_of("a"))
        async with running(runner):
            async with asyncio.timeout(BOUND_S):
                while not log.entries:
                    await store.batch(batch.id)
            await clock.advance(10)
            await settled(store, batch.id, has_ended)
    assert answers.seen == ["a", "a"]
    assert [entry["event"] for entry in log.entries] == ["batch_request_crashed"]


class Torn(BatchStore):
    """Cannot be read the first time."""

    torn = True

    async def open_batches(self) -> tuple[object, ...]:  # type: ignore[override]
        if self.torn:
            self.torn = False
            raise OSError
        return await super().open_batches()


async def test_a_broken_disk_does_not_end_the_running_of_batches() -> None:
    clock, database = FakeClock(), Database(None)
    store = Torn(database, clock, limits=LIMITS)
    runner, log = runner_of(store, Answers(), clock)
    batch = await store.create(batch_of("a"))
    try:
        async with running(runner):
            await clock.advance(10)
            await settled(store, batch.id, has_ended)
    finally:
        await database.aclose()
    assert [entry["event"] for entry in log.entries] == ["batches_not_run"]


async def test_who_has_no_batches_touches_no_disk(tmp_path: Path) -> None:
    clock = FakeClock()
    folder = tmp_path / "data"
    async with store_on(folder / "pensieve.sqlite3", clock) as store:
        runner, _ = runner_of(store, Answers(), clock, claim=FolderClaim(folder / "lock"))
        task = asyncio.create_task(runner.run())
        await clock.advance(100)
        task.cancel()
        await asyncio.wait((task,))
    assert not folder.exists()


async def test_an_interrupted_request_runs_again(tmp_path: Path) -> None:
    clock = FakeClock()
    async with store_on(None, clock) as store:
        batch = await store.create(batch_of("a"))
        silent, answers = Silent(), Answers()
        async with running(runner_of(store, silent, clock)[0]):
            async with asyncio.timeout(BOUND_S):
                while not silent.seen:
                    await store.batch(batch.id)
        async with running(runner_of(store, answers, clock)[0]):
            done = await settled(store, batch.id, has_ended)
    assert done.counts == {RequestState.SUCCEEDED: 1}
    assert answers.seen == ["a"]
