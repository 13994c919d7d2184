"""Which anchors there are: a cache of the files' own headers, in SQLite, shared by all processes.

Nothing in it is believed when a state is loaded: the file is the truth. So an index that is damaged, or gone, is left
where it lies, and a new one is filled from the files under the next number: `index-2.0.sqlite`, `index-2.1.sqlite`…
(the first number is the layout's). Renaming a database, or unlinking one, under another process that has it open would
make that one remove the new one's log when it closes; a number that only grows needs no agreement between processes.

Above: `store`. Any thread may call; one lock. In WAL mode readers do not wait for writers.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs
import structlog

from pensieve_gguf.anchors.folder import PrivateFolder
from pensieve_gguf.anchors.format import AnchorKind, Header, chunk_digests

__all__ = ["Anchor", "Index"]

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

_LAYOUT = 2
_FILE = re.compile(r"index-(?P<layout>\d+)\.(?P<number>\d+)\.sqlite(?:-wal|-shm|-journal)?")
_BUSY_S = 1.0
_HOUR_S = 3_600.0
_TABLES = """
    CREATE TABLE IF NOT EXISTS anchors (
        name TEXT PRIMARY KEY, identity BLOB, prefix BLOB, length INTEGER, kind INTEGER, conversation BLOB,
        chunks BLOB, file_bytes INTEGER, created_at REAL, used_at REAL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_length ON anchors (identity, length);
    CREATE INDEX IF NOT EXISTS by_prefix ON anchors (identity, prefix);
    CREATE INDEX IF NOT EXISTS by_chunks ON anchors (identity, chunks);
    CREATE TABLE IF NOT EXISTS writes (at REAL, bytes INTEGER);
"""
# What is no sign of damage: others hold it, the disk is full or read-only, there is no memory or no descriptor.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
}


@attrs.frozen(kw_only=True)
class Anchor:
    """A saved prefix, as far as it is known without a look at the file."""

    name: str
    identity: bytes = attrs.field(repr=False)
    prefix: bytes = attrs.field(repr=False)
    length: int
    """Tokens."""
    kind: AnchorKind
    conversation: bytes = attrs.field(repr=False)
    chunks: bytes = attrs.field(repr=False)
    """`chunk_digests` of the tokens."""
    file_bytes: int
    created_at: float
    used_at: float
    """Unix seconds."""

    @classmethod
    def of(cls, header: Header, tokens: array[int], used_at: float) -> Anchor:
        """Return what `header` says, and what stands for `tokens`."""
        return cls(
            name=header.name,
            identity=header.identity,
            prefix=header.prefix,
            length=header.length,
            kind=header.kind,
            conversation=header.conversation,
            chunks=chunk_digests(tokens),
            file_bytes=header.file_bytes,
            created_at=header.created_at,
            used_at=used_at,
        )


_SHAPE = (str, bytes, bytes, int, int, bytes, bytes, int, float, float)
_COLUMNS = tuple(field.name for field in attrs.fields(Anchor))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM anchors"  # noqa: S608 - names of our own class
_INSERT = f"INSERT OR REPLACE INTO anchors ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - as above


class Index:
    """The rows of one folder.

    Args:
        folder: Where the database lies; not closed here.
        survivors: Returns what the files say; called when a damaged index is replaced.

    Raises (and so does every method):
        sqlite3.Error: it cannot be read or written now: locked for longer than a second, the disk is full…
        OSError: there is no new one to be made.
    """

    def __init__(self, folder: PrivateFolder, survivors: Callable[[], Iterable[Anchor]]) -> None:
        self._folder = folder
        self._survivors = survivors
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._number = max(_numbers(folder.names()), default=0)
        self._remove_older()
        self._do(lambda _: None)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._disconnect()
            self._closed = True

    def all(self) -> list[Anchor]:
        """Return all rows, of whatever identity."""
        return self._do(lambda connection: _anchors(connection.execute(_SELECT)))

    def totals(self) -> tuple[int, int]:
        """Return how many rows there are, of whatever identity, and how many bytes their files have."""
        query = "SELECT count(*), total(file_bytes) FROM anchors"
        count, size = self._do(lambda connection: connection.execute(query).fetchone())
        return count, int(size)

    def lengths(self, identity: bytes, shortest: int, longest: int) -> list[int]:
        """Return the lengths from `shortest` to `longest` tokens that rows of one identity have, in ascending order."""
        query = "SELECT DISTINCT length FROM anchors WHERE identity = ? AND length BETWEEN ? AND ? ORDER BY length"
        return self._do(lambda connection: _lengths(connection.execute(query, (identity, shortest, longest))))

    def of_lengths(self, identity: bytes, shortest: int, longest: int) -> list[Anchor]:
        """Return the rows of one identity with `shortest` to `longest` tokens."""
        query = f"{_SELECT} WHERE identity = ? AND length BETWEEN ? AND ?"
        return self._do(lambda connection: _anchors(connection.execute(query, (identity, shortest, longest))))

    def of_prefixes(self, identity: bytes, prefixes: Sequence[bytes], most: int = -1) -> list[Anchor]:
        """Return the rows of one identity with one of `prefixes`, the longest first; `most`: of them, -1 for all."""
        marks = ", ".join("?" * len(prefixes))
        query = f"{_SELECT} WHERE identity = ? AND prefix IN ({marks}) ORDER BY length DESC LIMIT ?"
        return self._do(lambda connection: _anchors(connection.execute(query, (identity, *prefixes, most))))

    def akin(self, identity: bytes, chunks: bytes, most: int) -> list[Anchor]:
        """Return rows of one identity whose chunks begin as `chunks` do, the most alike among them.

        In the order of their chunks none is more alike than the neighbours; `most` of them are returned on either side.
        """
        below = f"{_SELECT} WHERE identity = ? AND chunks <= ? ORDER BY chunks DESC LIMIT ?"
        above = f"{_SELECT} WHERE identity = ? AND chunks > ? ORDER BY chunks LIMIT ?"

        def neighbours(connection: sqlite3.Connection) -> list[Anchor]:
            return [
                a for query in (below, above) for a in _anchors(connection.execute(query, (identity, chunks, most)))
            ]

        return self._do(neighbours)

    def latest(self, identity: bytes, most: int) -> list[Anchor]:
        """Return the rows of one identity that were used last, the latest first."""
        query = f"{_SELECT} WHERE identity = ? ORDER BY used_at DESC, name LIMIT ?"
        return self._do(lambda connection: _anchors(connection.execute(query, (identity, most))))

    def turns_of(self, identity: bytes, conversation: bytes) -> list[Anchor]:
        """Return the turns of one conversation."""
        query = f"{_SELECT} WHERE identity = ? AND conversation = ? AND kind = ?"
        return self._do(
            lambda connection: _anchors(connection.execute(query, (identity, conversation, AnchorKind.TURN)))
        )

    def add(self, anchor: Anchor) -> None:
        """Add a row, or replace it."""
        self._do(lambda connection: connection.execute(_INSERT, attrs.astuple(anchor)))

    def restore(self, anchors: Iterable[Anchor]) -> None:
        """Add rows for files that were found, and count them among what was written."""
        found = list(anchors)
        self._write(lambda connection: _fill(connection, found))

    def remove(self, names: Iterable[str]) -> None:
        """Remove rows, if they are there."""
        rows = [(name,) for name in names]
        self._write(lambda connection: connection.executemany("DELETE FROM anchors WHERE name = ?", rows))

    def touch(self, name: str, used_at: float) -> None:
        """Note that an anchor was of use."""
        update = "UPDATE anchors SET used_at = ? WHERE name = ?"
        self._do(lambda connection: connection.execute(update, (used_at, name)))

    def written_within_the_hour(self, now: float) -> int:
        """Return the bytes that all processes together have written since an hour before `now`."""
        return self._do(lambda connection: _written(connection, now))

    def reserve(self, size: int, now: float, limit: int) -> bool:
        """Count `size` bytes as written, unless that made more than `limit` of them within the hour."""

        def reserve(connection: sqlite3.Connection) -> bool:
            # A clock that was set back leaves writes in the future; they must not count until it gets there.
            connection.execute("DELETE FROM writes WHERE at NOT BETWEEN ? AND ?", (now - _HOUR_S, now))
            if _written(connection, now) + size > limit:
                return False
            connection.execute("INSERT INTO writes VALUES (?, ?)", (now, size))
            return True

        return self._write(reserve)

    # -- damage --------------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock:
            if self._closed:
                msg = "the index is closed"
                raise sqlite3.OperationalError(msg)
            self._follow()
            try:
                return work(self._connected())
            except (sqlite3.Error, ValueError) as error:
                if _passing(error):
                    raise
                self._replace(error)
            return work(self._connected())

    def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do what takes several statements: all or nothing, and none of another process in between."""

        def transact(connection: sqlite3.Connection) -> _T:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                return work(connection)

        return self._do(transact)

    def _follow(self) -> None:
        """Go where another process went when it found this one damaged."""
        while self._folder.facts(_file(self._number + 1)) is not None:
            self._disconnect()
            self._number += 1

    def _replace(self, error: Exception) -> None:
        _log.warning("anchor_index_damaged", file=_file(self._number), reason=str(error))
        self._disconnect()
        self._number += 1
        connection = self._connected()
        with connection:
            _fill(connection, list(self._survivors()))

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._folder.reserve_name(_file(self._number))
            path = self._folder.path / _file(self._number)
            self._connection = _connect(str(path))
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _remove_older(self) -> None:
        for name in self._folder.names():
            found = _FILE.fullmatch(name)
            if found and (int(found["layout"]), int(found["number"])) < (_LAYOUT, self._number):
                self._folder.remove(name)


def _file(number: int) -> str:
    return f"index-{_LAYOUT}.{number}.sqlite"


def _numbers(names: Iterable[str]) -> list[int]:
    found = [match for match in map(_FILE.fullmatch, names) if match]
    return [int(match["number"]) for match in found if int(match["layout"]) == _LAYOUT]


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _passing(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # rows of the wrong shape raise others, and are damage
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _PASSING


def _fill(connection: sqlite3.Connection, anchors: Sequence[Anchor]) -> None:
    connection.executemany(_INSERT, [attrs.astuple(anchor) for anchor in anchors])
    written = [(anchor.created_at, anchor.file_bytes) for anchor in anchors]
    connection.executemany("INSERT INTO writes VALUES (?, ?)", written)


def _written(connection: sqlite3.Connection, now: float) -> int:
    query = "SELECT total(bytes) FROM writes WHERE at BETWEEN ? AND ?"
    return int(connection.execute(query, (now - _HOUR_S, now)).fetchone()[0])


def _lengths(rows: Iterable[tuple[object]]) -> list[int]:
    return [length for (length,) in rows if isinstance(length, int)]  # others are damage, and found nowhere


def _anchors(rows: Iterable[tuple[object, ...]]) -> list[Anchor]:
    return [_anchor(row) for row in rows]


def _anchor(row: tuple[Any, ...]) -> Anchor:
    if tuple(map(type, row)) != _SHAPE:
        msg = "a row is not of its columns' types"
        raise ValueError(msg)
    values = dict(zip(_COLUMNS, row, strict=True))
    return Anchor(**{**values, "kind": AnchorKind(values["kind"])})
