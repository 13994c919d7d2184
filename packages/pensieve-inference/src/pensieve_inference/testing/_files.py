"""Stored files, in memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator

import attrs

from pensieve_core import (
    Clock,
    FileExpiredError,
    FileId,
    FileTooLargeError,
    StorageFullError,
    StoredFile,
    UnknownFileError,
)
from pensieve_inference._files import FileLimits, FilePage, FileQuery, NewFile
from pensieve_inference.testing._clock import FakeClock

__all__ = ["InMemoryFileStore", "InMemoryUpload"]

_PIECE_BYTES = 1 << 16
_AMPLE = FileLimits(max_file_bytes=1 << 30, max_total_bytes=1 << 30)


@attrs.frozen
class _Kept:
    file: StoredFile
    data: bytes


class InMemoryFileStore:
    """`FileStore` of bytes in memory. Its ids count up from `file_0001`."""

    def __init__(self, *, clock: Clock | None = None, limits: FileLimits = _AMPLE) -> None:
        self.clock = clock or FakeClock()
        self.limits = limits
        self._numbers = itertools.count(1)
        self._kept: dict[FileId, _Kept] = {}
        self._coming: dict[InMemoryUpload, int] = {}

    def put(self, data: bytes, new: NewFile) -> StoredFile:
        """Keep `data` at once, whatever the limits."""
        now = int(self.clock.time())
        file = StoredFile(
            id=FileId(f"file_{next(self._numbers):04}"),
            filename=new.filename,
            media_type=new.media_type,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            created_at=now,
            expires_at=None if new.expires_in_s is None else now + new.expires_in_s,
        )
        self._kept[file.id] = _Kept(file, data)
        return file

    def reserve(self, upload: InMemoryUpload, size_bytes: int) -> None:
        """Note that `upload` has this size now; raise when that is too much."""
        if size_bytes > self.limits.max_file_bytes:
            raise FileTooLargeError(self.limits.max_file_bytes)
        others = sum(size for one, size in self._coming.items() if one is not upload)
        kept = sum(len(one.data) for one in self._kept.values() if not self._has_expired(one.file))
        if others + kept + size_bytes > self.limits.max_total_bytes:
            raise StorageFullError(f"all files together may have {self.limits.max_total_bytes} bytes")
        self._coming[upload] = size_bytes

    def release(self, upload: InMemoryUpload) -> None:
        """Forget the size of `upload`."""
        self._coming.pop(upload, None)

    async def file(self, file_id: FileId) -> StoredFile:
        """Return what is known of a file."""
        return self._find(file_id).file

    async def read(self, file_id: FileId, *, max_bytes: int) -> bytes:
        """Return the file's bytes."""
        data = self._find(file_id).data
        if len(data) > max_bytes:
            raise FileTooLargeError(max_bytes)
        return data

    async def upload(self) -> InMemoryUpload:
        """Begin a file."""
        return InMemoryUpload(self)

    async def page(self, query: FileQuery) -> FilePage:
        """Return one page of what has not expired."""
        newest_first = [one.file for one in reversed(self._kept.values()) if not self._has_expired(one.file)]
        if query.before is not None:
            newer = [file for file in newest_first if file.id > query.before]
            start = max(0, len(newer) - query.limit)
            return FilePage(files=tuple(newer[start:]), has_more=start > 0)
        older = [file for file in newest_first if query.after is None or file.id < query.after]
        return FilePage(files=tuple(older[: query.limit]), has_more=len(older) > query.limit)

    async def content(self, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes in pieces."""
        data = self._find(file_id).data
        for start in range(0, len(data), _PIECE_BYTES):
            yield data[start : start + _PIECE_BYTES]

    async def remove(self, file_id: FileId) -> None:
        """Forget a file."""
        del self._kept[self._find(file_id).file.id]

    def _find(self, file_id: FileId) -> _Kept:
        kept = self._kept.get(file_id)
        if kept is None:
            raise UnknownFileError(file_id)
        if self._has_expired(kept.file):
            raise FileExpiredError(file_id)
        return kept

    def _has_expired(self, file: StoredFile) -> bool:
        return file.expires_at is not None and file.expires_at <= self.clock.time()


class InMemoryUpload:
    """`Upload` into an `InMemoryFileStore`."""

    def __init__(self, store: InMemoryFileStore) -> None:
        self._store = store
        self._data = bytearray()

    async def write(self, piece: bytes) -> None:
        """Append `piece`."""
        self._store.reserve(self, len(self._data) + len(piece))
        self._data += piece

    async def finish(self, new: NewFile) -> StoredFile:
        """Keep the file."""
        self._store.release(self)
        return self._store.put(bytes(self._data), new)

    async def aclose(self) -> None:
        """Forget what was written, unless it is finished."""
        self._store.release(self)
