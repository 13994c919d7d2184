"""Which of the servers that share a data folder does what only one may do."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pensieve_http.storage.database import private_folder

__all__ = ["FolderClaim"]


class FolderClaim:
    """A lock on a file. The system lets go of it when its holder ends, however that happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Return whether it is ours, now or since long; never waits."""
        if self._handle is not None:
            return True
        private_folder(self._path.parent)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Let another one have it. Idempotent."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
