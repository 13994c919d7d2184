"""Batches in the database: their requests as they came, and their results, each kept once.

What a request or a result says is bytes here. Every move goes through the tables of `batches.machine`, within one
transaction. Above: `endpoints.batches` and `batches.runner`, which may be of different servers.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence

import attrs

from pensieve_core import Clock, StorageFullError
from pensieve_http.batches.machine import (
    BatchEvent,
    BatchPhase,
    Candidate,
    OpenBatch,
    RequestEvent,
    RequestState,
    next_phase,
    next_state,
)
from pensieve_http.storage.database import Database
from pensieve_http.storage.ids import next_id

__all__ = [
    "Batch",
    "BatchLimits",
    "BatchPage",
    "BatchStore",
    "NewBatch",
    "NotEndedError",
    "PendingRequest",
    "UnknownBatchError",
]

_ROWS = 50
"""Results that are read at once."""


class UnknownBatchError(Exception):
    """There is no batch of this id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch has the id {batch_id[:100]}; list them with GET /v1/messages/batches")


class NotEndedError(Exception):
    """This can only be done with a batch that has ended."""


@attrs.frozen(kw_only=True)
class BatchLimits:
    """How much is taken, and how long it is kept."""

    max_total_bytes: int
    """Of the requests of all batches together."""
    expiry_s: float
    """How long a batch may take."""
    archival_s: float
    """How long results are kept after a batch was made."""


@attrs.frozen(kw_only=True)
class NewBatch:
    """What a client wants to be answered."""

    api_version: str | None
    betas: tuple[str, ...]
    requests: Sequence[tuple[str, bytes]]
    """Each one's own id, and its body."""


@attrs.frozen(kw_only=True)
class Batch:
    """What is known of a batch. Times are Unix seconds."""

    id: str
    phase: BatchPhase
    counts: Mapping[RequestState, int]
    created_at: float
    expires_at: float
    cancel_initiated_at: float | None
    ended_at: float | None
    archived_at: float | None


@attrs.frozen(kw_only=True)
class BatchPage:
    """Batches, the newest first."""

    batches: tuple[Batch, ...]
    has_more: bool


@attrs.frozen(kw_only=True)
class PendingRequest:
    """A request, with what its batch was sent under."""

    candidate: Candidate
    custom_id: str
    params: bytes
    api_version: str | None
    betas: tuple[str, ...]


class BatchStore:
    """Batches that survive restarts.

    Args:
        database: Closed by its owner.
        clock: For ages.
        limits: How much is taken, and how long it is kept.
    """

    def __init__(self, database: Database, clock: Clock, *, limits: BatchLimits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self.changed = asyncio.Event()
        """Set when there may be something to do for who runs batches; cleared by him."""

    @property
    def exists(self) -> bool:
        """Whether there may be any batch at all."""
        return self._database.exists

    async def create(self, new: NewBatch) -> Batch:
        """Keep a batch; it has reached the disk when this returns.

        Raises:
            StorageFullError: all batches together, or the disk.
        """
        now = self._clock.time()

        def insert(connection: sqlite3.Connection) -> Batch:
            _check_room(connection, new, self._limits)
            return _insert(connection, new, now, self._limits)

        batch = await self._database.write(insert)
        self.changed.set()
        return batch

    async def batch(self, batch_id: str) -> Batch:
        """Return what is known of a batch. Raises UnknownBatchError."""
        return await self._database.read(lambda connection: _find(connection, batch_id))

    async def page(self, *, after: str | None, before: str | None, limit: int) -> BatchPage:
        """Return batches, the newest first; a cursor is a position, as in `FileStore.page`."""
        return await self._database.read(lambda connection: _page(connection, after, before, limit))

    async def cancel(self, batch_id: str) -> Batch:
        """Let a batch come to its end soon; again, when it is about to already.

        Raises:
            UnknownBatchError, IllegalMoveError: there is none, or it has ended.
        """
        now = self._clock.time()

        def cancel(connection: sqlite3.Connection) -> Batch:
            phase = next_phase(_find(connection, batch_id).phase, BatchEvent.CANCEL)
            connection.execute(
                "UPDATE batches SET phase = ?, cancel_initiated_at = coalesce(cancel_initiated_at, ?) WHERE id = ?",
                (phase, now, batch_id),
            )
            return _find(connection, batch_id)

        batch = await self._database.write(cancel)
        self.changed.set()
        return batch

    async def remove(self, batch_id: str) -> None:
        """Forget a batch that has ended, and its results. Raises UnknownBatchError, NotEndedError."""

        def remove(connection: sqlite3.Connection) -> None:
            if _find(connection, batch_id).phase is not BatchPhase.ENDED:
                msg = "a batch can only be deleted when it has ended; cancel it first"
                raise NotEndedError(msg)
            connection.execute("DELETE FROM batches WHERE id = ?", (batch_id,))

        await self._database.write(remove)

    async def results(self, batch_id: str) -> AsyncGenerator[tuple[str, RequestState, bytes | None], None]:
        """Yield each request's own id, its end and its result, in the order of the requests."""
        position = -1
        while rows := await self._database.read(functools.partial(_results, batch_id=batch_id, after=position)):
            position = rows[-1]["position"]
            for row in rows:
                yield row["custom_id"], RequestState(row["state"]), row["result"]

    async def open_batches(self) -> tuple[OpenBatch, ...]:
        """Return those that have not ended, the oldest first. Those whose results are too old lose them."""
        now = self._clock.time()
        archived_before = now - self._limits.archival_s

        def look(connection: sqlite3.Connection) -> tuple[OpenBatch, ...]:
            _archive(connection, now, archived_before)
            rows = connection.execute(
                "SELECT id, phase, expires_at FROM batches WHERE phase != ? ORDER BY id", (BatchPhase.ENDED,)
            )
            return tuple(
                OpenBatch(id=row["id"], phase=BatchPhase(row["phase"]), expires_at=row["expires_at"]) for row in rows
            )

        return await self._database.write(look)

    async def pending(self, limit: int) -> tuple[Candidate, ...]:
        """Return at most `limit` pending requests: those of the oldest batch first, in their order."""
        statement = "SELECT batch_id, position FROM batch_requests WHERE state = ? ORDER BY batch_id, position LIMIT ?"

        def look(connection: sqlite3.Connection) -> tuple[Candidate, ...]:
            rows = connection.execute(statement, (RequestState.PENDING, limit))
            return tuple(Candidate(batch_id=row["batch_id"], position=row["position"]) for row in rows)

        return await self._database.read(look)

    async def request(self, candidate: Candidate) -> PendingRequest:
        """Return a request that is pending."""

        def look(connection: sqlite3.Connection) -> PendingRequest:
            row = connection.execute(
                "SELECT custom_id, params, api_version, betas FROM batch_requests JOIN batches ON id = batch_id"
                " WHERE batch_id = ? AND position = ?",
                (candidate.batch_id, candidate.position),
            ).fetchone()
            return PendingRequest(
                candidate=candidate,
                custom_id=row["custom_id"],
                params=row["params"],
                api_version=row["api_version"],
                betas=tuple(filter(None, row["betas"].split(","))),
            )

        return await self._database.read(look)

    async def settle(self, candidate: Candidate, event: RequestEvent, result: bytes) -> None:
        """Keep the result of a pending request; its batch ends with the last one.

        Raises:
            IllegalMoveError: it has a result.
        """
        now = self._clock.time()

        def settle(connection: sqlite3.Connection) -> None:
            _settle(connection, candidate, event, result)
            _end_if_settled(connection, candidate.batch_id, now)

        await self._database.write(settle)

    async def end(self, batch_id: str, event: RequestEvent) -> None:
        """End a batch: `event` happens to all that is pending in it."""
        now = self._clock.time()

        def end(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE batch_requests SET state = ?, params = NULL WHERE batch_id = ? AND state = ?",
                (next_state(RequestState.PENDING, event), batch_id, RequestState.PENDING),
            )
            _end_if_settled(connection, batch_id, now)

        await self._database.write(end)


def _check_room(connection: sqlite3.Connection, new: NewBatch, limits: BatchLimits) -> None:
    (kept,) = connection.execute("SELECT coalesce(sum(size_bytes), 0) FROM batch_requests").fetchone()
    if kept + sum(len(params) for _, params in new.requests) > limits.max_total_bytes:
        raise StorageFullError(f"all batches together may have {limits.max_total_bytes} bytes", things="batches")


def _insert(connection: sqlite3.Connection, new: NewBatch, now: float, limits: BatchLimits) -> Batch:
    (last,) = connection.execute("SELECT max(id) FROM batches").fetchone()
    batch_id = next_id("msgbatch", now, last)
    connection.execute(
        "INSERT INTO batches (id, phase, api_version, betas, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        (batch_id, BatchPhase.IN_PROGRESS, new.api_version, ",".join(new.betas), now, now + limits.expiry_s),
    )
    connection.executemany(
        "INSERT INTO batch_requests (batch_id, position, custom_id, state, size_bytes, params)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            (batch_id, position, custom_id, RequestState.PENDING, len(params), params)
            for position, (custom_id, params) in enumerate(new.requests)
        ),
    )
    return _find(connection, batch_id)


def _find(connection: sqlite3.Connection, batch_id: str) -> Batch:
    row = connection.execute("SELECT * FROM batches WHERE id = ?", (batch_id,)).fetchone()
    if row is None:
        raise UnknownBatchError(batch_id)
    return _batch(connection, row)


def _batch(connection: sqlite3.Connection, row: sqlite3.Row) -> Batch:
    statement = "SELECT state, count(*) FROM batch_requests WHERE batch_id = ? GROUP BY state"
    counts = {RequestState(state): count for state, count in connection.execute(statement, (row["id"],))}
    return Batch(
        id=row["id"],
        phase=BatchPhase(row["phase"]),
        counts=counts,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        cancel_initiated_at=row["cancel_initiated_at"],
        ended_at=row["ended_at"],
        archived_at=row["archived_at"],
    )


def _page(connection: sqlite3.Connection, after: str | None, before: str | None, limit: int) -> BatchPage:
    where, order = ("id > :cursor", "ASC") if before is not None else (":cursor IS NULL OR id < :cursor", "DESC")
    rows = connection.execute(
        f"SELECT * FROM batches WHERE {where} ORDER BY id {order} LIMIT :rows",  # noqa: S608 - constants
        {"cursor": before or after, "rows": limit + 1},
    ).fetchall()
    batches = [_batch(connection, row) for row in rows[:limit]]
    ordered = tuple(sorted(batches, key=lambda batch: batch.id, reverse=True))
    return BatchPage(batches=ordered, has_more=len(rows) > limit)


def _results(connection: sqlite3.Connection, *, batch_id: str, after: int) -> list[sqlite3.Row]:
    statement = "SELECT * FROM batch_requests WHERE batch_id = ? AND position > ? ORDER BY position LIMIT ?"
    return connection.execute(statement, (batch_id, after, _ROWS)).fetchall()


def _settle(connection: sqlite3.Connection, candidate: Candidate, event: RequestEvent, result: bytes) -> None:
    key = (candidate.batch_id, candidate.position)
    (state,) = connection.execute(
        "SELECT state FROM batch_requests WHERE batch_id = ? AND position = ?", key
    ).fetchone() or (RequestState.CANCELED,)
    connection.execute(
        "UPDATE batch_requests SET state = ?, result = ?, size_bytes = ?, params = NULL"
        " WHERE batch_id = ? AND position = ?",
        (next_state(RequestState(state), event), result, len(result), *key),
    )


def _end_if_settled(connection: sqlite3.Connection, batch_id: str, now: float) -> None:
    batch = _find(connection, batch_id)
    if RequestState.PENDING not in batch.counts:
        phase = next_phase(batch.phase, BatchEvent.SETTLED)
        connection.execute("UPDATE batches SET phase = ?, ended_at = ? WHERE id = ?", (phase, now, batch_id))


def _archive(connection: sqlite3.Connection, now: float, created_before: float) -> None:
    old = "SELECT id FROM batches WHERE phase = 'ended' AND archived_at IS NULL AND created_at <= :before"
    connection.execute(
        f"UPDATE batch_requests SET result = NULL, size_bytes = 0 WHERE batch_id IN ({old})",  # noqa: S608 - constants
        {"before": created_before},
    )
    connection.execute(
        f"UPDATE batches SET archived_at = :now WHERE id IN ({old})",  # noqa: S608 - constants
        {"now": now, "before": created_before},
    )
