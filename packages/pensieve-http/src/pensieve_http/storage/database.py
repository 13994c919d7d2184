"""One SQLite file, behind one thread: the event loop never waits for a disk, and there is one writer.

WAL, and every commit reaches the disk: what a client was told is kept is there after a power cut. Readers in other
processes see whole transactions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pensieve_core import StorageFullError

__all__ = ["Database", "private_folder"]

T = TypeVar("T")

_STEPS = (
    """
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    filename TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    purged INTEGER NOT NULL DEFAULT 0
) STRICT;
""",
    """
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    api_version TEXT,
    betas TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    cancel_initiated_at REAL,
    ended_at REAL,
    archived_at REAL
) STRICT;
CREATE TABLE batch_requests (
    batch_id TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    state TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    params BLOB,
    result BLOB,
    PRIMARY KEY (batch_id, position)
) STRICT;
CREATE INDEX batch_requests_by_state ON batch_requests (state, batch_id, position);
""",
)
"""What makes each version of the schema out of the one before."""
_BUSY_S = 10.0
"""How long a transaction waits for those of other processes."""


class Database:
    """The database, opened when it is first used. Belongs to one event loop.

    Args:
        path: The file; it and its folder are created when they are missing. None: in memory, for tests.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self._path is None or self._path.exists()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` does, in the database's thread; it sees one state of the database.

        Raises:
            StorageFullError: the disk is full.
        """
        return await self._in_thread("DEFERRED", work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` does, as one transaction that has reached the disk: all of it happens or nothing.

        Nobody else writes meanwhile, in no process. A cancelled caller does not stop a transaction that has begun.

        Raises:
            StorageFullError: the disk is full.
        """
        return await self._in_thread("IMMEDIATE", work)

    async def aclose(self) -> None:
        """Close the file, when all that was begun is done. Idempotent."""
        await asyncio.to_thread(self._close)

    async def _in_thread(self, kind: str, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, kind, work)

    def _transact(self, kind: str, work: Callable[[sqlite3.Connection], T]) -> T:
        with _translated(), _transaction(self._open(), kind) as connection:
            return work(connection)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._thread.submit(self._connection.close).result()
            self._connection = None
        self._thread.shutdown()


def private_folder(path: Path) -> None:
    """Create a folder that nobody else may look into, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        private_folder(path.parent)
    connection = sqlite3.connect(path or ":memory:", timeout=_BUSY_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    with _transaction(connection, "IMMEDIATE"):
        _migrate(connection)
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that this database has not taken yet."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_STEPS):
        raise sqlite3.DatabaseError(f"the data folder was written by a later Pensieve (its version is {version})")
    for step in _STEPS[version:]:
        for statement in step.split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_STEPS)}")


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[sqlite3.Connection]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        msg = "the disk is full"
        raise StorageFullError(msg, things="files and batches") from error
