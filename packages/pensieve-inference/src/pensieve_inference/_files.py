"""The Protocols of stored files: what clients upload once and name in requests by id.

Above: `pensieve_http` answers `/v1/files` through `FileStore`, and reads what requests name through `FileReader`.
Below: `pensieve_http.storage` implements them on a folder; the fake is `testing.InMemoryFileStore`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

import attrs

from pensieve_core import FileId, StoredFile

__all__ = ["FileLimits", "FilePage", "FileQuery", "FileReader", "FileStore", "NewFile", "Upload"]


@attrs.frozen(kw_only=True)
class FileLimits:
    """How much a store takes."""

    max_file_bytes: int
    max_total_bytes: int
    """Of all files together, those being uploaded included."""


@attrs.frozen(kw_only=True)
class NewFile:
    """What a client says of the bytes that it has uploaded."""

    filename: str
    media_type: str
    expires_in_s: int | None = None
    """Seconds after the upload. None: it does not expire."""


@attrs.frozen(kw_only=True)
class FileQuery:
    """Which files are listed: the newest first, at most `limit`. At most one of the two cursors is given."""

    after: FileId | None = None
    """Those that follow this one: older ones."""
    before: FileId | None = None
    """Those right before this one: newer ones."""
    limit: int


@attrs.frozen(kw_only=True)
class FilePage:
    """Files, the newest first, whichever the direction."""

    files: tuple[StoredFile, ...]
    has_more: bool
    """Whether there are more in the direction that was asked for."""


@runtime_checkable
class FileReader(Protocol):
    """Finds stored files and reads them whole."""

    async def file(self, file_id: FileId) -> StoredFile:
        """Return what is known of a file.

        Raises:
            UnknownFileError: there is none of this id; `FileExpiredError` when there is none any more.
        """
        ...

    async def read(self, file_id: FileId, *, max_bytes: int) -> bytes:
        """Return the file's bytes, all of them.

        Raises:
            UnknownFileError: as `file`.
            FileTooLargeError: they are more than `max_bytes`; nothing was read.
        """
        ...


class Upload(Protocol):
    """One file on its way in. Nobody sees it before `finish`; close it in any case (`contextlib.aclosing`)."""

    async def write(self, piece: bytes) -> None:
        """Append `piece`.

        Raises:
            FileTooLargeError: the file exceeds what one file may have.
            StorageFullError: all files together do, or the disk is full.
        """
        ...

    async def finish(self, new: NewFile) -> StoredFile:
        """Keep the file under a new id; it has reached the disk when this returns. Called once.

        Raises:
            StorageFullError: the disk is full.
        """
        ...

    async def aclose(self) -> None:
        """Forget what was written, unless it is finished. Idempotent."""
        ...


@runtime_checkable
class FileStore(FileReader, Protocol):
    """Keeps files until they are removed or expire. Ids are never used twice."""

    async def upload(self) -> Upload:
        """Begin a file of unknown size."""
        ...

    async def page(self, query: FileQuery) -> FilePage:
        """Return files that have not expired. A cursor is a position: the file that it names may be gone."""
        ...

    def content(self, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes in pieces; iterate in `aclosing`. Bytes that were removed meanwhile still come.

        Raises:
            UnknownFileError: as `file`, before the first piece.
        """
        ...

    async def remove(self, file_id: FileId) -> None:
        """Forget a file and its bytes.

        Raises:
            UnknownFileError: as `file`; an expired one is forgotten already.
        """
        ...
