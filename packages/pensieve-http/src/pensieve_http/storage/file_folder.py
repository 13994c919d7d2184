"""The folder of files' bytes: drafts, which become files under their ids when they are whole.

Blocking calls, for threads. Names come from our own ids alone; nothing that a client says becomes a path. A draft is
locked by whoever writes it, so that the next start can tell one that was left behind from one of another server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from pensieve_core import FileId, StorageFullError
from pensieve_http.storage.database import private_folder

__all__ = ["Draft", "FileFolder"]

_DRAFT = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Draft:
    """Bytes on their way to a name. To be kept or dropped; a write that is still under way ends before that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._file = FileIO(handle, "wb")

    def write(self, piece: bytes) -> None:
        """Append all of `piece`. Raises StorageFullError when the disk is full."""
        rest = memoryview(piece)
        with self._lock, full_disk_translated():
            while rest:
                rest = rest[self._file.write(rest) :]

    def seal(self) -> None:
        """Wait until the bytes have reached the disk."""
        with full_disk_translated():
            os.fsync(self._file.fileno())

    def drop(self) -> None:
        """Close it; remove it, unless it bears a name by now. Idempotent."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            self._file.close()


class FileFolder:
    """Files by id, in one folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def draft(self) -> Draft:
        """Begin a file."""
        private_folder(self._path)
        return Draft(self._path / f"{secrets.token_hex(16)}{_DRAFT}")

    def publish(self, draft: Draft, file_id: FileId) -> None:
        """Give a sealed draft its name, and wait until the name has reached the disk."""
        with full_disk_translated():
            draft.path.rename(self._path / file_id)
            handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def open(self, file_id: FileId) -> FileIO:
        """Return a file to read from. Raises FileNotFoundError."""
        return FileIO(os.open(self._path / file_id, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def remove(self, file_id: FileId) -> None:
        """Remove a file, if it is there."""
        (self._path / file_id).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> None:
        """Remove what a crash has left: drafts that nobody writes, and files that nobody knows."""
        with suppress(FileNotFoundError):
            for path in list(self._path.iterdir()):
                if path.suffix == _DRAFT:
                    _remove_unlocked(path)
                elif path.name.startswith("file_") and path.name not in known:
                    path.unlink(missing_ok=True)


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):  # in use (BlockingIOError), or gone meanwhile
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


@contextmanager
def full_disk_translated() -> Iterator[None]:
    """Turn the system's "no space" into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        msg = "the disk is full"
        raise StorageFullError(msg) from error
