"""`FileStore` on a folder and a database.

A file is there when the database says so. Its bytes get their name within the transaction that makes it known; a crash
in between leaves a file that nobody knows, and the next start removes it. Above: `endpoints.files`, and whoever reads
the files that requests name.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from io import FileIO

from pensieve_core import Clock, FileExpiredError, FileId, FileTooLargeError, StoredFile, UnknownFileError
from pensieve_http.storage.database import Database
from pensieve_http.storage.file_folder import Draft, FileFolder
from pensieve_http.storage.ids import next_id
from pensieve_http.storage.quota import Quota
from pensieve_inference import FileLimits, FilePage, FileQuery, NewFile

__all__ = ["FolderFileStore", "FolderUpload"]

_PIECE_BYTES = 256 << 10
_ALIVE = "NOT purged AND (expires_at IS NULL OR expires_at > :now)"


class FolderFileStore:
    """Files that survive restarts.

    Args:
        folder: Of the bytes.
        database: Of what is known of them; closed by its owner.
        clock: For ages.
        limits: How much is taken.
    """

    def __init__(self, folder: FileFolder, database: Database, clock: Clock, *, limits: FileLimits) -> None:
        self._folder = folder
        self._database = database
        self._clock = clock
        self._quota = Quota(limits)
        self._swept = False

    async def file(self, file_id: FileId) -> StoredFile:
        """Return what is known of a file."""
        return await self._database.read(lambda connection: _find(connection, file_id, self._clock.time()))

    async def read(self, file_id: FileId, *, max_bytes: int) -> bytes:
        """Return the file's bytes."""
        file = await self.file(file_id)
        if file.size_bytes > max_bytes:
            raise FileTooLargeError(max_bytes)
        with closing(await self._open(file_id)) as opened:
            return await asyncio.to_thread(opened.readall)

    async def content(self, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes in pieces of at most 256 KiB."""
        await self.file(file_id)
        with closing(await self._open(file_id)) as opened:
            while piece := await asyncio.to_thread(opened.read, _PIECE_BYTES):
                yield piece

    async def page(self, query: FileQuery) -> FilePage:
        """Return one page of what has not expired."""
        return await self._database.read(lambda connection: _page(connection, query, self._clock.time()))

    async def upload(self) -> FolderUpload:
        """Begin a file; what has expired makes room first, and what a crash has left."""
        await self._tidy()
        return FolderUpload(self, await asyncio.to_thread(self._folder.draft), self._quota)

    async def remove(self, file_id: FileId) -> None:
        """Forget a file and its bytes."""

        def forget(connection: sqlite3.Connection) -> int:
            _find(connection, file_id, self._clock.time())
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
            return _kept_bytes(connection, self._clock.time())

        self._quota.kept = await self._database.write(forget)
        await asyncio.to_thread(self._folder.remove, file_id)

    async def keep(self, draft: Draft, new: NewFile, *, size_bytes: int, sha256: str) -> StoredFile:
        """Make a sealed draft a file, under a new id."""
        now = self._clock.time()

        def insert(connection: sqlite3.Connection) -> tuple[StoredFile, int]:
            (last,) = connection.execute("SELECT max(id) FROM files").fetchone()
            file = StoredFile(
                id=FileId(next_id("file", now, last)),
                filename=new.filename,
                media_type=new.media_type,
                size_bytes=size_bytes,
                sha256=sha256,
                created_at=int(now),
                expires_at=None if new.expires_in_s is None else int(now) + new.expires_in_s,
            )
            _insert(connection, file)
            self._folder.publish(draft, file.id)
            return file, _kept_bytes(connection, now)

        file, self._quota.kept = await self._database.write(insert)
        return file

    async def _open(self, file_id: FileId) -> FileIO:
        try:
            return await asyncio.to_thread(self._folder.open, file_id)
        except FileNotFoundError:  # removed since we looked, or behind our back
            raise UnknownFileError(file_id) from None

    async def _tidy(self) -> None:
        now, sweep = self._clock.time(), not self._swept

        def tidy(connection: sqlite3.Connection) -> tuple[list[FileId], int]:
            found = connection.execute("SELECT id FROM files WHERE expires_at <= :now AND NOT purged", {"now": now})
            expired = [FileId(row["id"]) for row in found]
            connection.execute("UPDATE files SET purged = 1 WHERE expires_at <= :now AND NOT purged", {"now": now})
            if sweep:
                self._folder.sweep({row["id"] for row in connection.execute("SELECT id FROM files WHERE NOT purged")})
            return expired, _kept_bytes(connection, now)

        expired, self._quota.kept = await self._database.write(tidy)
        self._swept = True
        for file_id in expired:
            await asyncio.to_thread(self._folder.remove, file_id)


class FolderUpload:
    """`Upload` into a `FolderFileStore`."""

    def __init__(self, store: FolderFileStore, draft: Draft, quota: Quota) -> None:
        self._store = store
        self._draft = draft
        self._quota = quota
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    async def write(self, piece: bytes) -> None:
        """Append `piece`."""
        self._quota.grow(self, self._size_bytes + len(piece))
        await asyncio.to_thread(self._append, piece)

    async def finish(self, new: NewFile) -> StoredFile:
        """Keep the file."""
        await asyncio.to_thread(self._draft.seal)
        digest = self._digest.hexdigest()
        return await self._store.keep(self._draft, new, size_bytes=self._size_bytes, sha256=digest)

    async def aclose(self) -> None:
        """Forget what was written, unless it is finished."""
        self._quota.release(self)
        await asyncio.to_thread(self._draft.drop)

    def _append(self, piece: bytes) -> None:
        self._draft.write(piece)
        self._digest.update(piece)
        self._size_bytes += len(piece)


def _find(connection: sqlite3.Connection, file_id: FileId, now: float) -> StoredFile:
    row = connection.execute("SELECT * FROM files WHERE id = ?", (file_id,)).fetchone()
    if row is None:
        raise UnknownFileError(file_id)
    file = _file(row)
    if row["purged"] or (file.expires_at is not None and file.expires_at <= now):
        raise FileExpiredError(file_id)
    return file


def _page(connection: sqlite3.Connection, query: FileQuery, now: float) -> FilePage:
    back = query.before is not None
    where, order = ("id > :cursor", "ASC") if back else (":cursor IS NULL OR id < :cursor", "DESC")
    rows = connection.execute(
        f"SELECT * FROM files WHERE ({where}) AND {_ALIVE} ORDER BY id {order} LIMIT :rows",  # noqa: S608 - constants
        {"cursor": query.before or query.after, "now": now, "rows": query.limit + 1},
    ).fetchall()
    files = [_file(row) for row in rows[: query.limit]]
    return FilePage(files=tuple(reversed(files) if back else files), has_more=len(rows) > query.limit)


def _kept_bytes(connection: sqlite3.Connection, now: float) -> int:
    statement = f"SELECT coalesce(sum(size_bytes), 0) FROM files WHERE {_ALIVE}"  # noqa: S608 - constants
    (kept,) = connection.execute(statement, {"now": now}).fetchone()
    return int(kept)


def _insert(connection: sqlite3.Connection, file: StoredFile) -> None:
    connection.execute(
        "INSERT INTO files (id, filename, media_type, size_bytes, sha256, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            file.id,
            file.filename,
            file.media_type,
            file.size_bytes,
            file.sha256,
            file.created_at,
            file.expires_at,
        ),
    )


def _file(row: sqlite3.Row) -> StoredFile:
    return StoredFile(
        id=FileId(row["id"]),
        filename=row["filename"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
